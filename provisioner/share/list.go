package share

import (
	"fmt"
	"io/fs"
	"slices"

	"claimdir/provisioner/volpath"
)

// Entry is what a directory of the share holds at a name.
type Entry struct {
	Name string
	Dir  bool // a directory; false for files, links and all else
}

// List returns what the directory p holds, sorted by name; the zero Path is
// the root of the share, whose .claimdir is left out. Links are listed, not
// followed.
func (s *Share) List(p volpath.Path) ([]Entry, error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	dir, err := s.descend(root, p.Elements())
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p, plain(err))
	}
	defer s.closeRoot(dir)
	found, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p, plain(err))
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		entries = append(entries, Entry{e.Name(), e.IsDir()})
	}
	if p == (volpath.Path{}) {
		entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Name == metaDir })
	}
	return entries, nil
}
