//go:build vm

package nfscases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/share"
)

// perDirectory is how many names a directory of the tree has. ext4 gives a file at most 65,000 names.
const perDirectory = 1000

// manyNames makes a tree of n names on the server: hard links, because files take longer.
func manyNames(t *testing.T, dir string, n int) {
	t.Helper()
	file := ""
	for i := range n {
		in := filepath.Join(dir, strconv.Itoa(i/perDirectory))
		if i%perDirectory == 0 {
			must(t, os.MkdirAll(in, 0o755))
		}
		name := filepath.Join(in, "name-"+strconv.Itoa(i))
		if i%(50*perDirectory) == 0 {
			file = name
			must(t, os.WriteFile(file, make([]byte, 100_000), 0o644))
			continue
		}
		must(t, os.Link(file, name))
	}
}

// resident is the memory that this process has, in bytes.
func resident(t *testing.T) (bytes int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	must(t, err)
	return pages * os.Getpagesize()
}

// entries is how many names the tree has that is measured: CLAIMDIR_TEST_ENTRIES.
func entries(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("CLAIMDIR_TEST_ENTRIES"); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	return 3000
}

// A tree is measured as du(1) does, in little memory, not faster than its pace, and until it is told to end.
func TestATreeIsMeasured(t *testing.T) {
	e := export(t, "no_root_squash")
	n := entries(t)
	manyNames(t, e.onServer("data"), n)
	dir := e.mount()
	s := open(t, dir)
	before, most := resident(t), 0
	watching, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for watching.Err() == nil {
			most = max(most, resident(t))
			time.Sleep(100 * time.Millisecond)
		}
	}()
	const rate = 2000
	begin := time.Now()
	paced, err := s.Measure(t.Context(), share.NewMeter(rate), pathOf(t, "data"), nil)
	must(t, err)
	took := time.Since(begin)
	stop()
	<-watched
	if paced.Files != int64(n) || paced.Directories != int64((n+perDirectory-1)/perDirectory)+1 || paced.Unreadable != 0 {
		t.Errorf("measured %+v, want %d files", paced, n)
	}
	if fastest := time.Duration(n-rate/10) * time.Second / rate; took < fastest {
		t.Errorf("%d names took %v, at %d a second", n, took, rate)
	}
	if grown := most - before; grown > 64<<20 {
		t.Errorf("it took %d MiB", grown>>20)
	}

	second := e.mount() // with nothing in its caches
	begin = time.Now()
	fast, err := open(t, second).Measure(t.Context(), share.NewMeter(0), pathOf(t, "data"), nil)
	must(t, err)
	unpaced := time.Since(begin)
	third := e.mount()
	begin = time.Now()
	out, err := exec.CommandContext(t.Context(), "du", "-s", "-B1", third+"/data").Output()
	must(t, err)
	du := time.Since(begin)
	var bytes int64
	_, err = fmt.Sscan(string(out), &bytes)
	must(t, err)
	// Each of the n names counts its part of the blocks, rounded down.
	if fast != paced || fast.Bytes > bytes || bytes-fast.Bytes > int64(n) {
		t.Errorf("measured %+v and %+v, du says %d bytes", paced, fast, bytes)
	}
	t.Logf("%d names: %v at %d a second, %v without a limit, du %v; %d MiB above %d MiB", n, took.Round(time.Millisecond), rate,
		unpaced.Round(time.Millisecond), du.Round(time.Millisecond), (most-before)>>20, before>>20)

	ending, end := context.WithCancelCause(t.Context())
	why := errors.New("the pod stops")
	var ended time.Time
	time.AfterFunc(200*time.Millisecond, func() {
		ended = time.Now()
		end(why)
	})
	if _, err := s.Measure(ending, share.NewMeter(rate), pathOf(t, "data"), nil); !errors.Is(err, why) || time.Since(ended) > time.Second {
		t.Errorf("it ended %v after it was told to: %v", time.Since(ended), err)
	}
}
