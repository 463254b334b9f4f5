package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"claimdir/hack/faultfs"
)

// calls are the calls to the share from the start of claimdir until there are no more: to the end of its first sweep, without
// GETATTR, which an NFS client answers from its cache. Missing says why there are none.
type calls struct {
	Records int            `json:"records"`
	Of      map[string]int `json:"of"`
	Missing string         `json:"missing,omitempty"`
}

func (c calls) print(to io.Writer) {
	if c.Missing != "" {
		fmt.Fprintln(to, "calls to the share at start: not counted:", c.Missing)
		return
	}
	fmt.Fprintf(to, "calls to the share at start, for each of %d records:", c.Records)
	for op, n := range c.Of {
		if each := float64(n) / float64(max(c.Records, 1)); each >= 0.01 {
			fmt.Fprintf(to, " %s %.2f", op, each)
		}
	}
	fmt.Fprintln(to)
}

// countCalls starts claimdir on the share through a file system that counts.
func (w *world) countCalls(ctx context.Context) (c calls, err error) {
	if c.Records, err = recordsOn(w.share); err != nil {
		return c, err
	}
	if c.Missing = tooManyFiles(c.Records); c.Missing != "" {
		return c, nil
	}
	mountpoint, err := os.MkdirTemp(filepath.Dir(w.share), "counted-")
	if err != nil {
		return c, err
	}
	fs, err := faultfs.Mount(w.share, mountpoint)
	if err != nil {
		return calls{Missing: err.Error()}, nil
	}
	defer func() { err = errors.Join(err, fs.Close(), os.Remove(mountpoint)) }()
	p, err := w.start(ctx, mountpoint)
	if err != nil {
		return c, err
	}
	defer p.Stop()
	if err := swept(ctx, p); err != nil {
		return c, err
	}
	made := fs.Calls()
	for settled := false; !settled; { // expiry reads at start too
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-time.After(3 * time.Second):
		}
		now := fs.Calls()
		settled, made = now[faultfs.Open] == made[faultfs.Open], now
	}
	c.Of = map[string]int{}
	for op, n := range made {
		if op != faultfs.Getattr {
			c.Of[fmt.Sprint(op)] = n
		}
	}
	return c, nil
}

// tooManyFiles says why calls to a share with so many records cannot be counted: faultfs holds each
// file open that the kernel knows, which are the directory, the record and the volume of each.
func tooManyFiles(records int) string {
	const others = 1000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err.Error()
	}
	if needed := 3*uint64(records) + others; limit.Cur < needed {
		return fmt.Sprintf("that takes %d open files, and the limit is %d; raise it with ulimit -n, or take fewer claims", needed, limit.Cur)
	}
	return ""
}

var tookOver = regexp.MustCompile(`Took over volumes that others made`)

// takeOver starts claimdir beside the peer's volumes and measures until all have their records.
func (w *world) takeOver(ctx context.Context, o options) (t takeover, err error) {
	files, err := w.writeFiles(o.peers)
	if err != nil {
		return t, err
	}
	t.Files = files.Seconds()
	p, err := w.start(ctx, w.share)
	if err != nil {
		return t, err
	}
	defer p.Stop()
	began := time.Now()
	var done atomic.Bool
	served := make(chan error, 1)
	go func() {
		bound, err := w.bindSome(ctx, "meanwhile", o.claims)
		if err == nil && done.Load() {
			w.progress("the claims were bound only after the takeover")
		}
		t.Bind = bound.Seconds()
		served <- err
	}()
	for !tookOver.MatchString(p.Log()) {
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-p.Ended():
			return t, fmt.Errorf("claimdir ended:\n%s", tail(p.Log()))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Seconds = time.Since(began).Seconds()
	done.Store(true)
	if err := <-served; err != nil {
		return t, err
	}
	if err := swept(ctx, p); err != nil {
		return t, err
	}
	t.Peak, err = status(p, "VmHWM")
	return t, err
}

// writeFiles writes n files on the share, as large as a record, each in a directory of its own and
// synced, one after the other.
func (w *world) writeFiles(n int) (took time.Duration, err error) {
	dir, err := os.MkdirTemp(w.share, ".bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	content := make([]byte, 1000)
	began := time.Now()
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return 0, err
		}
		_, err = f.Write(content)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
