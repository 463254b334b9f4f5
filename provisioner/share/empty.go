package share

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// fewNames is the largest number of names that a server lists completely even if entries are
	// removed meanwhile.
	fewNames = 1000
	// maxDepth is the depth down to which a directory is removed in place. Deeper ones are moved up
	// first, because each level keeps a descriptor open, and a tenant can create a tree deeper than
	// the number of descriptors.
	maxDepth = 12
	// hardDepth is the depth down to which a directory that cannot be moved up is removed in place.
	// Each level costs a descriptor and a longer path.
	hardDepth = 8 * maxDepth
	// rounds is how often a directory is emptied again if it is not empty afterwards. After that
	// somebody is filling it.
	rounds = 3
	// passes is how often a directory may be listed to its end and still have many names to remove.
	passes = 10
	// portion is how many names of a directory a worker takes at a time. A directory gets one more
	// worker for each namesPerWorker names, up to workersInOne.
	portion        = 64
	namesPerWorker = 512
	workersInOne   = 3
)

// empty removes the content of the directory in passes, because a server may leave out names while
// others are removed, and a tenant may create new ones.
func (r *removal) empty(dir *os.File, at string, depth int) error {
	for left := passes; ; {
		lifted := r.lifted.Load()
		done, err := r.pass(dir, at, depth)
		switch {
		case err != nil:
			return err
		case depth == 0 && r.lifted.Load() > lifted: // directories were moved up here: list again
		case done.kept.first != nil && done.removed == 0:
			return &done.kept
		case done.removed == 0:
			return nil
		case done.kept.first == nil && done.removed < fewNames:
			return nil // probably empty after one pass; if not, the caller repeats
		default:
			if left--; left == 0 {
				return &keptError{fmt.Errorf("files are created in %q as fast as they are removed: %w", cmp.Or(at, "."), unix.ENOTEMPTY), 1}
			}
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// pass lists the directory once and removes every name that is listed.
func (r *removal) pass(dir *os.File, at string, depth int) (done *outcome, err error) {
	done = &outcome{}
	for more := true; more; {
		if more, err = r.passBatch(dir, at, depth, done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// passBatch removes the next batch of names.
func (r *removal) passBatch(dir *os.File, at string, depth int, done *outcome) (more bool, err error) {
	batch, err := r.readBatch(dir)
	defer batch.release()
	r.removeNames(dir, at, depth, batch.names, done)
	if ended := r.ended(); ended != nil {
		return false, ended
	}
	return !batch.last, err
}

// removeNames removes many names with several workers. The kernel changes a directory one call at a
// time, but frees the removed files in parallel.
func (r *removal) removeNames(dir *os.File, at string, depth int, names []dirent, done *outcome) {
	var taken atomic.Int64
	var helpers sync.WaitGroup
	work := func() {
		for r.ended() == nil {
			end := int(taken.Add(portion))
			if end-portion >= len(names) {
				return
			}
			for _, d := range names[end-portion : min(end, len(names))] {
				r.removeName(entry{dir, d.name, at, depth + 1}, done, &helpers)
			}
		}
	}
	for range min(workersInOne, len(names)/namesPerWorker) {
		r.handOver(&helpers, work)
	}
	work()
	helpers.Wait()
}

// handOver runs do in another worker and reports true, if one is free.
func (r *removal) handOver(helpers *sync.WaitGroup, do func()) bool {
	select {
	case r.workers <- struct{}{}:
		helpers.Go(func() {
			defer func() { <-r.workers }()
			do()
		})
		return true
	default:
		return false
	}
}

// entry is a name in an open directory.
type entry struct {
	dir   *os.File
	name  string
	in    string // the path of dir from the directory that is removed
	depth int
}

func (e entry) at() string { return path.Join(e.in, e.name) }

// removeName removes an entry of any kind. It leaves a directory to another worker if one is free.
func (r *removal) removeName(e entry, done *outcome, helpers *sync.WaitGroup) {
	var isDirectory bool
	err := evenIfForbidden(e.dir, func() (err error) { isDirectory, err = r.unlink(e); return err })
	if !isDirectory {
		done.note(e, err)
		return
	}
	remove := func() {
		done.note(e, evenIfForbidden(e.dir, func() error { return r.removeDirectory(int(e.dir.Fd()), e.name, e.at(), e.depth) }))
	}
	if !r.handOver(helpers, remove) {
		remove()
	}
}

// evenIfForbidden retries do after it has opened up the directory's mode, if the mode forbade it.
// The whole tree is being removed anyway.
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

// unlink removes anything but a directory. The kernel refuses to unlink a directory, so no lookup
// is needed before.
func (r *removal) unlink(e entry) (isDirectory bool, err error) {
	if err := r.step(); err != nil {
		return false, err
	}
	fd := int(e.dir.Fd())
	err = unix.Unlinkat(fd, e.name, 0)
	if errors.Is(err, unix.EISDIR) {
		return true, nil
	}
	if errors.Is(err, unix.EPERM) { // the error of POSIX for a directory, and of Linux in a sticky one
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

// openUp gives the owner all permissions on a directory and clears its sticky bit. In a sticky
// directory root needs CAP_FOWNER to remove another user's file. In a cluster claimdir has no
// capabilities, so the NFS client refuses the call without asking the server, which would allow it.
// Without the bit the server decides.
func openUp(dir *os.File) (changed bool, err error) {
	info, err := dir.Stat()
	if err != nil {
		return false, err
	}
	mode := settable(info)
	open := mode&^fs.ModeSticky | 0o700
	if open == mode {
		return false, nil
	}
	return true, dir.Chmod(open)
}

// openDirectory opens a directory of parent and nothing else. It follows no link and does not block
// on a pipe.
func openDirectory(parent int, name string) (*os.File, error) {
	return openNoFollow(parent, name, unix.O_RDONLY)
}

// openClosed opens a directory whose mode forbids it with the error how, after it has changed the
// mode, if we may. It changes the mode through a descriptor that needs no permission, so that it
// does not touch a directory swapped in at the name. If the directory is empty, openClosed removes
// it and returns nil.
func (r *removal) openClosed(parent int, name string, depth int, how error) (*os.File, error) {
	closed, err := openPath(parent, name)
	if err != nil {
		return nil, err
	}
	defer closed.Close()
	if err := r.mayEmpty(closed, depth); err != nil {
		return nil, err
	}
	if unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) == nil { // empty, although we may not list it
		r.directories.Add(1)
		return nil, nil
	}
	switch err := chmodPath(closed, 0o700); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("its mode forbids reading it and cannot be changed: %w", how)
	case err != nil:
		return nil, err
	}
	return openDirectory(int(closed.Fd()), ".")
}

// openPath opens a directory of parent, and nothing else, with O_PATH, which needs no permission on
// it.
func openPath(parent int, name string) (*os.File, error) {
	return openNoFollow(parent, name, unix.O_PATH)
}

func openNoFollow(parent int, name string, how int) (*os.File, error) {
	fd, err := retryInterrupted(func() (int, error) {
		return unix.Openat(parent, name, how|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func retryInterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// chmodPath sets the mode of a directory that openPath has opened. fchmod(2) refuses such
// descriptors.
func chmodPath(dir *os.File, mode fs.FileMode) error {
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), mode)
}
