package share

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Attributes are the mode and owner of a volume's directory.
type Attributes struct {
	// Mode holds the permission bits as chmod(1) writes them: rwx for three,
	// setgid 02000, sticky 01000.
	Mode uint32
	// UID and GID are the owner; nil keeps the server's choice.
	UID, GID *uint32
}

// Create creates the directory p with attributes a, and returns its identity. The error is
// fs.ErrNotExist if a parent is missing. Create also sets the attributes of an existing empty
// directory, because a create that was cut off leaves one. A directory that is not empty stays as
// it is; the error is fs.ErrExist.
//
// The caller must own the path (by a record in the ledger). Create calls ours once the directory is
// open, and stops if it returns an error: if the path still is this volume's then, so is the open
// directory, and not a later owner's. ours may be nil.
func (s *Share) Create(p volpath.Path, a Attributes, ours func() error) (id *Identity, err error) {
	parent, err := s.openParent(p)
	if err != nil {
		return nil, fmt.Errorf("open the parents of %s: %w", p, plain(err))
	}
	defer s.done(parent)
	if err = s.checkParentSpellings(p); err == nil {
		var created bool
		if created, err = makeDirectory(parent, p.Base()); err == nil {
			id, err = s.finish(parent, p.Base(), a, created, ours)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", p, plain(err))
	}
	return id, nil
}

// finish sets the attributes of a new or empty directory. A directory that this call has created is
// empty.
func (s *Share) finish(parent *dir, name string, a Attributes, created bool, ours func() error) (*Identity, error) {
	opened, err := parent.open(name, toRead)
	if err != nil {
		return nil, err
	}
	defer opened.close()
	if !created {
		if err := isEmpty(opened); err != nil {
			return nil, err
		}
	}
	if ours != nil && (!created || !stillMarked(opened)) {
		if err := ours(); err != nil {
			return nil, err
		}
	}
	id, err := s.identifyOpen(opened)
	if err != nil {
		return nil, err
	}
	return id, opened.run("set attributes of "+name, func() error { return setAttributes(opened.file, a) })
}

// stillMarked reports whether a directory that this call has created is still marked, and so has
// not become a volume since.
func stillMarked(opened *dir) bool {
	stat, err := opened.self()
	return err == nil && marked(stat)
}

func isEmpty(d *dir) error {
	listing, err := d.listing()
	if err != nil {
		return err
	}
	defer listing.Close()
	switch _, err := listing.Readdirnames(1); {
	case err == nil:
		return ErrOccupied
	case !errors.Is(err, io.EOF): // it may not be empty
		return fmt.Errorf("look into it: %w", plain(err))
	}
	return nil
}

// setAttributes works on the open directory, so that it does not touch a directory that was swapped
// in at the name. It sets the mode before the owner: an unprivileged process cannot set the mode of
// another uid's directory, nor setgid for another group. It does not rely on mkdir for the mode,
// because the umask applies there. It does not set a mode that is right already, because in a
// repeat after a crash the directory may belong to the other uid.
func setAttributes(opened *os.File, a Attributes) error {
	mode, err := modeBits(opened)
	if err != nil {
		return err
	}
	if mode != fileMode(a.Mode) {
		if err := opened.Chmod(fileMode(a.Mode)); err != nil {
			return fmt.Errorf("set mode %04o: %w", a.Mode, plain(err))
		}
	}
	if a.UID != nil || a.GID != nil {
		if err := opened.Chown(id(a.UID), id(a.GID)); err != nil {
			return fmt.Errorf("set owner %s:%s, which needs an export that allows chown: %w", idText(a.UID), idText(a.GID), plain(err))
		}
	}
	// A server may drop bits without an error: setgid for a group that the process is not in, or
	// any bit by its own policy.
	if mode, err = modeBits(opened); err == nil && mode != fileMode(a.Mode) {
		err = fmt.Errorf("set mode %04o: the server made it %v", a.Mode, mode)
	}
	return err
}

// modeBits returns the mode bits that Attributes.Mode sets.
func modeBits(opened *os.File) (fs.FileMode, error) {
	info, err := opened.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at the mode: %w", plain(err))
	}
	return settable(info), nil
}

// settable returns the mode bits that chmod(2) sets.
func settable(info fs.FileInfo) fs.FileMode {
	return info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// makeDirectory creates one directory, marked as ours, and reports whether it did. An existing
// directory of exactly this name is no error.
func makeDirectory(parent *dir, name string) (bool, error) {
	err := parent.mkdir(name, markedMode)
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	if _, err := parent.isDirectory(name); err != nil {
		return false, err
	}
	return false, lookSpelled(parent, name)
}

// fileMode translates the bits of chmod(1) into Go's.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	if bits&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// id is what chown(2) takes; -1 leaves an id alone.
func id(n *uint32) int {
	if n == nil {
		return -1
	}
	return int(*n)
}

func idText(n *uint32) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}
