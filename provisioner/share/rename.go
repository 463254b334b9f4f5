package share

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// spot is a name in a directory that is opened by its path each time.
type spot struct {
	open func(s *Share) (*dir, error)
	name string
}

// at is the spot of a path.
func at(p volpath.Path) spot {
	return spot{func(s *Share) (*dir, error) { return s.openParent(p) }, p.Base()}
}

// inDirectory is a name in a directory below .claimdir.
func inDirectory(in, name string) spot {
	return spot{func(s *Share) (*dir, error) { return s.openMeta(in) }, name}
}

// moveInto renames what is at a spot into a directory that is empty.
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
	err = source.rename(from.name, target, to.name)
	if errors.Is(err, fs.ErrPermission) {
		err = moveClosed(source, from.name, err, func() error { return source.rename(from.name, target, to.name) })
	}
	return err
}

// moveBack puts back what is at the wrong spot, whatever it is, where nothing is by now.
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

// moveOnce renames a directory to a name that nothing has, without comparing.
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
	err = renameNew(source, from.name, target, to.name)
	if errors.Is(err, fs.ErrPermission) {
		err = moveClosed(source, from.name, err, func() error { return renameNew(source, from.name, target, to.name) })
	}
	return err
}

// moveClosed renames a directory that its owner, who we are, has closed to himself:
// one that gets another parent is written to. It has the mode that it had again in the
// end, unless the process dies meanwhile; then its owner may write to it. A directory
// that was not closed, or is not ours, is the error denied.
func moveClosed(parent *dir, name string, denied error, rename func() error) error {
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
	_ = chmodPath(closed.file, mode) // what is done is done, and the mode it has does no harm
	return err
}

// renameNew renames to a name that nothing has. NFS has no exclusive rename, so it looks
// first; should somebody make something there since, rename(2) replaces nothing but an
// empty directory.
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
