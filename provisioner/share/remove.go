package share

import (
	"context"
	"fmt"
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
	if err := s.remove(s.ctx, NewRemover(inPlaceWorkers, 0), p, id); err != nil {
		return fmt.Errorf("remove %s: %w", p, plain(err))
	}
	return nil
}

// remove removes the entry at p, of any kind, until ctx is done; ctx may be nil. It removes a
// directory only if its identity matches id.
func (s *Share) remove(ctx context.Context, remover *Remover, p volpath.Path, id *Identity) error {
	r := &removal{Remover: remover, ctx: ctx, share: s}
	return ignoreAbsent(s.inParent(p, func(parent *dir) error { //nolint:contextcheck // the removal holds ctx
		if err := r.step(); err != nil {
			return err
		}
		stat, err := parent.look(p.Base())
		switch {
		case err != nil:
			return err
		case stat.Mode&unix.S_IFMT != unix.S_IFDIR:
			return parent.unlink(p.Base())
		}
		r.only = func(opened *os.File) error { return s.mustBe(opened, id) }
		return r.removeDirectory(parent.fd(), p.Base(), "", 0)
	}))
}

// mustBe returns ErrChanged if the identity of an open directory differs from id.
func (s *Share) mustBe(opened *os.File, id *Identity) error {
	found, err := s.identifyOpen(&dir{opened, s})
	if err == nil && id.Match(found) == Different {
		err = ErrChanged
	}
	return err
}
