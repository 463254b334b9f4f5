package faultfs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Call is a kind of call that the kernel makes.
type Call string

// The calls that can be told to misbehave. Closing a file and giving up a name
// never do.
const (
	Lookup   Call = "lookup"
	Getattr  Call = "getattr"
	Setattr  Call = "setattr" // chmod, chown, truncate
	Mkdir    Call = "mkdir"
	Unlink   Call = "unlink"
	Rmdir    Call = "rmdir"
	Rename   Call = "rename"
	Link     Call = "link"
	Symlink  Call = "symlink"
	Readlink Call = "readlink"
	Create   Call = "create"
	Open     Call = "open"
	Read     Call = "read"
	Write    Call = "write"
	Fsync    Call = "fsync"
	Opendir  Call = "opendir"
	Readdir  Call = "readdir"
	Statfs   Call = "statfs"
)

// FS is a mounted file system. It is safe for concurrent use.
type FS struct {
	fuse.RawFileSystem // the directory; methods not overridden here pass through

	mountpoint string
	server     *fuse.Server

	mu     sync.Mutex
	delay  time.Duration
	faults []*fault
	counts map[Call]int
	waits  int

	age     int            // counts calls of Stale
	nodes   map[uint64]int // the age in which the kernel looked a node up last
	handles map[handle]int // the age in which a file or directory was opened
}

// handle is an open file or directory.
type handle struct {
	node, fh uint64
}

// fault is what some calls are told to do.
type fault struct {
	calls []Call // none means all
	errno syscall.Errno
	after bool // only after the call was carried out
	hang  chan struct{}
}

// Mount mounts the directory backing at mountpoint, which must exist. It needs
// /dev/fuse and the right to mount.
func Mount(backing, mountpoint string) (*FS, error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("mount a FUSE file system: %w; the kernel's module fuse is needed", err)
	}
	root, err := fs.NewLoopbackRoot(backing)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", backing, err)
	}
	none := time.Duration(0)
	f := &FS{
		RawFileSystem: fs.NewNodeFS(root, &fs.Options{EntryTimeout: &none, AttrTimeout: &none, NegativeTimeout: &none, NullPermissions: true}),
		mountpoint:    mountpoint,
		counts:        map[Call]int{},
		nodes:         map[uint64]int{},
		handles:       map[handle]int{},
	}
	f.server, err = fuse.NewServer(f, mountpoint, &fuse.MountOptions{
		AllowOther: true, DirectMount: true, FsName: "faultfs", Name: "faultfs",
		DisableXAttrs: true, DisableReadDirPlus: true, MaxBackground: 1000,
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s at %s: %w", backing, mountpoint, err)
	}
	go f.server.Serve()
	if err := f.server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s at %s: %w", backing, mountpoint, err), f.Close())
	}
	return f, nil
}

// Close ends all misbehaviour and unmounts.
func (f *FS) Close() error {
	f.mu.Lock()
	faults := slices.Clone(f.faults)
	f.delay = 0
	f.mu.Unlock()
	for _, fault := range faults {
		f.undo(fault)
	}
	err := f.server.Unmount()
	if err != nil { // somebody still has a file open there
		err = syscall.Unmount(f.mountpoint, syscall.MNT_DETACH)
	}
	return err
}

// Delay lets every call take d longer.
func (f *FS) Delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// Hang lets calls wait from now on, all if none are named. release ends this
// Hang and no other.
func (f *FS) Hang(calls ...Call) (release func()) {
	return f.add(&fault{calls: calls, hang: make(chan struct{})})
}

// HangAnswer lets calls be carried out, and wait before they answer.
func (f *FS) HangAnswer(calls ...Call) (release func()) {
	return f.add(&fault{calls: calls, after: true, hang: make(chan struct{})})
}

// Fail lets calls fail.
func (f *FS) Fail(errno syscall.Errno, calls ...Call) (undo func()) {
	return f.add(&fault{calls: calls, errno: errno})
}

// DropAnswer lets calls be carried out, and answer an error all the same.
func (f *FS) DropAnswer(errno syscall.Errno, calls ...Call) (undo func()) {
	return f.add(&fault{calls: calls, after: true, errno: errno})
}

// Stale makes everything that the kernel knows by now, but for the root, answer
// ESTALE until it is looked up or opened anew.
func (f *FS) Stale() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.age++
}

// Waiting is how many calls hang at the moment.
func (f *FS) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits
}

// Calls counts the calls so far.
func (f *FS) Calls() map[Call]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

func (f *FS) add(fault *fault) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fault)
	return func() { f.undo(fault) }
}

func (f *FS) undo(old *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.faults, old)
	if i < 0 {
		return
	}
	f.faults = slices.Delete(f.faults, i, i+1)
	if old.hang != nil {
		close(old.hang)
	}
}

// serve is a call on a node, through an open handle if fh is not zero.
func (f *FS) serve(call Call, at handle, do func() fuse.Status) fuse.Status {
	f.mu.Lock()
	f.counts[call]++
	delay, stale := f.delay, f.stale(at)
	f.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	if status := f.misbehave(call, false); status != fuse.OK {
		return status
	}
	if stale {
		return fuse.Status(syscall.ESTALE)
	}
	status := do()
	if late := f.misbehave(call, true); late != fuse.OK {
		return late
	}
	return status
}

// misbehave does what the faults say that come before or after a call.
func (f *FS) misbehave(call Call, after bool) fuse.Status {
	f.mu.Lock()
	var mine []*fault
	for _, fault := range f.faults {
		if fault.after == after && (len(fault.calls) == 0 || slices.Contains(fault.calls, call)) {
			mine = append(mine, fault)
		}
	}
	f.mu.Unlock()
	for _, fault := range mine {
		if fault.errno != 0 {
			return fuse.Status(fault.errno)
		}
		f.wait(fault.hang)
	}
	return fuse.OK
}

func (f *FS) wait(hang chan struct{}) {
	count := func(n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waits += n
	}
	count(1)
	defer count(-1)
	<-hang
}

// stale must be called with mu held.
func (f *FS) stale(at handle) bool {
	if opened, known := f.handles[at]; known && at.fh != 0 {
		return opened < f.age && at.node != fuse.FUSE_ROOT_ID
	}
	return at.node != fuse.FUSE_ROOT_ID && f.nodes[at.node] < f.age
}

// found remembers that the kernel has looked a node up.
func (f *FS) found(status fuse.Status, node uint64) fuse.Status {
	if status == fuse.OK && node != 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.nodes[node] = f.age
	}
	return status
}

// opened remembers that the kernel has opened a file or directory.
func (f *FS) opened(status fuse.Status, node, fh uint64) fuse.Status {
	if status == fuse.OK {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.handles[handle{node, fh}] = f.age
	}
	return status
}
