package share

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Identity tells a directory from every other one that has, had or will have its
// name. It is taken from the server, never from what this client remembers.
type Identity struct {
	// Number is the file number (inode). File systems give a number out again, ext4 at
	// once.
	Number uint64 `json:"number"`
	// Handle is the file handle, which holds a generation too and never comes again. It
	// is empty where the system gives none: an old seccomp profile, or FUSE, whose
	// handles last only as long as the mount.
	Handle string `json:"handle,omitempty"`
	// Place is the copy of the share that the identity was taken on. Numbers and handles
	// say nothing on another copy.
	Place string `json:"place,omitempty"`
}

// Match says whether two identities are of one directory.
type Match int

const (
	// Unknown: one of them is missing, or was taken on another copy of the share.
	Unknown Match = iota
	// Same directory.
	Same
	// Different directories.
	Different
)

// Match compares two identities, as far as both know.
func (id *Identity) Match(other *Identity) Match {
	switch {
	case id == nil || other == nil || id.Place != other.Place:
		return Unknown
	case id.Number != other.Number, id.Handle != "" && other.Handle != "" && id.Handle != other.Handle:
		return Different
	}
	return Same
}

// Identify returns which directory is at p now. An absent one is fs.ErrNotExist,
// anything else that is no directory ErrNotDirectory. The parent is opened by its path,
// and a view holds no other parent than the root of the share: the answer of a new view
// is the server's.
func (s *Share) Identify(p volpath.Path) (*Identity, error) {
	var found *Identity
	err := s.inParent(p, func(parent *dir) (err error) {
		found, err = s.identify(parent, p.Base())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return found, nil
}

// Look is Exists and Identify in one: it returns which directory is at p, or nil if none
// is. One that is known to be the volume's is not asked for its spelling.
func (s *Share) Look(p volpath.Path, known *Identity) (*Identity, error) {
	var found *Identity
	err := s.inParent(p, func(parent *dir) (err error) {
		if found, err = s.identify(parent, p.Base()); err != nil || known.Match(found) == Same {
			return err
		}
		return s.checkSpellings(p, parent)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // as the comment says
	case err != nil:
		return nil, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return found, nil
}

// Place tells this copy of the share from every other one: see Identity.
func (s *Share) Place() string { return s.mark.place() }

// identify looks at the directory name of parent, which was opened by its path.
func (s *Share) identify(parent *dir, name string) (*Identity, error) {
	stat, err := parent.isDirectory(name)
	if err != nil {
		return nil, err
	}
	handle, err := s.handleOf(parent, name, 0)
	if err != nil {
		return nil, err
	}
	return &Identity{Number: stat.Ino, Handle: handle, Place: s.mark.place()}, nil
}

// identifyOpen looks at an open directory.
func (s *Share) identifyOpen(opened *dir) (*Identity, error) {
	stat, err := opened.self()
	if err != nil {
		return nil, err
	}
	handle, err := s.handleOf(opened, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, err
	}
	return &Identity{Number: stat.Ino, Handle: handle, Place: s.mark.place()}, nil
}

// openListed opens the directory name of parent as the server has it, also just after a
// rename, and says which it is. An NFS client shows under the new name what it had under
// the old one, and goes on to do so; but the number that it lists is the server's, and a
// directory that is opened to be read and is gone is looked up anew. Only what both agree
// on is believed. No other file system needs a listing for that.
func (s *Share) openListed(parent *dir, name string) (*dir, *Identity, error) {
	var listed uint64
	if s.mark.kind(parent) == nfsMagic {
		entries, err := parent.entries()
		if err != nil {
			return nil, nil, err
		}
		i := slices.IndexFunc(entries, func(e dirent) bool { return e.name == name })
		if i < 0 {
			return nil, nil, fs.ErrNotExist
		}
		listed = entries[i].inode
	}
	opened, err := parent.open(name, toRead)
	if errors.Is(err, fs.ErrPermission) { // its owner, who we may be, has closed it
		opened, err = parent.open(name, asPlace)
	}
	if err != nil {
		return nil, nil, err
	}
	id, err := s.identifyOpen(opened)
	if err != nil {
		opened.close()
		return nil, nil, err
	}
	if listed != 0 && listed != id.Number {
		id = &Identity{Number: listed, Place: id.Place}
	}
	return opened, id, nil
}

// Types of file systems, as statfs(2) says them.
const (
	fuseMagic = 0x65735546
	nfsMagic  = 0x6969
)

// kind returns the type of the file system. It asks the server once.
func (m *mark) kind(of *dir) int64 {
	m.mu.Lock()
	known := m.system
	m.mu.Unlock()
	if known != 0 {
		return known
	}
	var system unix.Statfs_t
	if unix.Fstatfs(of.fd(), &system) != nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.system = int64(system.Type) //nolint:unconvert // its type differs between architectures
	return m.system
}

// handleOf returns the file handle of a directory, or none where the system gives
// none that lasts.
func (s *Share) handleOf(in *dir, name string, flags int) (string, error) {
	if s.mark.kind(in) == fuseMagic {
		return "", nil
	}
	var handle unix.FileHandle
	err := in.run("identify "+name, func() (err error) {
		handle, _, err = unix.NameToHandleAt(in.fd(), name, flags)
		return err
	})
	_, byKernel := errors.AsType[syscall.Errno](err)
	switch {
	case byKernel && !errors.Is(err, fs.ErrNotExist) && !IsStale(err):
		return "", nil // EPERM, ENOSYS, EOPNOTSUPP, EOVERFLOW: the number is all there is
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%x:%s", uint32(handle.Type()), hex.EncodeToString(handle.Bytes())), nil //nolint:gosec // an opaque tag
}
