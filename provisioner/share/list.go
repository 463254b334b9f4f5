package share

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Entry is one entry of a directory of the share.
type Entry struct {
	Name   string
	Dir    bool   // a directory; false for files, links and all else
	Number uint64 // its file number, as the server lists it: see Identity
}

// List returns the entries of the directory p, sorted by name. The zero Path is the root of the
// share, without .claimdir. Links are listed, not followed.
func (s *Share) List(p volpath.Path) ([]Entry, error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	opened, err := s.descend(root, p.Elements())
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p, plain(err))
	}
	defer s.done(opened)
	found, err := opened.entries()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p, plain(err))
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		if p == (volpath.Path{}) && e.name == metaDir {
			continue
		}
		entries = append(entries, Entry{e.name, e.kind == unix.DT_DIR, e.inode})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries, nil
}
