package share

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"claimdir/provisioner/volpath"
)

// Attributes are those of a volume's directory.
type Attributes struct {
	// Mode holds the permission bits as chmod(1) writes them: rwx for three,
	// setgid 02000, sticky 01000.
	Mode uint32
	// UID and GID own the directory; nil leaves the server's choice.
	UID, GID *uint32
}

// Create makes the directory p with attributes a below parents that are there: a
// missing one is fs.ErrNotExist. It reports whether it made p in this call. Attributes are applied
// to p alone, and only if it was made here or is still empty: an empty
// directory is what a create that was cut off leaves. A directory with
// something in it is fs.ErrExist and stays as it is.
//
// The caller must own the path (a record in the ledger) before calling. If an
// attribute cannot be set, a directory made here is taken back.
func (s *Share) Create(p volpath.Path, a Attributes) (created bool, err error) {
	parent, err := s.openSpelled(p)
	if err != nil {
		return false, err
	}
	defer s.closeRoot(parent)

	created, err = makeDir(parent, p.Base())
	if err != nil {
		return false, fmt.Errorf("create %s: %w", p, plain(err))
	}
	if err := finish(parent, p.Base(), a); err != nil {
		if created {
			err = errors.Join(err, parent.Remove(p.Base()))
		}
		return false, fmt.Errorf("create %s: %w", p, plain(err))
	}
	return created, nil
}

// finish gives a new or empty directory its attributes.
func finish(parent *os.Root, name string, a Attributes) error {
	dir, err := openFile(parent, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case err == nil:
		return ErrOccupied
	case !errors.Is(err, io.EOF): // not known to be empty
		return fmt.Errorf("look into it: %w", plain(err))
	}
	return setAttributes(dir, a)
}

// openFile opens the directory name of parent, as openChild does, for what os.Root
// has no call for.
func openFile(parent *os.Root, name string) (*os.File, error) {
	child, err := openChild(parent, name)
	if err != nil {
		return nil, err
	}
	defer closeRoot(child)
	return child.Open(".")
}

// setAttributes works on the open directory, so that nothing swapped in at its
// name is touched. The mode comes first: once the directory belongs to another
// uid, or its group is another one, an unprivileged process may no longer set
// the mode or the setgid bit. It comes after mkdir because the umask applies
// there. A mode that is right already is left alone: in a repeat after a crash
// the directory may belong to the other uid by then.
func setAttributes(dir *os.File, a Attributes) error {
	mode, err := modeBits(dir)
	if err != nil {
		return err
	}
	if mode != fileMode(a.Mode) {
		if err := dir.Chmod(fileMode(a.Mode)); err != nil {
			return fmt.Errorf("set mode %04o: %w", a.Mode, plain(err))
		}
	}
	if a.UID != nil || a.GID != nil {
		if err := dir.Chown(id(a.UID), id(a.GID)); err != nil {
			return fmt.Errorf("set owner %s:%s, for which the server must let us give directories away: %w", idText(a.UID), idText(a.GID), plain(err))
		}
	}
	// A server may drop bits without an error: setgid for a group that the
	// process is not in, or by a policy of its own.
	if mode, err = modeBits(dir); err == nil && mode != fileMode(a.Mode) {
		err = fmt.Errorf("set mode %04o: the server made it %v", a.Mode, mode)
	}
	return err
}

// modeBits returns what Attributes.Mode sets.
func modeBits(dir *os.File) (fs.FileMode, error) {
	info, err := dir.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at the mode: %w", plain(err))
	}
	return settable(info), nil
}

// settable is what chmod(2) sets of a mode.
func settable(info fs.FileInfo) fs.FileMode {
	return info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// makeDir makes one directory and reports whether it did; one that exists, and
// under this very name, is no error.
func makeDir(parent *os.Root, name string) (bool, error) {
	err := parent.Mkdir(name, parentMode)
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	return false, lookSpelled(parent, name)
}

// fileMode translates chmod(1) bits into Go's.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	if bits&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&0o1000 != 0 {
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
