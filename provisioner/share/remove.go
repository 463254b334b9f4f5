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

// Remove removes p and everything in it; links inside are removed, not
// followed, and other file systems mounted inside are left. A path that is
// absent, also in the middle, is no error. A removal that was cut off is
// continued by the next one. What cannot be removed does not keep the rest.
func (s *Share) Remove(p volpath.Path) error {
	parent, err := s.openParent(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.closeRoot(parent)
	if _, err := s.remove(s.ctx, NewRemover(inPlace, 0), parent, p.Base()); err != nil {
		return fmt.Errorf("remove %s: %w", p, plain(err))
	}
	return nil
}

// remove removes name from parent, whatever it is, until ctx ends, if there is
// one.
func (s *Share) remove(ctx context.Context, remover *Remover, parent *os.Root, name string) (Removed, error) {
	dir, err := parent.Open(".")
	if err != nil {
		return Removed{}, err
	}
	defer dir.Close()
	r := &removal{Remover: remover, ctx: ctx, share: s}
	if err := r.step(); err != nil { //nolint:contextcheck // the removal has it
		return Removed{}, err
	}
	var stat unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = r.removeDirectory(int(dir.Fd()), name, "", 0) //nolint:contextcheck // the removal has it
	case err == nil:
		if err = unix.Unlinkat(int(dir.Fd()), name, 0); err == nil {
			r.files.Add(1)
		}
	}
	return Removed{r.files.Load(), r.directories.Load()}, ignoreAbsent(err)
}
