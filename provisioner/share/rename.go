package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Rename gives the directory from the name to. It replaces nothing but, on NFS, an
// empty directory that somebody makes there at that moment: an existing to is
// fs.ErrExist, an absent from is fs.ErrNotExist. The parent of to must exist.
func (s *Share) Rename(from, to volpath.Path) error {
	err := s.move(from, func() (*os.Root, error) { return s.openParent(to) }, to.Base())
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, plain(err))
	}
	return nil
}

// move renames the directory from to name in the one that open opens.
func (s *Share) move(from volpath.Path, open func() (*os.Root, error), name string) error {
	source, err := s.openParent(from)
	if err != nil {
		return err
	}
	defer s.closeRoot(source)
	info, err := source.Lstat(from.Base())
	if err == nil && !info.IsDir() {
		err = ErrNotDirectory
	}
	if err != nil {
		return err
	}
	target, err := open()
	if err != nil {
		return err
	}
	defer s.closeRoot(target)
	err = renameat(source, from.Base(), target, name)
	if errors.Is(err, fs.ErrPermission) {
		err = moveClosed(source, from.Base(), info, err, func() error { return renameat(source, from.Base(), target, name) })
	}
	return err
}

// moveClosed renames a directory that its owner, who we are, has closed to himself:
// one that gets another parent is written to. It has the mode that it had again in the
// end, unless the process dies meanwhile; then its owner may write to it. A directory
// that was not closed, or is not ours, is the error denied.
func moveClosed(parent *os.Root, name string, seen fs.FileInfo, denied error, rename func() error) error {
	dir, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	closed, err := openPath(int(dir.Fd()), name)
	if err != nil {
		return err
	}
	defer closed.Close()
	info, err := closed.Stat()
	if err != nil {
		return err
	}
	mode := settable(info)
	const write = 0o200
	if !os.SameFile(info, seen) || mode&write != 0 {
		return denied
	}
	if chmodPath(closed, mode|write) != nil {
		return denied
	}
	err = rename()
	_ = chmodPath(closed, mode) // what is done is done, and the mode it has does no harm
	return err
}

// renameat renames between two open directories, so that nothing swapped in
// above them matters. (os.Root renames only below itself, following links.)
func renameat(source *os.Root, from string, target *os.Root, to string) error {
	sourceDir, err := source.Open(".")
	if err != nil {
		return err
	}
	defer sourceDir.Close()
	targetDir, err := target.Open(".")
	if err != nil {
		return err
	}
	defer targetDir.Close()

	sourceFD, targetFD := int(sourceDir.Fd()), int(targetDir.Fd())
	err = unix.Renameat2(sourceFD, from, targetFD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// NFS has no exclusive rename. The record of the target is ours, so no claimdir
	// makes it, and looking first is enough; should somebody else do so since,
	// rename(2) replaces nothing but an empty directory.
	if _, err := target.Lstat(to); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unix.Renameat(sourceFD, from, targetFD, to)
}
