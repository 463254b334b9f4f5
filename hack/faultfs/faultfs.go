// Package faultfs mounts a local directory once more, through FUSE, and
// misbehaves there on demand as an NFS share would: it delays calls, lets them
// hang, fails them, loses their answers, and forgets what its clients have open.
//
// Without any of that it behaves as the directory itself, with the same owners,
// modes and times. It differs where NFS differs: rename knows no flags, and
// there are no extended attributes and no files without a name. The kernel
// caches neither attributes nor entries, so that every call arrives here.
//
// It needs Linux, /dev/fuse, and root.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"claimdir/hack/child"
)

// FS is a mounted directory. End it with Close; it is also unmounted when the
// process ends in any other way.
type FS struct {
	mountpoint string
	faults     *faults
	table      *table
	guard      *child.Child
	served     chan struct{} // closed when the last call is answered
	close      func() error
}

// Mount mounts the directory backing on the directory mountpoint.
func Mount(backing, mountpoint string) (*FS, error) {
	fs, err := mount(backing, mountpoint)
	if err != nil {
		return nil, fmt.Errorf("mount %s on %s: %w", backing, mountpoint, err)
	}
	return fs, nil
}

func mount(backing, mountpoint string) (*FS, error) {
	mountpoint, err := filepath.Abs(mountpoint)
	if err != nil {
		return nil, err
	}
	table, err := newTable(backing)
	if err != nil {
		return nil, err
	}
	guard, err := startGuard(mountpoint)
	if err != nil {
		return nil, errors.Join(err, table.close())
	}
	device, err := attach(backing, mountpoint)
	if err != nil {
		guard.Kill()
		return nil, errors.Join(err, table.close())
	}
	fs := &FS{mountpoint: mountpoint, faults: newFaults(), table: table, guard: guard, served: make(chan struct{})}
	fs.close = sync.OnceValue(fs.end)
	served := &server{RawFileSystem: fuse.NewDefaultRawFileSystem(), faults: fs.faults, table: table}
	// The library mounts with a descriptor that every child would inherit, and
	// keep the mount alive with; so it is told of a mount that is there.
	loop, err := fuse.NewServer(served, fmt.Sprintf("/dev/fd/%d", device), &fuse.MountOptions{
		// Calls the kernel makes in the background must not wait for those that hang.
		MaxBackground: math.MaxUint16,
		// A buffer of this size is made for many a call, however small.
		MaxWrite:           32 << 10,
		DisableReadDirPlus: true,
		DisableXAttrs:      true,
		Logger:             log.New(io.Discard, "", 0), // it tells of every call that is not there
	})
	if err != nil {
		guard.Kill()
		return nil, errors.Join(err, detach(mountpoint), table.close())
	}
	go func() {
		defer close(fs.served)
		loop.Serve()
	}()
	if err := noPoll(mountpoint); err != nil {
		return nil, errors.Join(err, fs.Close())
	}
	return fs, nil
}

// Close unmounts, also with files open, and fails what hangs: it does not wait
// for a release. It may be called again.
func (fs *FS) Close() error { return fs.close() }

func (fs *FS) end() error {
	fs.faults.end()
	err := detach(fs.mountpoint)
	if err != nil {
		err = fmt.Errorf("unmount %s: %w", fs.mountpoint, err)
	}
	fs.guard.Kill()
	select {
	case <-fs.served:
		return errors.Join(err, fs.table.close())
	case <-time.After(10 * time.Second):
		return errors.Join(err, fmt.Errorf("unmount %s: calls are still being carried out", fs.mountpoint))
	}
}

// Delay has every call from now on take d longer, as on a server that is d away.
func (fs *FS) Delay(d time.Duration) { fs.faults.delay.Store(int64(d)) }

// Remember has the kernel remember what it learns of entries that exist, and of their attributes,
// for d, as an NFS client does. Without it the kernel asks again each time. Nobody else may change
// the share meanwhile.
func (fs *FS) Remember(d time.Duration) { fs.table.remember.Store(int64(d)) }

// Hang has these calls, or every call if none is named, not be carried out
// before release. Of two Hangs, each holds what it names until its own release.
// Like a call on a hard-mounted share, one that hangs only ends early if its
// caller is killed.
func (fs *FS) Hang(calls ...Call) (release func()) {
	return fs.faults.add(fault{calls: calls, hangs: true})
}

// HangAnswer has these calls be carried out, and not answered before release.
func (fs *FS) HangAnswer(calls ...Call) (release func()) {
	return fs.faults.add(fault{calls: calls, hangs: true, after: true})
}

// Held is one call that hangs, or is to.
type Held struct {
	caught  chan struct{}
	release func()
}

// Caught is closed once there is such a call.
func (h *Held) Caught() <-chan struct{} { return h.caught }

// Release lets the call through. It may be called again.
func (h *Held) Release() { h.release() }

// HangOne is Hang for the first of these calls that arrives; those behind it pass.
func (fs *FS) HangOne(calls ...Call) *Held { return fs.one(fault{calls: calls, hangs: true}) }

// HangOneAnswer is HangAnswer for the first of these calls that is carried out.
func (fs *FS) HangOneAnswer(calls ...Call) *Held {
	return fs.one(fault{calls: calls, hangs: true, after: true})
}

func (fs *FS) one(f fault) *Held {
	f.caught = make(chan struct{})
	return &Held{caught: f.caught, release: fs.faults.add(f)}
}

// Fail has these calls, or every call if none is named, not be carried out, and
// answer errno, until undo. The last Fail comes first.
func (fs *FS) Fail(errno syscall.Errno, calls ...Call) (undo func()) {
	return fs.faults.add(fault{calls: calls, errno: errno})
}

// DropAnswer has these calls be carried out, and answer errno all the same: what
// a client makes of an answer that it lost.
func (fs *FS) DropAnswer(errno syscall.Errno, calls ...Call) (undo func()) {
	return fs.faults.add(fault{calls: calls, errno: errno, after: true})
}

// Stale has every file and directory that the kernel knows, open or not, answer
// ESTALE until it is looked up anew; but not the mount's root.
func (fs *FS) Stale() { fs.table.forgetAll() }

// Waiting is how many calls hang at the moment.
func (fs *FS) Waiting() int { return int(fs.faults.waiting.Load()) }

// Calls is how many of each call have arrived so far.
func (fs *FS) Calls() map[Call]int { return fs.faults.counts() }
