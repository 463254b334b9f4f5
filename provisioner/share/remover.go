package share

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Remover holds the limits for the removal of trees: the number of workers and the pace. Several
// removals may share one.
type Remover struct {
	workers chan struct{} // a slot for each goroutine beside the callers
	bulk    chan struct{} // a slot for each directory that is read in bulk: see readBatch
	// buffers holds *direntBuffer, for readBatch.
	buffers sync.Pool
	pace    *rate.Limiter // nil: no limit
}

// NewRemover returns a Remover with up to workers goroutines beside the callers. Together they make
// up to perSecond file system calls a second; 0 means no limit.
func NewRemover(workers, perSecond int) *Remover {
	r := &Remover{workers: make(chan struct{}, workers), bulk: make(chan struct{}, bulks)}
	if perSecond > 0 {
		r.pace = rate.NewLimiter(rate.Limit(perSecond), perSecond/10+1)
	}
	return r
}

// Removed counts what a removal has removed.
type Removed struct{ Files, Directories int64 }

// removal is the removal of one tree.
type removal struct {
	*Remover

	ctx    context.Context // of this one removal
	share  *Share
	opened *os.File                    // the top directory, if it is open already
	only   func(opened *os.File) error // returns an error if opened is not the directory to remove
	top    int                         // descriptor of the top directory, into which deep ones are moved
	device uint64                      // of the file system that the removal stays on

	files, directories atomic.Int64
	lifted             atomic.Int64
}

// step must be called before each file system call. It waits for the pace and fails once the
// removal may not go on.
func (r *removal) step() error {
	if err := r.ended(); err != nil {
		return err
	}
	if r.pace != nil {
		if err := r.pace.Wait(r.ctx); err != nil {
			return errors.Join(r.ended(), err)
		}
	}
	if err := r.ended(); err != nil {
		return err
	}
	return r.share.run("remove", func() error { return nil })
}

// ended returns the cause if the removal may not go on.
func (r *removal) ended() error {
	for _, ctx := range []context.Context{r.ctx, r.share.ctx} {
		if ctx != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// keptError says that something in a directory could not be removed.
type keptError struct {
	first error
	count int
}

func (e *keptError) Error() string {
	if e.count > 1 {
		return fmt.Sprintf("%v (and %d more)", e.first, e.count-1)
	}
	return e.first.Error()
}

func (e *keptError) Unwrap() error { return e.first }

// outcome collects the results for the names of a directory from several workers.
type outcome struct {
	mu      sync.Mutex
	removed int
	kept    keptError
}

// note records the result for one name.
func (o *outcome) note(e entry, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.removed++
		return
	}
	count := 1
	if inside, ok := errors.AsType[*keptError](err); ok { // it contains the path already
		err, count = inside.first, inside.count
	} else {
		err = fmt.Errorf("%q: %w", e.at(), plain(err)) // a tenant chose the name
	}
	if o.kept.first == nil {
		o.kept.first = err
	}
	o.kept.count += count
}

// removeDirectory removes the directory name of parent. at is its path below the top directory.
func (r *removal) removeDirectory(parent int, name, at string, depth int) (err error) {
	if depth > maxDepth {
		if err := r.lift(parent, name); err == nil || depth >= hardDepth {
			return ignoreAbsent(err)
		}
	}
	for range rounds {
		err = r.removeOnce(parent, name, at, depth)
		if errors.As(err, new(*keptError)) || !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	return err
}

// openOnce opens a directory, or returns the top one if it is open already.
func (r *removal) openOnce(parent int, name string, depth int) (*os.File, error) {
	if depth == 0 && r.opened != nil {
		opened := r.opened
		r.opened = nil
		return opened, nil
	}
	return openDirectory(parent, name)
}

// removeOnce empties the directory and removes it once. It fails if somebody fills the directory
// meanwhile.
func (r *removal) removeOnce(parent int, name, at string, depth int) error {
	if err := r.step(); err != nil {
		return err
	}
	dir, err := r.openOnce(parent, name, depth)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP): // replaced by another kind meanwhile
		return ignoreAbsent(unix.Unlinkat(parent, name, 0))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		if dir, err = r.openClosed(parent, name, depth, err); dir == nil {
			return ignoreAbsent(err)
		}
	case err != nil:
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := r.mayEmpty(dir, depth); err != nil {
		return err
	}
	if depth == 0 {
		r.top = int(dir.Fd())
	}
	if err := r.empty(dir, at, depth); err != nil {
		return err
	}
	if err := r.step(); err != nil {
		return err
	}
	err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	if err == nil {
		r.directories.Add(1)
	}
	return ignoreAbsent(err)
}

// mayEmpty refuses an open directory that must not be changed. It is called before any change, even
// of a mode.
func (r *removal) mayEmpty(dir *os.File, depth int) error {
	if depth == 0 && r.only != nil {
		if err := r.only(dir); err != nil {
			return err
		}
	}
	return r.stay(dir)
}

// stay refuses a directory on another file system than the top one. Somebody has mounted it there,
// and its content does not belong to the volume.
func (r *removal) stay(dir *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return err
	}
	device := uint64(stat.Dev) // its type differs between architectures
	if r.device == 0 {
		r.device = device
	}
	if device != r.device {
		return errOtherFileSystem
	}
	return nil
}

var errOtherFileSystem = errors.New("another file system is mounted there; unmount it first")

// ignoreAbsent returns nil if err says that the entry is gone.
func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
