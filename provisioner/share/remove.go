package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// inPlaceWorkers is the number of extra goroutines of a removal in place. Such a removal is rare
// and blocks a release.
const inPlaceWorkers = 8

// Remove removes the directory p, whose identity must match id, with all its content. It removes
// links without following them, and leaves other file systems that are mounted inside. It is no
// error if p or a directory above it is absent. A repeat continues a removal that was cut off. An
// entry that cannot be removed does not stop the removal of the rest.
func (s *Share) Remove(p volpath.Path, id *Identity) error {
	if _, err := s.remove(s.ctx, NewRemover(inPlaceWorkers, 0), at(p), id); err != nil {
		return fmt.Errorf("remove %s: %w", p, plain(err))
	}
	return nil
}

// remove removes the entry at the spot, of any kind, until ctx is done; ctx may be nil. It removes
// a directory only if its identity matches id.
func (s *Share) remove(ctx context.Context, remover *Remover, where spot, id *Identity) (Removed, error) {
	parent, err := where.open(s)
	if errors.Is(err, fs.ErrNotExist) {
		return Removed{}, nil
	}
	if err != nil {
		return Removed{}, err
	}
	defer s.done(parent)
	r := &removal{Remover: remover, ctx: ctx, share: s}
	if err := r.step(); err != nil { //nolint:contextcheck // the removal holds ctx
		return Removed{}, err
	}
	stat, err := parent.look(where.name)
	switch {
	case err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		r.only = func(opened *os.File) error { return s.mustBe(opened, id) }
		err = r.removeDirectory(parent.fd(), where.name, "", 0) //nolint:contextcheck // the removal holds ctx
	case err == nil:
		if err = parent.unlink(where.name); err == nil {
			r.files.Add(1)
		}
	}
	return Removed{r.files.Load(), r.directories.Load()}, ignoreAbsent(err)
}

// mustBe returns ErrChanged if the identity of an open directory differs from id.
func (s *Share) mustBe(opened *os.File, id *Identity) error {
	found, err := s.identifyOpen(&dir{opened, s})
	if err == nil && id.Match(found) == Different {
		err = ErrChanged
	}
	return err
}
