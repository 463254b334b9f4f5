package faultfs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Call is something that is asked of the share, or that on an entry's name only.
type Call string

// What the kernel asks of a share. Any is each of them.
const (
	Any      Call = ""
	Lookup   Call = "Lookup"
	Getattr  Call = "Getattr"
	Setattr  Call = "Setattr" // chmod, chown, truncate, utimes
	Mknod    Call = "Mknod"
	Mkdir    Call = "Mkdir"
	Unlink   Call = "Unlink"
	Rmdir    Call = "Rmdir"
	Rename   Call = "Rename"
	Link     Call = "Link"
	Symlink  Call = "Symlink"
	Readlink Call = "Readlink"
	Create   Call = "Create" // open of a file that was not there
	Open     Call = "Open"
	Read     Call = "Read"
	Write    Call = "Write"
	Flush    Call = "Flush" // close of a file
	Fsync    Call = "Fsync"
	Opendir  Call = "Opendir"
	Readdir  Call = "Readdir"
	Fsyncdir Call = "Fsyncdir"
	Statfs   Call = "Statfs"
)

// Of is the call on entries of this name only: the last element of a path, old
// or new if the call has two. An open file has the name that it was last looked
// up by, and the mount's root is "/".
func (c Call) Of(name string) Call { return c + " " + Call(name) }

// is reports whether c means this call on an entry with one of the names.
func (c Call) is(call Call, names []string) bool {
	wanted, name, one := strings.Cut(string(c), " ")
	return (wanted == "" || wanted == string(call)) && (!one || slices.Contains(names, name))
}

// fault is one way to misbehave.
type fault struct {
	calls []Call // none is all
	hangs bool   // or answers errno
	errno syscall.Errno
	after bool // the call is carried out
	gone  chan struct{}

	// caught is closed when the fault has its call, if it is for one call only; nil is
	// for each. It is closed under the lock of faults.
	caught chan struct{}
}

// spent reports whether the fault has had its only call.
func (f *fault) spent() bool {
	select {
	case <-f.caught: // nil never is
		return true
	default:
		return false
	}
}

// faults decides how calls end.
type faults struct {
	delay   atomic.Int64
	waiting atomic.Int64
	ended   chan struct{}

	mu    sync.Mutex
	list  []*fault
	count map[Call]int
}

func newFaults() *faults {
	return &faults{ended: make(chan struct{}), count: map[Call]int{}}
}

func (f *faults) end() { close(f.ended) }

func (f *faults) counts() map[Call]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.count)
}

func (f *faults) add(one fault) (undo func()) {
	one.gone = make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, &one)
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = slices.DeleteFunc(f.list, func(other *fault) bool { return other == &one })
		close(one.gone)
	})
}

// find is the last fault that this call has now, of those that hang or of those
// that fail.
func (f *faults) find(hangs, after bool, call Call, names []string) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range slices.Backward(f.list) {
		if one.hangs != hangs || one.after != after || one.spent() ||
			len(one.calls) > 0 && !slices.ContainsFunc(one.calls, func(c Call) bool { return c.is(call, names) }) {
			continue
		}
		if one.caught != nil {
			close(one.caught)
		}
		return one
	}
	return nil
}

// serve carries a call out, or does not, and says what to answer.
func (f *faults) serve(caller *fuse.InHeader, call Call, names []string, do func() error) fuse.Status {
	f.mu.Lock()
	f.count[call]++
	f.mu.Unlock()
	if err := f.pause(); err != nil {
		return fuse.ToStatus(err)
	}
	if err := f.suffer(caller, false, call, names); err != nil {
		return fuse.ToStatus(err)
	}
	done := do()
	if err := f.suffer(caller, true, call, names); err != nil {
		return fuse.ToStatus(err)
	}
	return fuse.ToStatus(done)
}

func (f *faults) pause() error {
	d := time.Duration(f.delay.Load())
	if d <= 0 {
		return nil
	}
	select {
	case <-f.ended:
		return syscall.EIO
	case <-time.After(d):
		return nil
	}
}

// suffer returns the error that a call fails with, once nothing holds it.
func (f *faults) suffer(caller *fuse.InHeader, after bool, call Call, names []string) error {
	for {
		held := f.find(true, after, call, names)
		if held == nil {
			break
		}
		if err := f.hang(held, caller.Pid); err != nil {
			return err
		}
	}
	if failed := f.find(false, after, call, names); failed != nil {
		return failed.errno
	}
	return nil
}

// hang waits until the fault is gone. That the kernel interrupts the call is no
// reason to return: it does so for each signal, and Go's runtime sends many to
// its own threads.
func (f *faults) hang(one *fault, thread uint32) error {
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-one.gone:
			return nil
		case <-f.ended:
			return syscall.EIO
		case <-look.C:
			if killed(thread) {
				return syscall.EINTR
			}
		}
	}
}

// killed reports whether a thread that waits in the kernel has been told to end
// at once, or is on its way out. Thread 0 is the kernel.
func killed(thread uint32) bool {
	if thread == 0 {
		return false
	}
	const exiting, kill = 0x4, 1 << (syscall.SIGKILL - 1) // PF_EXITING
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", thread))
	if err != nil {
		return os.IsNotExist(err)
	}
	// Behind the program's name, which may hold anything: proc(5) counts from 3 there.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= 31-3 {
		return false
	}
	has := func(field int, bit uint64) bool {
		n, err := strconv.ParseUint(string(fields[field-3]), 10, 64)
		return err == nil && n&bit != 0
	}
	return has(9, exiting) || has(31, kill)
}
