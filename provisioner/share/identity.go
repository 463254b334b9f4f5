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

// Identity tells a directory from every other one that ever has its name. It is read from the
// server, never from this client's cache.
type Identity struct {
	// Number is the file number (inode). File systems reuse numbers, ext4 at once.
	Number uint64 `json:"number"`
	// Handle is the file handle. It contains a generation number, so it is never reused. It is
	// empty if it is not available: under an old seccomp profile, or on FUSE, whose handles last
	// only as long as the mount.
	Handle string `json:"handle,omitempty"`
	// Place identifies the copy of the share on which the identity was read. Numbers and handles
	// mean nothing on another copy.
	Place string `json:"place,omitempty"`
}

// Match is the result of comparing two identities.
type Match int

const (
	// Unknown says that one of them is missing, or that they were read on different copies of the share.
	Unknown Match = iota
	// Same directory.
	Same
	// Different directories.
	Different
)

// Match compares two identities by the fields that both have.
func (id *Identity) Match(other *Identity) Match {
	switch {
	case id == nil || other == nil || id.Place != other.Place:
		return Unknown
	case id.Number != other.Number, id.Handle != "" && other.Handle != "" && id.Handle != other.Handle:
		return Different
	}
	return Same
}

// Identify returns the identity of the directory that is at p now. The error is fs.ErrNotExist if p
// is absent, and ErrNotDirectory if it is no directory. It opens the parent by its path, so a new
// view gets the server's answer; a view holds no parent but the root of the share.
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

// Look combines Exists and Identify: it returns the identity of the directory at p, or nil if p is
// absent. It does not check the spelling of p if the directory is known.
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
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return found, nil
}

// Place identifies this copy of the share; see Identity.
func (s *Share) Place() string { return s.mark.place() }

// identify returns the identity of the directory name of parent, which was opened by its path.
func (s *Share) identify(parent *dir, name string) (*Identity, error) {
	stat, err := parent.isDirectory(name)
	if err != nil {
		return nil, err
	}
	return s.identityOf(stat, parent, name, 0)
}

// identifyOpen returns the identity of an open directory.
func (s *Share) identifyOpen(opened *dir) (*Identity, error) {
	stat, err := opened.self()
	if err != nil {
		return nil, err
	}
	return s.identityOf(stat, opened, "", unix.AT_EMPTY_PATH)
}

// identityOf adds the handle, which it gets as handleOf does, to the attributes of a directory.
func (s *Share) identityOf(stat unix.Stat_t, in *dir, name string, flags int) (*Identity, error) {
	handle, err := s.handleOf(in, name, flags)
	if err != nil {
		return nil, err
	}
	return &Identity{Number: stat.Ino, Handle: handle, Place: s.mark.place()}, nil
}

// identifyListed is openListed for a caller that needs the identity alone.
func (s *Share) identifyListed(parent *dir, name string) (*Identity, error) {
	opened, id, err := s.openListed(parent, name)
	if err != nil {
		return nil, err
	}
	opened.close()
	return id, nil
}

// openListed opens the directory name of parent and returns its identity as the server has it, even
// just after a rename. An NFS client caches under the new name the directory that it knew under the
// old one. But the file numbers that it lists come from the server, and it looks up a name anew if
// opening a cached directory for reading finds it gone. openListed therefore compares the listed
// number with the open directory, and on a difference returns the listed one. Other file systems
// need no listing.
func (s *Share) openListed(parent *dir, name string) (*dir, *Identity, error) {
	var listed uint64
	if s.mark.kind(parent) == nfsMagic {
		entries, err := parent.entries()
		if err != nil {
			return nil, nil, err
		}
		i := slices.IndexFunc(entries, func(e dirent) bool { return e.name == name })
		if i < 0 {
			return nil, nil, unix.ENOENT
		}
		listed = entries[i].inode
	}
	opened, err := parent.open(name, toRead)
	if errors.Is(err, fs.ErrPermission) { // we may be its owner, who has removed the permission
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

// Types of file systems, as statfs(2) returns them.
const (
	fuseMagic = 0x65735546
	nfsMagic  = 0x6969
)

// kind returns the type of the file system. It calls the server only once.
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
	m.system = int64(system.Type) // its type differs between architectures
	return m.system
}

// handleOf returns the file handle of a directory, or "" if none is available that outlives the
// mount.
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
		return "", nil // EPERM, ENOSYS, EOPNOTSUPP, EOVERFLOW: only the number is available
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%x:%s", uint32(handle.Type()), hex.EncodeToString(handle.Bytes())), nil
}
