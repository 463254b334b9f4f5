package share

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// removeBatch is how many names of a directory are read at a time; it may have
	// more than fit into memory.
	removeBatch = 1024
	// maxDepth is how far below the top a directory is removed where it is. Deeper
	// ones are moved up first: each level in between keeps a descriptor open, and a
	// tenant can make a tree deeper than there are descriptors.
	maxDepth = 12
	// rounds is how often a directory is emptied that is not empty afterwards: by
	// then somebody is filling it.
	rounds = 3
)

// empty removes what is in the directory, in passes: a server may leave out
// names while others are removed, and a tenant may make new ones.
func (r *removal) empty(dir *os.File, at string, depth int) error {
	for {
		lifted := r.lifted.Load()
		done, err := r.pass(dir, at, depth)
		switch {
		case err != nil:
			return err
		case depth == 0 && r.lifted.Load() > lifted: // what was moved here wants a pass
		case done.kept.first != nil && done.removed == 0:
			return &done.kept
		case done.removed == 0:
			return nil
		case done.kept.first == nil && done.removed < removeBatch:
			return nil // most directories are empty after one pass; if not, the caller comes again
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// pass removes each name that it is shown.
func (r *removal) pass(dir *os.File, at string, depth int) (done *outcome, err error) {
	done = &outcome{}
	for {
		if err := r.step(); err != nil {
			return done, err
		}
		names, err := dir.Readdirnames(removeBatch)
		var helpers sync.WaitGroup
		for _, name := range names {
			if r.ended() != nil {
				break
			}
			r.removeName(entry{dir, name, path.Join(at, name), depth + 1}, done, &helpers)
		}
		helpers.Wait()
		switch {
		case r.ended() != nil:
			return done, r.ended()
		case errors.Is(err, io.EOF):
			return done, nil
		case err != nil:
			return done, err
		}
	}
}

// entry is a name in an open directory.
type entry struct {
	dir   *os.File
	name  string
	at    string // its path from the directory that is removed
	depth int
}

// removeName removes whatever the entry is, a directory by another hand if one is
// free. Files are removed by one hand: the kernel changes a directory one call at a
// time anyway.
func (r *removal) removeName(e entry, done *outcome, helpers *sync.WaitGroup) {
	var isDirectory bool
	err := evenIfForbidden(e.dir, func() (err error) { isDirectory, err = r.unlink(e); return err })
	if !isDirectory {
		done.note(e.at, err)
		return
	}
	remove := func() {
		done.note(e.at, evenIfForbidden(e.dir, func() error { return r.removeDirectory(int(e.dir.Fd()), e.name, e.at, e.depth) }))
	}
	select {
	case r.hands <- struct{}{}:
		helpers.Go(func() {
			defer func() { <-r.hands }()
			remove()
		})
	default:
		remove()
	}
}

// evenIfForbidden tries again what a directory's mode forbids, without that: the
// tree is on its way out.
func evenIfForbidden(dir *os.File, do func() error) error {
	err := do()
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) || errors.As(err, new(*keptError)) {
		return err
	}
	if changed, openErr := openUp(dir); !changed || openErr != nil {
		return errors.Join(err, openErr)
	}
	return do()
}

// unlink removes what is no directory. The kernel itself refuses to unlink one, so
// nobody has to look first.
func (r *removal) unlink(e entry) (isDirectory bool, err error) {
	if err := r.step(); err != nil {
		return false, err
	}
	fd := int(e.dir.Fd())
	err = unix.Unlinkat(fd, e.name, 0)
	if errors.Is(err, unix.EISDIR) {
		return true, nil
	}
	if errors.Is(err, unix.EPERM) { // what POSIX says of directories, and Linux of sticky ones
		var stat unix.Stat_t
		if unix.Fstatat(fd, e.name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			return true, nil
		}
	}
	if err == nil {
		r.files.Add(1)
	}
	return false, ignoreAbsent(err)
}

// openUp gives the owner all rights to a directory and takes the sticky bit from
// it. In a sticky one only CAP_FOWNER lets root remove somebody's file, and in a
// cluster we have no capability: the NFS client refuses the call before the
// server, to which we are root all the same, hears of it. A mode is for the
// server alone to decide, so the bit goes.
func openUp(dir *os.File) (changed bool, err error) {
	info, err := dir.Stat()
	if err != nil {
		return false, err
	}
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	open := mode&^fs.ModeSticky | 0o700
	if open == mode {
		return false, nil
	}
	return true, dir.Chmod(open)
}

// openDirectory opens a directory of parent and nothing else: it follows
// no link and waits for no pipe.
func openDirectory(parent int, name string) (*os.File, error) {
	fd, err := retryInterrupted(func() (int, error) {
		return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openClosed opens a directory whose mode forbids it, which is how, if the mode is
// ours to change. It is set through a descriptor that needs no right to be opened,
// so that nothing swapped in at the name is touched.
func openClosed(parent int, name string, how error) (*os.File, error) {
	fd, err := retryInterrupted(func() (int, error) {
		return unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	switch err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("its mode is not ours to change and forbids to look into it: %w", how)
	case err != nil:
		return nil, err
	}
	return openDirectory(fd, ".")
}

func retryInterrupted(open func() (int, error)) (int, error) {
	for {
		if fd, err := open(); !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// lift moves a directory up into the top one, where a later pass meets it.
func (r *removal) lift(parent int, name string) bool {
	if r.step() != nil || unix.Renameat(parent, name, r.top, ".claimdir-"+rand.Text()) != nil {
		return false // it is removed where it is
	}
	r.lifted.Add(1)
	return true
}
