package share

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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

// identify looks at the directory name of parent.
func (s *Share) identify(parent *dir, name string) (*Identity, error) {
	stat, err := parent.isDirectory(name)
	if err != nil {
		return nil, err
	}
	handle, err := s.handleOf(parent, name)
	if err != nil {
		return nil, err
	}
	return &Identity{Number: stat.Ino, Handle: handle, Place: s.mark.place()}, nil
}

// fuseMagic is the file system type of FUSE.
const fuseMagic = 0x65735546

// handles reports whether the file system of a directory gives handles that last. It
// asks the server once.
func (m *mark) handles(of *dir) bool {
	m.mu.Lock()
	known, lasting := m.handlesKnown, m.handlesLast
	m.mu.Unlock()
	if known {
		return lasting
	}
	var system unix.Statfs_t
	if unix.Fstatfs(of.fd(), &system) != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlesKnown, m.handlesLast = true, int64(system.Type) != fuseMagic //nolint:unconvert // its type differs between architectures
	return m.handlesLast
}

// handleOf returns the file handle of a directory, or none where the system gives
// none that lasts.
func (s *Share) handleOf(parent *dir, name string) (string, error) {
	if !s.mark.handles(parent) {
		return "", nil
	}
	var handle unix.FileHandle
	err := parent.run("identify "+name, func() (err error) {
		handle, _, err = unix.NameToHandleAt(parent.fd(), name, 0)
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
