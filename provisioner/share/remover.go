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

// Remover is how trees are removed: by how many hands, and how fast. Several
// removals may share one.
type Remover struct {
	hands chan struct{} // taken by goroutines beside those that call
	bulk  chan struct{} // taken by those that read many names at once: see readBatch
	// buffers has *direntBuffer, for readBatch.
	buffers sync.Pool
	pace    *rate.Limiter // nil: as fast as it goes; waits are ended by a context
}

// NewRemover lets up to hands goroutines help those that call, and all together
// make up to perSecond calls to the file system a second; 0 means no limit.
func NewRemover(hands, perSecond int) *Remover {
	r := &Remover{hands: make(chan struct{}, hands), bulk: make(chan struct{}, bulks)}
	if perSecond > 0 {
		r.pace = rate.NewLimiter(rate.Limit(perSecond), perSecond/10+1)
	}
	return r
}

// Removed counts what a removal took away.
type Removed struct{ Files, Directories int64 }

// removal is the removal of one tree.
type removal struct {
	*Remover

	ctx    context.Context //nolint:containedctx // a removal is one call, in many goroutines
	share  *Share
	opened *os.File                    // the directory to be removed, where it is open already
	only   func(opened *os.File) error // an error if that is not the directory to be removed
	top    int                         // descriptor of the directory that is removed, where too deep ones are moved to
	device uint64                      // of the file system that is not left

	files, directories atomic.Int64
	lifted             atomic.Int64
}

// step comes before each call to the file system.
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

// ended returns why nothing more is to be done, if so.
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

// outcome gathers what became of the names of a directory, from several hands.
type outcome struct {
	mu      sync.Mutex
	removed int
	kept    keptError
}

// note takes the end of one name.
func (o *outcome) note(e entry, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.removed++
		return
	}
	count := 1
	if inside, ok := errors.AsType[*keptError](err); ok { // it says where itself
		err, count = inside.first, inside.count
	} else {
		err = fmt.Errorf("%s: %w", e.at(), plain(err))
	}
	if o.kept.first == nil {
		o.kept.first = err
	}
	o.kept.count += count
}

// removeDirectory removes the directory name of parent; at is its path from the
// one that is to be removed.
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

// openOnce opens a directory, or takes the one that is open already.
func (r *removal) openOnce(parent int, name string, depth int) (*os.File, error) {
	if depth == 0 && r.opened != nil {
		opened := r.opened
		r.opened = nil
		return opened, nil
	}
	return openDirectory(parent, name)
}

// removeOnce empties the directory and removes it. Somebody may be filling it
// meanwhile.
func (r *removal) removeOnce(parent int, name, at string, depth int) error {
	if err := r.step(); err != nil {
		return err
	}
	dir, err := r.openOnce(parent, name, depth)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP): // exchanged meanwhile
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

// mayEmpty refuses an open directory in which nothing may be changed. It comes before
// any change, also of a mode.
func (r *removal) mayEmpty(dir *os.File, depth int) error {
	if depth == 0 && r.only != nil {
		if err := r.only(dir); err != nil {
			return err
		}
	}
	return r.stay(dir)
}

// stay refuses a directory of another file system than that of the one to be
// removed: somebody mounted it there, and what is in it is not the volume's.
func (r *removal) stay(dir *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return err
	}
	device := uint64(stat.Dev) //nolint:unconvert // its type differs between architectures
	if r.device == 0 {
		r.device = device
	}
	if device != r.device {
		return errOtherFileSystem
	}
	return nil
}

var errOtherFileSystem = errors.New("another file system is mounted there; unmount it first")

// ignoreAbsent: what is gone is removed.
func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
