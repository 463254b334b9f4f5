package share

import (
	"cmp"
	"crypto/rand"
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
	// fewNames is how many names of a directory a server shows whole, even if they are
	// removed meanwhile.
	fewNames = 1000
	// maxDepth is how far below the top a directory is removed where it is. Deeper
	// ones are moved up first: each level in between keeps a descriptor open, and a
	// tenant can make a tree deeper than there are descriptors.
	maxDepth = 12
	// hardDepth bounds how far below the top what cannot be moved up is removed where it
	// is: each level costs a descriptor, and a path as long as it is deep.
	hardDepth = 8 * maxDepth
	// rounds is how often a directory is emptied that is not empty afterwards: by
	// then somebody is filling it.
	rounds = 3
	// passes is how often many names may still be removed from a directory that was
	// seen to its end.
	passes = 10
	// portion is how many names of a directory a hand takes at a time, worthAHand how
	// many are worth another one, of which there are up to handsInOne.
	portion    = 64
	worthAHand = 512
	handsInOne = 3
)

// empty removes what is in the directory, in passes: a server may leave out
// names while others are removed, and a tenant may make new ones.
func (r *removal) empty(dir *os.File, at string, depth int) error {
	for left := passes; ; {
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
		case done.kept.first == nil && done.removed < fewNames:
			return nil // most directories are empty after one pass; if not, the caller comes again
		default:
			if left--; left == 0 {
				return &keptError{fmt.Errorf("files are made in %q as fast as they are removed: %w", cmp.Or(at, "."), unix.ENOTEMPTY), 1}
			}
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// pass removes each name that it is shown.
func (r *removal) pass(dir *os.File, at string, depth int) (done *outcome, err error) {
	done = &outcome{}
	for more := true; more; {
		if more, err = r.passBatch(dir, at, depth, done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// passBatch is pass for the next names.
func (r *removal) passBatch(dir *os.File, at string, depth int, done *outcome) (more bool, err error) {
	batch, err := r.readBatch(dir)
	defer batch.release()
	r.removeNames(dir, at, depth, batch.names, done)
	if ended := r.ended(); ended != nil {
		return false, ended
	}
	return !batch.last, err
}

// removeNames removes many names by several hands: the kernel changes a directory
// one call at a time, but frees what is removed from it beside that.
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
	for range min(handsInOne, len(names)/worthAHand) {
		r.handOver(&helpers, work)
	}
	work()
	helpers.Wait()
}

// handOver lets another hand do it, if one is free.
func (r *removal) handOver(helpers *sync.WaitGroup, do func()) bool {
	select {
	case r.hands <- struct{}{}:
		helpers.Go(func() {
			defer func() { <-r.hands }()
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

// removeName removes whatever the entry is, a directory by another hand if one is
// free.
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
	mode := settable(info)
	open := mode&^fs.ModeSticky | 0o700
	if open == mode {
		return false, nil
	}
	return true, dir.Chmod(open)
}

// openDirectory opens a directory of parent and nothing else: it follows
// no link and waits for no pipe.
func openDirectory(parent int, name string) (*os.File, error) {
	return openNoFollow(parent, name, unix.O_RDONLY)
}

// openClosed opens a directory whose mode forbids it, which is how, if the mode is
// ours to change. It is set through a descriptor that needs no right to be opened,
// so that nothing swapped in at the name is touched. One that is empty is removed, and
// none is returned.
func (r *removal) openClosed(parent int, name string, depth int, how error) (*os.File, error) {
	closed, err := openPath(parent, name)
	if err != nil {
		return nil, err
	}
	defer closed.Close()
	if err := r.mayEmpty(closed, depth); err != nil {
		return nil, err
	}
	if unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) == nil { // nobody lets us look into it, but it is empty
		r.directories.Add(1)
		return nil, nil //nolint:nilnil // as the comment says
	}
	switch err := chmodPath(closed, 0o700); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("its mode is not ours to change and forbids to look into it: %w", how)
	case err != nil:
		return nil, err
	}
	return openDirectory(int(closed.Fd()), ".")
}

// openPath opens a directory of parent as the place that it is, which needs no right
// to it, and nothing else.
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

// chmodPath sets the mode of what openPath opened; fchmod(2) refuses such descriptors.
func chmodPath(dir *os.File, mode fs.FileMode) error {
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), mode)
}

// lift moves a directory up into the top one, where a later pass meets it. What forbids
// that is opened up: the directory that it lies in, which may be closed or sticky, the
// top one, and itself, for it is written to.
func (r *removal) lift(parent int, name string) error {
	err := r.liftOnce(parent, name)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	r.openUpAt(parent, ".")
	r.openUpAt(r.top, ".")
	r.openUpAt(parent, name)
	return r.liftOnce(parent, name)
}

func (r *removal) liftOnce(parent int, name string) error {
	if err := r.step(); err != nil {
		return err
	}
	err := unix.Renameat(parent, name, r.top, ".claimdir-"+rand.Text())
	if err == nil {
		r.lifted.Add(1)
	}
	return err
}

// openUpAt gives the owner all rights to a directory of the volume, if its mode is ours
// to change.
func (r *removal) openUpAt(parent int, name string) {
	dir, err := openPath(parent, name)
	if err != nil {
		return
	}
	defer dir.Close()
	if r.stay(dir) == nil {
		_ = chmodPath(dir, 0o700)
	}
}
