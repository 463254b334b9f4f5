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

// Attributes are those of a volume's directory.
type Attributes struct {
	// Mode holds the permission bits as chmod(1) writes them: rwx for three,
	// setgid 02000, sticky 01000.
	Mode uint32
	// UID and GID own the directory; nil leaves the server's choice.
	UID, GID *uint32
}

// Create makes the directory p with attributes a below parents that are there: a
// missing one is fs.ErrNotExist. It returns which directory that is.
// Attributes are applied to p alone, and only if it was made here or is still empty:
// an empty directory is what a create that was cut off leaves. A directory with
// something in it is fs.ErrExist and stays as it is.
//
// The caller must own the path (a record in the ledger) before calling. ours is asked
// once the directory is open, and its error ends the call: what was opened by name
// then is this volume's and no later one's. It may be nil.
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

// finish gives a new or empty directory its attributes. One that was made in this call
// is known to be empty.
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
	if ours != nil && !(created && stillMarked(opened)) {
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

// stillMarked: what was made in this call and is marked still has not become a volume since.
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
	case !errors.Is(err, io.EOF): // not known to be empty
		return fmt.Errorf("look into it: %w", plain(err))
	}
	return nil
}

// setAttributes works on the open directory, so that nothing swapped in at its
// name is touched. The mode comes first: once the directory belongs to another
// uid, or its group is another one, an unprivileged process may no longer set
// the mode or the setgid bit. It comes after mkdir because the umask applies
// there. A mode that is right already is left alone: in a repeat after a crash
// the directory may belong to the other uid by then.
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
			return fmt.Errorf("set owner %s:%s, for which the server must let us give directories away: %w", idText(a.UID), idText(a.GID), plain(err))
		}
	}
	// A server may drop bits without an error: setgid for a group that the
	// process is not in, or by a policy of its own.
	if mode, err = modeBits(opened); err == nil && mode != fileMode(a.Mode) {
		err = fmt.Errorf("set mode %04o: the server made it %v", a.Mode, mode)
	}
	return err
}

// modeBits returns what Attributes.Mode sets.
func modeBits(opened *os.File) (fs.FileMode, error) {
	info, err := opened.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at the mode: %w", plain(err))
	}
	return settable(info), nil
}

// settable is what chmod(2) sets of a mode.
func settable(info fs.FileInfo) fs.FileMode {
	return info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// makeDirectory makes one directory, marked as ours, and reports whether it did; one
// that exists, and under this very name, is no error.
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

// fileMode translates chmod(1) bits into Go's.
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
