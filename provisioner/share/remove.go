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

// inPlace are the hands that a removal in place has beside its own: it is rare,
// and holds up a release.
const inPlace = 8

// Remove removes the directory p, which must be the one that id says, and everything in
// it; links inside are removed, not followed, and other file systems mounted inside are
// left. A path that is absent, also in the middle, is no error. A removal that was cut
// off is continued by the next one. What cannot be removed does not keep the rest.
func (s *Share) Remove(p volpath.Path, id *Identity) error {
	if _, err := s.remove(s.ctx, NewRemover(inPlace, 0), at(p), id); err != nil {
		return fmt.Errorf("remove %s: %w", p, plain(err))
	}
	return nil
}

// remove removes what is at the spot, whatever it is, until ctx ends, if there is
// one. Of directories it removes only the one that id says.
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
	if err := r.step(); err != nil { //nolint:contextcheck // the removal has it
		return Removed{}, err
	}
	stat, err := parent.look(where.name)
	switch {
	case err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		r.only = func(opened *os.File) error { return s.mustBe(opened, id) }
		err = r.removeDirectory(parent.fd(), where.name, "", 0) //nolint:contextcheck // the removal has it
	case err == nil:
		if err = parent.unlink(where.name); err == nil {
			r.files.Add(1)
		}
	}
	return Removed{r.files.Load(), r.directories.Load()}, ignoreAbsent(err)
}

// mustBe returns ErrChanged if an open directory is another one than id says.
func (s *Share) mustBe(opened *os.File, id *Identity) error {
	found, err := s.identifyOpen(&dir{opened, s})
	if err == nil && id.Match(found) == Different {
		err = ErrChanged
	}
	return err
}
