package share

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// What becomes of a copy that Copy has made under its own name: it is brought to a path, or goes into the trash.

// Copied returns the identity of the tree of a copy, as the server has it. The error is fs.ErrNotExist if there is none.
func (s *Share) Copied(staging string) (id *Identity, err error) {
	err = s.inMeta(path.Join(CopiesDir, staging), "look into", func(d *dir) (err error) {
		id, err = s.identifyListed(d, copyTree)
		return err
	})
	return id, err
}

// BringCopy moves the tree of a copy to p, whose parent must exist. The error is fs.ErrExist if p exists, and
// fs.ErrNotExist if there is no tree.
func (s *Share) BringCopy(staging string, p volpath.Path) error {
	if err := s.moveOnce(inDirectory(path.Join(CopiesDir, staging), copyTree), at(p)); err != nil {
		return fmt.Errorf("move the copy %s to %s: %w", path.Join(metaDir, CopiesDir, staging), p, plain(err))
	}
	return s.RemoveEmptyDirectory(CopiesDir, staging)
}

// DiscardCopy moves what there is of a copy into the trash as own, and reports whether there was anything. The error is
// fs.ErrExist if own holds something. A process that still copies there goes on in the trash, or fails.
func (s *Share) DiscardCopy(staging, own string) (bool, error) {
	names, err := s.ListMeta(path.Join(CopiesDir, staging))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && len(names) == 0 {
		return false, s.RemoveEmptyDirectory(CopiesDir, staging)
	}
	if err == nil {
		err = s.makeOwn(TrashDir, own)
	}
	if err != nil {
		return false, err
	}
	s.drop(path.Join(CopiesDir, staging))
	err = s.moveInto(inDirectory(CopiesDir, staging), aside(TrashDir, own))
	if err != nil {
		return false, errors.Join(fmt.Errorf("move the copy %s into the trash: %w", path.Join(metaDir, CopiesDir, staging), plain(err)), s.RemoveEmptyDirectory(TrashDir, own))
	}
	return true, nil
}

// IsFull reports whether a call failed because the share, or what the server allows there, is full.
func IsFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// ListCopies returns the own names under which there is something of copies.
func (s *Share) ListCopies() ([]string, error) {
	names, err := s.ListMeta(CopiesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// SharesBlocks tries whether files of the share can share their blocks (FICLONE), so that a copy takes no room. own is
// the caller's own name.
func (s *Share) SharesBlocks(own string) (shares bool, err error) {
	const tried = 4 << 10 // a block of most file systems: less may be stored in another way
	if err := s.MakeMeta(CopiesDir); err != nil {
		return false, err
	}
	from, to := own+".from", own+".to"
	err = s.inMeta(CopiesDir, "try to share blocks in", func(d *dir) (err error) {
		defer func() { err = errors.Join(err, ignoreAbsent(d.unlink(from)), ignoreAbsent(d.unlink(to))) }()
		if err := errors.Join(createAnew(d, from, bytes.Repeat([]byte{1}, tried)), createAnew(d, to, nil)); err != nil {
			return err
		}
		return d.run("share blocks", func() error {
			source, err := unix.Openat(d.fd(), from, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer closeRead(source)
			target, err := unix.Openat(d.fd(), to, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			shares = unix.IoctlFileClone(target, source) == nil
			return unix.Close(target)
		})
	})
	return shares, err
}
