package share

import (
	"context"
	"fmt"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"claimdir/provisioner/volpath"
)

// CopiesDir is the directory below .claimdir in which copies are made, each in a directory of its own:
//
//	<staging>/tree    the copy
//	<staging>/parts   large files, and files of several names, until their content is complete
//	<staging>/links   files of several names, until all of these are linked
//
// The last two are gone once the copy is complete.
const CopiesDir = "copies"

// Names in the directory of a copy.
const (
	copyTree  = "tree"
	copyParts = "parts"
	copyLinks = "links"
)

// Copier holds the limits for copying trees: the number of workers of each copy, and the pace of all copies that
// share the Copier.
type Copier struct {
	workers int
	calls   *rate.Limiter // nil: no limit
	bytes   *rate.Limiter // nil: no limit
}

// NewCopier returns a Copier with workers goroutines for each copy. Together its copies make up to callsPerSecond
// file system calls and copy up to bytesPerSecond bytes of content a second; 0 means no limit. What the server
// clones takes no time and counts as no bytes.
func NewCopier(workers, callsPerSecond, bytesPerSecond int) *Copier {
	c := &Copier{workers: max(1, workers)}
	if callsPerSecond > 0 {
		c.calls = rate.NewLimiter(rate.Limit(callsPerSecond), callsPerSecond/10+1)
	}
	if bytesPerSecond > 0 {
		c.bytes = rate.NewLimiter(rate.Limit(bytesPerSecond), min(maxChunk, max(bytesPerSecond/20, 4<<10)))
	}
	return c
}

// CopyFrom is the directory that is copied.
type CopyFrom struct {
	// Share is the share that has the directory. It is nil if that is the one to which it is copied; a view of
	// another share may have another context and Call.
	Share *Share
	Path  volpath.Path
	// Identity must match the directory's. It is nil if any directory will do.
	Identity *Identity
}

// CopyProgress counts what a copy has done so far, with what an earlier run of it had done. It may be read at any
// time.
type CopyProgress struct {
	// Files are all names that are no directories.
	Files atomic.Int64
	// Directories are those whose own files are complete.
	Directories atomic.Int64
	// Bytes are those of content, without holes. Of what an earlier run has completed they are what it takes on the
	// disk. A file that is copied again, because somebody has changed it, counts each time.
	Bytes atomic.Int64
}

// Copied says what one run of a copy has done.
type Copied struct {
	// Files are all names that are no directories, and Directories includes the top one. Both include what an
	// earlier run had done.
	Files, Directories int64
	// Bytes are as in CopyProgress: with what an earlier run had done.
	Bytes int64
	// Found are those of Files that an earlier run had completed.
	Found int64
	// Links are those of Files that became a further name of a file that has several.
	Links int64
	// Cloned, Server and Read are the bytes of content by the way they took: the server shares the blocks between
	// both files (FICLONE); the kernel copies them (copy_file_range), which an NFS client of version 4.2 leaves to
	// the server if that can do it; or this process reads and writes them.
	Cloned, Server, Read int64
	// LeftOut counts device nodes and extended attributes that are not copied, and FirstLeftOut names up to three.
	LeftOut      int64
	FirstLeftOut []string
	// Changed counts files and directories that somebody was changing each time when they were copied, and
	// FirstChanged names up to three. The copy may have a state of them that the source never had.
	Changed      int64
	FirstChanged []string
}

// examples is how many things a Copied names.
const examples = 3

// Copy copies the directory from to .claimdir/copies/<staging>/tree, until ctx is done; staging is a name of the copy's own, as
// volpath.Own makes them. Of several copies at a time each has another one. It keeps regular files with
// their holes, directories, symbolic links, pipes, sockets, names that share a file, modes, owners, times, user.*
// attributes and ACLs, also those of the top directory. It leaves out and counts device nodes, and security.* and
// trusted.* attributes; of these security.selinux does not count, because the system gives it to each file.
//
// It follows no link, and what a tenant changes in the tree meanwhile reaches nothing outside of it. The copy is one
// file after the other, never of one moment.
//
// A repeat, also after a kill, goes on with what lies there: a name of equal kind, size, time of change, mode and
// owner is complete, because the times are set last. It removes what the source no longer has. The tree is whole only if
// Copy returned no error.
//
// It fails at the first file that it cannot read, or whose owner it cannot set; the error is fs.ErrPermission then and
// names the file. It is ErrChanged for another directory than the one that was meant, and fs.ErrNotExist if there is none.
func (s *Share) Copy(ctx context.Context, copier *Copier, from CopyFrom, staging string, progress *CopyProgress) (Copied, error) {
	if from.Share == nil {
		from.Share = s
	}
	c := newCopying(ctx, copier, from.Share, s)
	defer c.stop(nil)
	if progress != nil {
		c.progress = progress
	}
	err := from.Share.withDirectory(from.Path, from.Identity, func(source *dir) error { //nolint:contextcheck // the copy holds ctx
		return c.inStaging(path.Join(CopiesDir, staging), source)
	})
	if err != nil {
		err = fmt.Errorf("copy %s: %w", from.Path, plain(err))
	}
	return c.result(), err
}

// copying is one run of the copy of one tree.
type copying struct {
	*Copier

	ctx      context.Context // of this one run
	stop     context.CancelCauseFunc
	from, to *Share
	device   uint64 // of the file system that the copy stays on
	progress *CopyProgress
	run      string // tells this run from others

	tasks tasks
	open  openNodes
	parts *dir
	links *dir
	locks [64]sync.Mutex // see lockFile

	flushes  bool // whether the destination's kernel may hold content back until the file is synced: see flush
	noClone  support
	noServer support
	noAtime  support
	noEmpty  support
	seenACL  seenACLs

	mu      sync.Mutex
	offsets map[string]int64 // by the version of a large file, how much of it lies in parts
	copied  Copied
}

// newCopying returns a run whose stop must be called.
func newCopying(ctx context.Context, copier *Copier, from, to *Share) *copying {
	ctx, stop := context.WithCancelCause(ctx)
	return &copying{Copier: copier, ctx: ctx, stop: stop, from: from, to: to, progress: &CopyProgress{}, offsets: map[string]int64{}}
}

// call makes one file system call on a share, once the pace allows it.
func (c *copying) call(on *Share, name string, call func() error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.calls != nil {
		if err := c.calls.Wait(c.ctx); err != nil {
			return c.cause(err)
		}
	}
	return on.run(name, func() error {
		_, err := retryInterrupted(func() (int, error) { return 0, call() })
		return err
	})
}

// cause returns why the copy ended, or err if it has not.
func (c *copying) cause(err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// source makes one call on the share that is copied from.
func (c *copying) source(call func() error) error { return c.call(c.from, "copy from", call) }

// target makes one call on the share that is copied to.
func (c *copying) target(call func() error) error { return c.call(c.to, "copy to", call) }

// opens is call for a call that opens a file. If a Call reports an error although the file was opened, as tests do, it is
// closed again.
func (c *copying) opens(on *Share, open func() (int, error)) (int, error) {
	fd := -1
	err := c.call(on, "open to copy", func() (err error) {
		fd, err = open()
		return err
	})
	if err != nil && fd >= 0 {
		_ = unix.Close(fd)
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// closeRead closes a descriptor that was only read: that loses nothing.
func closeRead(fd int) { _ = unix.Close(fd) }

func (c *copying) result() Copied {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied.Bytes = c.progress.Bytes.Load()
	return c.copied
}

// count changes the result.
func (c *copying) count(change func(*Copied)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.copied)
}

// leftOut counts something that is not copied.
func (c *copying) leftOut(what string) {
	c.count(func(r *Copied) {
		r.LeftOut++
		if len(r.FirstLeftOut) < examples {
			r.FirstLeftOut = append(r.FirstLeftOut, what)
		}
	})
}

// changed counts something that somebody was changing.
func (c *copying) changed(n *copyNode, name string) {
	c.count(func(r *Copied) {
		r.Changed++
		if len(r.FirstChanged) < examples {
			r.FirstChanged = append(r.FirstChanged, n.at(name))
		}
	})
}
