package share

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// spot is an entry of a directory. Each call opens that directory anew by its path.
type spot struct {
	open func(s *Share) (*dir, error)
	name string
}

// at returns the spot of a path.
func at(p volpath.Path) spot {
	return spot{func(s *Share) (*dir, error) { return s.openParent(p) }, p.Base()}
}

// inDirectory returns the spot of a name in a directory below .claimdir.
func inDirectory(in, name string) spot {
	return spot{func(s *Share) (*dir, error) { return s.openMeta(in) }, name}
}

// moveInto renames the entry at a spot into an empty directory.
func (s *Share) moveInto(from, to spot) error {
	source, err := from.open(s)
	if err != nil {
		return err
	}
	defer s.done(source)
	target, err := to.open(s)
	if err != nil {
		return err
	}
	defer s.done(target)
	return evenIfClosed(source, from.name, func() error { return source.rename(from.name, target, to.name) })
}

// moveBack moves an entry of any kind back to a spot where nothing exists.
func (s *Share) moveBack(from, to spot) error {
	source, err := from.open(s)
	if err != nil {
		return err
	}
	defer s.done(source)
	target, err := to.open(s)
	if err != nil {
		return err
	}
	defer s.done(target)
	return renameNew(source, from.name, target, to.name)
}

// moveOnce renames a directory to a free name. It does not compare identities.
func (s *Share) moveOnce(from, to spot) error {
	source, err := from.open(s)
	if err != nil {
		return err
	}
	defer s.done(source)
	if _, err := source.isDirectory(from.name); err != nil {
		return err
	}
	target, err := to.open(s)
	if err != nil {
		return err
	}
	defer s.done(target)
	return evenIfClosed(source, from.name, func() error { return renameNew(source, from.name, target, to.name) })
}

// evenIfClosed renames a directory, even one that is not writable for its owner, if we are the
// owner: a move to another parent writes to the directory. It restores the mode afterwards; after a
// kill in between the directory stays writable for its owner. It returns the first error if the
// directory is writable or its mode cannot be changed.
func evenIfClosed(parent *dir, name string, rename func() error) error {
	denied := rename()
	if !errors.Is(denied, fs.ErrPermission) {
		return denied
	}
	closed, err := parent.open(name, asPlace)
	if err != nil {
		return err
	}
	defer closed.close()
	info, err := closed.file.Stat()
	if err != nil {
		return err
	}
	mode := settable(info)
	const write = 0o200
	if mode&write != 0 {
		return denied
	}
	if closed.change("open "+name+" up", func() error { return chmodPath(closed.file, mode|write) }) != nil {
		return denied
	}
	err = rename()
	_ = chmodPath(closed.file, mode) // the rename has succeeded, and the wider mode does no harm
	return err
}

// renameNew renames to a free name. NFS has no exclusive rename, so there renameNew looks first. If
// somebody creates an entry in between, rename(2) of a directory replaces nothing but an empty
// directory.
func renameNew(source *dir, from string, target *dir, to string) error {
	err := source.change("rename "+from, func() error {
		return unix.Renameat2(source.fd(), from, target.fd(), to, unix.RENAME_NOREPLACE)
	})
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, err := target.look(to); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return source.rename(from, target, to)
}
