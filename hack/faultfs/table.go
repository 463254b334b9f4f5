package faultfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file, directory or link that the kernel knows.
type node struct {
	id   uint64
	fd   int // O_PATH: the thing itself, wherever it is renamed to
	key  inode
	root bool

	// Under the table's lock:
	lookups uint64
	stale   bool
	name    string // that it was last looked up by
}

// inode is a node's identity in the backing directory.
type inode struct{ device, number uint64 }

// open is an open file or directory.
type open struct {
	node *node
	fd   int
	mu   sync.Mutex // one reader of a directory at a time
}

// table is what the kernel knows by number.
type table struct {
	mu    sync.Mutex
	last  uint64
	nodes map[uint64]*node
	known map[inode]*node // those of nodes that are not stale
	opens map[uint64]*open
	// remember is how long the kernel may remember entries and attributes; see FS.Remember.
	remember atomic.Int64
}

// newTable has one node, the root.
func newTable(backing string) (*table, error) {
	t := &table{last: fuse.FUSE_ROOT_ID, nodes: map[uint64]*node{}, known: map[inode]*node{}, opens: map[uint64]*open{}}
	fd, err := unix.Open(backing, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", backing, err)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	root := &node{id: fuse.FUSE_ROOT_ID, fd: fd, key: inode{stat.Dev, stat.Ino}, root: true, name: "/"}
	t.nodes[root.id], t.known[root.key] = root, root
	return t, nil
}

// close closes everything. No call may come after it.
func (t *table) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, n := range t.nodes {
		errs = append(errs, unix.Close(n.fd))
	}
	for _, o := range t.opens {
		errs = append(errs, unix.Close(o.fd))
	}
	t.nodes, t.known, t.opens = nil, nil, nil
	return errors.Join(errs...)
}

// node is the descriptor of a node; a stale one has none.
func (t *table) node(id uint64) (fd int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil || n.stale {
		return -1, syscall.ESTALE
	}
	return n.fd, nil
}

// open is an open file; one of a stale node is not.
func (t *table) open(id uint64) (*open, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.opens[id]
	if o == nil || o.node.stale {
		return nil, syscall.ESTALE
	}
	return o, nil
}

// name is what a node was last looked up by.
func (t *table) name(id uint64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[id]; n != nil {
		return n.name
	}
	return ""
}

// enter tells the kernel of what the O_PATH descriptor fd leads to, and keeps fd.
func (t *table) enter(fd int, name string, out *fuse.EntryOut) error {
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	key := inode{stat.Dev, stat.Ino}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.known[key]
	if n == nil {
		t.last++
		n = &node{id: t.last, fd: fd, key: key}
		t.nodes[n.id], t.known[key] = n, n
	} else if err := unix.Close(fd); err != nil {
		return err
	}
	n.name = name
	n.lookups++
	out.NodeId, out.Generation = n.id, 1
	out.FromStat(&stat)
	remember := time.Duration(t.remember.Load())
	out.SetEntryTimeout(remember)
	out.SetAttrTimeout(remember)
	return nil
}

// forget takes lookups back; a node without any is gone.
func (t *table) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil || n.root {
		return
	}
	n.lookups -= min(lookups, n.lookups)
	if n.lookups > 0 {
		return
	}
	delete(t.nodes, id)
	if t.known[n.key] == n {
		delete(t.known, n.key)
	}
	_ = unix.Close(n.fd) // nothing was written with it
}

// forgetAll makes all nodes stale, but not the root. What is looked up from now
// on has a new number, which tells the kernel that it is not what it knew.
func (t *table) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.known {
		if !n.root {
			n.stale = true
			delete(t.known, key)
		}
	}
}

// keep gives an open descriptor of a node a number.
func (t *table) keep(id uint64, fd int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.opens[t.last] = &open{node: t.nodes[id], fd: fd}
	return t.last
}

// release closes what keep has kept.
func (t *table) release(handle uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.opens[handle]; o != nil {
		delete(t.opens, handle)
		_ = unix.Close(o.fd) // Flush has said what there was to say
	}
}
