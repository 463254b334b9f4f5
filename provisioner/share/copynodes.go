package share

import (
	"errors"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxOpen is how many directories of a copy are open at once, beside those that workers use. Each has two
// descriptors, and a tenant can create a tree that is deeper than a process has descriptors.
const maxOpen = 128

// copyNode is a directory that is being copied. It keeps its parent, so that it can be opened again by the names from the top
// directory on.
type copyNode struct {
	parent *copyNode
	name   string
	fresh  bool         // this run has made the copy of it: it has nothing but what this run makes
	left   atomic.Int32 // tasks that are left before it is complete

	// Of these only one task has charge at a time.
	stat     unix.Stat_t // of the source
	listed   int64       // how far: an offset for lseek(2)
	restarts int

	// openNodes guards these.
	source, target int // descriptors
	isOpen         bool
	users          int
	newer, older   *copyNode // among the open ones
}

// at returns the path of a name in the directory, relative to the top one, for people.
func (n *copyNode) at(name string) string {
	const longest = 1000
	for ; n != nil && n.parent != nil; n = n.parent {
		if len(name) > longest {
			return path.Join("…", name)
		}
		name = path.Join(n.name, name)
	}
	if name == "" {
		return "."
	}
	return name
}

// openNodes keeps the directories open that were used last.
type openNodes struct {
	mu     sync.Mutex
	count  int
	newest *copyNode
	oldest *copyNode
}

// errGone says that the source no longer has a directory.
var errGone = errors.New("is gone")

// use opens a directory for a task, which must call done. The error is errGone if the source no longer has it, or has
// another one there while it is listed.
func (c *copying) use(n *copyNode) error {
	for {
		closed, err := c.useNearest(n)
		if err != nil || closed == nil {
			return err
		}
		source, target, err := c.openNode(closed)
		c.done(closed.parent)
		if err != nil {
			return err
		}
		c.open.mu.Lock()
		if closed.isOpen { // another worker has opened it meanwhile
			_, _ = unix.Close(source), unix.Close(target)
		} else {
			closed.source, closed.target, closed.isOpen = source, target, true
			c.open.push(closed)
		}
		c.open.mu.Unlock()
	}
}

// useNearest uses n if it is open. Otherwise it returns the first directory on the way to it that is closed, and uses that one's
// parent.
func (c *copying) useNearest(n *copyNode) (closed *copyNode, err error) {
	c.open.mu.Lock()
	defer c.open.mu.Unlock()
	for !n.isOpen {
		if n.parent == nil {
			return nil, errGone // the top directory is open as long as the copy runs
		}
		n, closed = n.parent, n
	}
	n.users++
	c.open.remove(n)
	c.open.push(n)
	return closed, nil
}

// done ends a use, and closes the directories that were used longest ago if too many are open.
func (c *copying) done(n *copyNode) {
	c.open.mu.Lock()
	defer c.open.mu.Unlock()
	n.users--
	for old := c.open.oldest; old != nil && c.open.count > maxOpen; {
		next := old.newer
		if old.users == 0 {
			c.open.close(old)
		}
		old = next
	}
}

func (o *openNodes) push(n *copyNode) {
	n.older, n.newer = o.newest, nil
	if o.newest != nil {
		o.newest.newer = n
	} else {
		o.oldest = n
	}
	o.newest = n
	o.count++
}

func (o *openNodes) remove(n *copyNode) {
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		o.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		o.oldest = n.newer
	}
	n.newer, n.older = nil, nil
	o.count--
}

func (o *openNodes) close(n *copyNode) {
	o.remove(n)
	n.isOpen = false
	_, _ = unix.Close(n.source), unix.Close(n.target)
}

// closeAll closes all directories when the copy ends.
func (o *openNodes) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.newest != nil {
		o.close(o.newest)
	}
}

// openNode opens a directory of an open parent, and its copy.
func (c *copying) openNode(n *copyNode) (source, target int, err error) {
	source, err = c.openSourceDirectory(n)
	if err != nil {
		return -1, -1, err
	}
	target, err = c.openCopy(n.parent.target, n.name)
	if err != nil {
		_ = unix.Close(source)
		if isReplaced(err) { // by another worker, to which the directory that somebody changes has another kind
			return -1, -1, errGone
		}
		return -1, -1, c.failed(n, "", err)
	}
	return source, target, nil
}

func (c *copying) openSourceDirectory(n *copyNode) (int, error) {
	open := func(how int) (int, error) {
		return c.opens(c.from, func() (int, error) {
			return unix.Openat(n.parent.source, n.name, how|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		})
	}
	source, err := open(unix.O_RDONLY)
	switch {
	case isReplaced(err):
		return -1, errGone
	case errors.Is(err, fs.ErrPermission):
		return -1, c.unreadable(n, "", n.stat.Uid, err)
	case err != nil:
		return -1, c.failed(n, "", err)
	}
	if err := c.checkSource(n, source); err != nil {
		_ = unix.Close(source)
		return -1, err
	}
	return source, nil
}

// maxRestarts is how often a directory is listed anew because another one has taken its place.
const maxRestarts = 3

// checkSource notes what a directory is that was opened.
func (c *copying) checkSource(n *copyNode, source int) error {
	var stat unix.Stat_t
	err := c.source(func() error { return unix.Fstat(source, &stat) })
	switch {
	case IsStale(err):
		return errGone
	case err != nil:
		return c.failed(n, "", err)
	case uint64(stat.Dev) != c.device: // its type differs between architectures
		return c.failed(n, "", errOtherFileSystem)
	}
	c.open.mu.Lock()
	defer c.open.mu.Unlock()
	switch {
	case stat.Ino == n.stat.Ino:
		return nil
	case n.listed > 0 && n.restarts == maxRestarts:
		return errGone
	case n.listed > 0:
		n.listed = 0
		n.restarts++
	}
	n.stat = stat
	return nil
}

// isReplaced reports whether an error says that a directory is gone, or that something else has its name.
func isReplaced(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || IsStale(err)
}

// openCopy opens a directory of the copy. One that is complete may have a mode that forbids to read it, but not to pass
// through it.
func (c *copying) openCopy(parent int, name string) (int, error) {
	open := func(how int) (int, error) {
		return c.opens(c.to, func() (int, error) {
			return unix.Openat(parent, name, how|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
	}
	opened, err := open(toRead)
	if errors.Is(err, fs.ErrPermission) {
		opened, err = open(asPlace)
	}
	return opened, err
}

// info returns the attributes of a directory of the source.
func (c *copying) info(n *copyNode) unix.Stat_t {
	c.open.mu.Lock()
	defer c.open.mu.Unlock()
	return n.stat
}
