package share

import (
	"crypto/rand"
	"errors"

	"golang.org/x/sys/unix"
)

// lift moves a directory up into the top one, where a later pass finds it. If a mode forbids that,
// lift opens up the modes of its parent, which may be closed or sticky, of the top directory, and
// of the directory itself, because a move writes to it.
func (r *removal) lift(parent int, name string) error {
	err := r.liftOnce(parent, name)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	r.openUpAt(parent, ".")
	r.openUpAt(r.top, ".")
	r.openUpAt(parent, name)
	return r.liftOnce(parent, name)
}

func (r *removal) liftOnce(parent int, name string) error {
	if err := r.step(); err != nil {
		return err
	}
	err := unix.Renameat(parent, name, r.top, ".claimdir-"+rand.Text())
	if err == nil {
		r.lifted.Add(1)
	}
	return err
}

// openUpAt gives the owner all permissions on a directory of the volume, if we may change its mode.
func (r *removal) openUpAt(parent int, name string) {
	dir, err := openPath(parent, name)
	if err != nil {
		return
	}
	defer dir.Close()
	if r.stay(dir) == nil {
		_ = chmodPath(dir, 0o700)
	}
}
