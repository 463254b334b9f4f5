package share

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copyChild, in the environment, is the share on which TestCopyChild makes a copy.
const copyChild = "CLAIMDIR_TEST_COPY_CHILD"

// TestCopyChild is the process that TestACopyThatIsKilled kills. Otherwise it does nothing.
func TestCopyChild(t *testing.T) {
	where := os.Getenv(copyChild)
	if where == "" {
		return
	}
	s, err := Open(where)
	must(t, err)
	counter, err := os.Create(where + "/counter")
	must(t, err)
	c := newCopying(t.Context(), NewCopier(4, 0, 100_000_000), s, s)
	go func() {
		for {
			got := c.result()
			_, _ = counter.WriteAt(fmt.Appendf(nil, "%20d", got.Cloned+got.Server+got.Read), 0)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	must(t, s.withDirectory(pathOfData(), nil, func(source *dir) error { return c.inStaging(CopiesDir+"/"+staging, source) }))
}

// A process that makes a copy is killed, twice for each copy; CLAIMDIR_TEST_KILLS is how many copies. The last one finishes it. The
// copy is the same then, and few bytes were copied twice.
func TestACopyThatIsKilled(t *testing.T) {
	s := newSite(t, t.TempDir())
	data, total := s.dir+"/data", int64(0)
	large, small := times(80<<20, 8<<20), times(32, 4)
	must(t, manyFiles(data, 1, 2, large))
	must(t, os.Rename(data, s.dir+"/large"))
	must(t, manyFiles(data, 20, small, 64<<10))
	must(t, os.Rename(s.dir+"/large", data+"/large"))
	must(t, os.Link(data+"/0/0", data+"/1/again"))
	for i := range 20 {
		must(t, os.Link(data+"/large/0/0", fmt.Sprintf("%s/%d/large", data, i)))
	}
	total = int64(2*large + 20*small*64<<10)
	few := total / 20
	if large < 80<<20 { // each worker may be in the middle of a step
		few = 4 * leastStep
	}
	rounds := times(2, 1)
	if text := os.Getenv("CLAIMDIR_TEST_KILLS"); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		must(t, err)
	}
	for round := range rounds {
		must(t, os.RemoveAll(s.dir+"/.claimdir"))
		copied, kills := int64(0), 0
		for range 2 {
			bytes, killed := killCopy(t, s.dir, time.Duration(rand.Int64N(int64(700*time.Millisecond))))
			copied += bytes
			if killed {
				kills++
			}
		}
		got := s.copy(t, "data")
		copied += got.Cloned + got.Server + got.Read
		sameTrees(t, data, s.staged())
		s.onlyTree(t)
		if twice := copied - total; twice > few*int64(max(1, kills)) {
			t.Errorf("round %d: %d bytes of %d were copied twice, after %d kills", round, twice, total, kills)
		} else {
			t.Logf("round %d: %.2f %% copied twice after %d kills; the last run found %d of %d files", round, float64(twice)*100/float64(total), kills, got.Found, got.Files)
		}
	}
}

// killCopy kills a process that makes a copy after a while, and returns how many bytes it had copied.
func killCopy(t *testing.T, dir string, after time.Duration) (copied int64, killed bool) {
	t.Helper()
	_ = os.Remove(dir + "/counter")
	child := exec.Command(os.Args[0], "-test.run=^TestCopyChild$")
	child.Env = append(os.Environ(), copyChild+"="+dir)
	must(t, child.Start())
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(dir + "/counter"); err == nil {
			break
		}
	}
	time.Sleep(after)
	_ = child.Process.Signal(syscall.SIGKILL)
	killed = child.Wait() != nil
	text, err := os.ReadFile(dir + "/counter")
	must(t, err)
	copied, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return copied, killed
}

// On a share that is full the copy fails with ENOSPC, and goes on when there is room. Only root can mount a small one; for
// others the suite has the case with an error of its own.
func TestACopyOnAFullShare(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=8m"); err != nil {
		if os.Geteuid() == 0 {
			t.Logf("mounting needs CAP_SYS_ADMIN: %v", err)
		}
		return
	}
	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	s := newSite(t, dir)
	must(t, os.WriteFile(s.dir+"/ballast", make([]byte, 2<<20), 0o600))
	must(t, manyFiles(s.dir+"/data", 4, 64, 15<<10))
	_, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOfData()}, staging, nil)
	mustBe(t, err, unix.ENOSPC)
	must(t, os.Truncate(s.dir+"/ballast", 0))
	got := s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
	if got.Found == 0 {
		t.Errorf("it began anew: %+v", got)
	}
}

// asked is CLAIMDIR_TEST_ENTRIES, or else usual: how many names there are.
func asked(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("CLAIMDIR_TEST_ENTRIES")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// resident is the memory that this process has, in bytes.
func resident() int64 {
	var size, pages int64
	text, _ := os.ReadFile("/proc/self/statm")
	_, _ = fmt.Sscan(string(text), &size, &pages)
	return pages * int64(os.Getpagesize())
}

// Memory stays the same however many files a directory has, and however many of them have several names.
func TestACopyNeedsLittleMemory(t *testing.T) {
	s := newSite(t, t.TempDir())
	files := asked(t, times(20_000, 500))
	must(t, manyFiles(s.dir+"/data", 1, files, 10))
	must(t, os.Mkdir(s.dir+"/data/1", 0o755))
	for i := range files / 5 {
		must(t, os.Link(fmt.Sprintf("%s/data/0/%d", s.dir, i), fmt.Sprintf("%s/data/1/%d", s.dir, i)))
	}
	debug.FreeOSMemory()
	before := resident()
	most := before
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			most = max(most, resident())
			time.Sleep(5 * time.Millisecond)
		}
	})
	began := time.Now()
	got := s.copy(t, "data")
	took := time.Since(began)
	stop()
	watch.Wait()
	if more := most - before; more > 64<<20 {
		t.Errorf("it took %d MiB of memory", more>>20)
	} else {
		t.Logf("%d files of %d names took %d MiB of memory above %d MiB, and %v", files, got.Files, more>>20, before>>20, took)
	}
	if got.Links != int64(files/5) || got.Files != int64(files+files/5) {
		t.Errorf("%+v of %d files", got, files)
	}
}

// A file may have as many names as its file system allows: then there is none left for the directory of links.
func copyMostLinks(t *testing.T, s site) {
	tree(t, s.dir, "data/0")
	must(t, os.Chmod(s.dir+"/data/0", 0o641))
	for i := range 9 {
		must(t, os.Link(s.dir+"/data/0", fmt.Sprintf("%s/data/%d", s.dir, i+1)))
	}
	var links int
	var mu sync.Mutex
	view := s.share.During(t.Context(), func(name string, call func() error) error {
		mu.Lock()
		defer mu.Unlock()
		if name == "link a copy" {
			if links++; links == 10 {
				return unix.EMLINK
			}
		}
		return call()
	})
	defer view.Release()
	_, err := view.Copy(t.Context(), copier(), CopyFrom{Path: pathOfData()}, staging, nil)
	must(t, err)
	sameTrees(t, s.dir+"/data", s.staged())
	s.onlyTree(t)
	if got := s.copy(t, "data"); got.Found != 10 {
		t.Errorf("again: %+v", got)
	}
}
