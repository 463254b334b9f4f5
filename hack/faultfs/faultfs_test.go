package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"claimdir/hack/child"
)

// site is a directory and its mount.
type site struct {
	*FS
	backing, dir string
}

func newSite(t *testing.T) site {
	t.Helper()
	s := site{backing: t.TempDir(), dir: t.TempDir()}
	for _, dir := range []string{s.backing, filepath.Dir(s.dir)} { // others must get there
		must(t, os.Chmod(dir, 0o755))
	}
	var err error
	s.FS, err = Mount(s.backing, s.dir)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if mounted(t, s.dir) {
			t.Errorf("%s is still mounted", s.dir)
		}
	})
	return s
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return bytes.Contains(mounts, []byte(" "+dir+" "))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// async runs a call that is to hang.
func async(do func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- do() }()
	return result
}

func (s site) waits(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls hang", n), func() bool { return s.Waiting() == n })
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

func answer(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("no answer in 10 s")
		return nil
	}
}

func silent(t *testing.T, result <-chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("answered: %v", err)
	case <-time.After(150 * time.Millisecond):
	}
}

func absent(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("%s is there (%v)", name, err)
	}
}

func TestDelayIsTakenByEachCall(t *testing.T) {
	s := newSite(t)
	s.Delay(50 * time.Millisecond)
	before, start := s.Calls()[Mkdir], time.Now()
	must(t, os.Mkdir(s.dir+"/one", 0o755)) // a Lookup and a Mkdir
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("two calls took %v", took)
	}
	if n := s.Calls()[Mkdir] - before; n != 1 {
		t.Errorf("%d calls of Mkdir", n)
	}
	s.Delay(0)
	start = time.Now()
	must(t, os.Mkdir(s.dir+"/two", 0o755))
	if took := time.Since(start); took > 50*time.Millisecond {
		t.Errorf("without a delay it took %v", took)
	}
}

func TestRememberSparesCalls(t *testing.T) {
	s := newSite(t)
	must(t, os.Mkdir(s.dir+"/one", 0o755))
	look := func() int {
		before := s.Calls()[Lookup]
		for range 5 {
			_, err := os.Lstat(s.dir + "/one")
			must(t, err)
		}
		return s.Calls()[Lookup] - before
	}
	if n := look(); n < 5 {
		t.Errorf("%d lookups for 5 looks", n)
	}
	s.Remember(time.Minute)
	if n := look(); n != 1 {
		t.Errorf("%d lookups for 5 looks at what is remembered", n)
	}
}

func TestHangHoldsACallUntilItIsReleased(t *testing.T) {
	s := newSite(t)
	must(t, os.Mkdir(s.dir+"/other", 0o755))
	release := s.Hang(Mkdir)
	result := async(func() error { return os.Mkdir(s.dir+"/late", 0o755) })
	s.waits(t, 1)
	silent(t, result)
	absent(t, s.backing+"/late")
	// What is not named does not hang, except where the kernel itself has locked
	// the directory for the call that does.
	_, err := os.ReadDir(s.dir + "/other")
	must(t, err)
	release()
	must(t, answer(t, result))
	s.waits(t, 0)
	if info, err := os.Stat(s.backing + "/late"); err != nil || !info.IsDir() {
		t.Errorf("after the release: %v, %v", info, err)
	}
	must(t, os.Mkdir(s.dir+"/next", 0o755))
}

func TestHangWithoutANameIsEveryCall(t *testing.T) {
	s := newSite(t)
	release := s.Hang()
	result := async(func() error { _, err := os.Stat(s.dir); return err })
	s.waits(t, 1)
	release()
	must(t, answer(t, result))
}

func TestTwoHangsNest(t *testing.T) {
	s := newSite(t)
	first, second := s.Hang(Mkdir), s.Hang(Mkdir, Rmdir)
	result := async(func() error { return os.Mkdir(s.dir+"/dir", 0o755) })
	s.waits(t, 1)
	first()
	first()
	silent(t, result)
	third := s.Hang() // comes while the call hangs, and holds it as well
	second()
	silent(t, result)
	third()
	must(t, answer(t, result))
}

func TestHangAnswerHoldsWhatIsDone(t *testing.T) {
	s := newSite(t)
	release := s.HangAnswer(Rename)
	must(t, os.Mkdir(s.dir+"/old", 0o755))
	result := async(func() error { return os.Rename(s.dir+"/old", s.dir+"/new") })
	s.waits(t, 1)
	absent(t, s.backing+"/old")
	silent(t, result)
	release()
	must(t, answer(t, result))
}

// The first call hangs, however long, and those behind it do not.
func TestHangOneHoldsTheFirst(t *testing.T) {
	for name, hang := range map[string]func(*FS, ...Call) *Held{"call": (*FS).HangOne, "answer": (*FS).HangOneAnswer} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			must(t, os.MkdirAll(s.dir+"/one/sub", 0o755))
			must(t, os.Mkdir(s.dir+"/two", 0o755))
			held := hang(s.FS, Mkdir.Of("late"), Symlink)
			must(t, os.Mkdir(s.dir+"/one/early", 0o755))
			select {
			case <-held.Caught():
				t.Fatal("it caught another call")
			default:
			}
			result := async(func() error { return os.Mkdir(s.dir+"/one/late", 0o755) })
			<-held.Caught()
			must(t, os.Mkdir(s.dir+"/two/late", 0o755))
			must(t, os.Symlink("late", s.dir+"/two/link"))
			silent(t, result)
			if _, err := os.Lstat(s.backing + "/one/late"); os.IsNotExist(err) != (name == "call") {
				t.Errorf("while it hangs: %v", err)
			}
			held.Release()
			held.Release()
			must(t, answer(t, result))
			must(t, os.Mkdir(s.dir+"/one/sub/late", 0o755))
		})
	}
}

// Go's runtime sends its threads signals; a call on a hard mount outlives them.
func TestASignalEndsNoHang(t *testing.T) {
	s := newSite(t)
	release := s.Hang(Statfs)
	thread := make(chan int, 1)
	result := async(func() error {
		thread <- unix.Gettid()
		var stat unix.Statfs_t
		return unix.Statfs(s.dir, &stat)
	})
	s.waits(t, 1)
	must(t, unix.Tgkill(os.Getpid(), <-thread, unix.SIGURG))
	silent(t, result)
	release()
	must(t, answer(t, result))
}

// A process that is killed does not wait for its share.
func TestAKilledProcessDoesNotHang(t *testing.T) {
	s := newSite(t)
	s.Hang(Readlink)
	must(t, os.Symlink("target", s.dir+"/link"))
	reader, err := child.Start(exec.Command("readlink", s.dir+"/link"), syscall.SIGKILL)
	must(t, err)
	s.waits(t, 1)
	result := async(func() error { reader.Kill(); return nil })
	must(t, answer(t, result))
	s.waits(t, 0)
}

func TestHundredsThatHangLeaveOthersAlone(t *testing.T) {
	s := newSite(t)
	must(t, os.WriteFile(s.dir+"/file", []byte("content"), 0o644))
	release := s.Hang(Read, Statfs)
	var hung sync.WaitGroup
	for i := range 300 {
		hung.Go(func() {
			var stat unix.Statfs_t
			var err error
			if i%2 == 0 {
				_, err = os.ReadFile(s.dir + "/file")
			} else {
				err = unix.Statfs(s.dir, &stat)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	s.waits(t, 300)
	must(t, answer(t, async(func() error {
		for i := range 200 {
			name := fmt.Sprintf("%s/dir-%d", s.dir, i)
			if err := errors.Join(os.Mkdir(name, 0o755), os.Remove(name)); err != nil {
				return err
			}
		}
		return nil
	})))
	release()
	hung.Wait()
}

func TestFailFailsWhatItNamesOnly(t *testing.T) {
	s := newSite(t)
	undo := s.Fail(syscall.EACCES, Mkdir, Rename.Of("to"))
	mustBe(t, os.Mkdir(s.dir+"/dir", 0o755), syscall.EACCES)
	absent(t, s.backing+"/dir")
	must(t, os.WriteFile(s.dir+"/from", nil, 0o644))
	mustBe(t, os.Rename(s.dir+"/from", s.dir+"/to"), syscall.EACCES)
	must(t, os.Rename(s.dir+"/from", s.dir+"/elsewhere"))
	again := s.Fail(syscall.ENOSPC, Mkdir)
	mustBe(t, os.Mkdir(s.dir+"/dir", 0o755), syscall.ENOSPC)
	undo()
	mustBe(t, os.Mkdir(s.dir+"/dir", 0o755), syscall.ENOSPC)
	again()
	must(t, os.Mkdir(s.dir+"/dir", 0o755))
	defer s.Fail(syscall.EIO, Any.Of("dir"))()
	_, err := os.Stat(s.dir + "/dir")
	mustBe(t, err, syscall.EIO)
	_, err = os.Stat(s.dir + "/elsewhere")
	must(t, err)
}

func TestDropAnswerFailsWhatIsDone(t *testing.T) {
	s := newSite(t)
	must(t, os.Mkdir(s.dir+"/old", 0o755))
	undo := s.DropAnswer(syscall.EIO, Rename, Mkdir, Create, Open)
	mustBe(t, os.Rename(s.dir+"/old", s.dir+"/new"), syscall.EIO)
	mustBe(t, os.Mkdir(s.dir+"/made", 0o755), syscall.EIO)
	mustBe(t, os.WriteFile(s.dir+"/file", nil, 0o644), syscall.EIO)
	_, err := os.ReadFile(s.dir + "/file")
	mustBe(t, err, syscall.EIO)
	undo()
	absent(t, s.backing+"/old")
	if names := names(t, s.dir); !slices.Equal(names, []string{"file", "made", "new"}) {
		t.Errorf("the share has %q", names)
	}
	left := func() int {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		return len(s.table.opens)
	}
	eventually(t, "nothing is left open", func() bool { return left() == 0 })
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestStaleIsWhatWasKnown(t *testing.T) {
	s := newSite(t)
	must(t, os.MkdirAll(s.dir+"/a/b", 0o755))
	must(t, os.WriteFile(s.dir+"/a/file", []byte("content"), 0o644))
	root, err := os.OpenRoot(s.dir)
	must(t, err)
	defer root.Close()
	dir, err := root.OpenRoot("a")
	must(t, err)
	defer dir.Close()
	file, err := dir.Open("file")
	must(t, err)
	defer file.Close()

	s.Stale()
	_, err = dir.Stat(".")
	mustBe(t, err, syscall.ESTALE)
	_, err = dir.Stat("b")
	mustBe(t, err, syscall.ESTALE)
	mustBe(t, dir.Mkdir("c", 0o755), syscall.ESTALE)
	_, err = file.Read(make([]byte, 1))
	mustBe(t, err, syscall.ESTALE)
	_, err = file.Stat()
	mustBe(t, err, syscall.ESTALE)

	data, err := root.ReadFile("a/file")
	if err != nil || string(data) != "content" {
		t.Errorf("anew from the root: %q, %v", data, err)
	}
	must(t, os.Mkdir(s.dir+"/a/c", 0o755))
	_, err = dir.Stat(".") // for good
	mustBe(t, err, syscall.ESTALE)
	if names := names(t, s.dir+"/a"); !slices.Equal(names, []string{"b", "c", "file"}) {
		t.Errorf("anew: %q", names)
	}
}

func TestCloseWaitsForNothing(t *testing.T) {
	s := newSite(t)
	must(t, os.WriteFile(s.dir+"/file", nil, 0o644))
	file, err := os.Open(s.dir + "/file")
	must(t, err)
	defer file.Close()
	s.Hang(Mkdir, Statfs)
	s.HangAnswer(Rename)
	results := []<-chan error{
		async(func() error { return os.Mkdir(s.dir+"/dir", 0o755) }),
		async(func() error { return os.Rename(s.dir+"/file", s.dir+"/to") }),
		async(func() error { var stat unix.Statfs_t; return unix.Statfs(s.dir, &stat) }),
	}
	// Mkdir and Rename need the same lock, of the kernel, so one may not arrive.
	eventually(t, "calls hang", func() bool { return s.Waiting() >= 2 })
	must(t, answer(t, async(s.Close)))
	for _, result := range results {
		if err := answer(t, result); err == nil {
			t.Error("a call that hung succeeded")
		}
	}
	absent(t, s.backing+"/dir")
	if mounted(t, s.dir) || len(names(t, s.dir)) > 0 {
		t.Error("the mount is still there")
	}
	must(t, s.Close())
}

// The kernel ends the mount of a process that is killed, and so the calls on it.
func TestKilledServerLeavesNothingThatHangs(t *testing.T) {
	const variable = "FAULTFS_TEST_MOUNT"
	if dir := os.Getenv(variable); dir != "" { // in the child
		fs, err := Mount(filepath.Dir(dir), dir)
		must(t, err)
		must(t, exec.Command("sleep", "1000").Start()) // inherits nothing that keeps the mount
		fs.Hang(Statfs)
		fmt.Println("mounted")
		var stat unix.Statfs_t
		t.Fatal(unix.Statfs(dir, &stat)) // also its own call must not keep it alive
	}
	dir := t.TempDir() + "/mount"
	must(t, os.Mkdir(dir, 0o755))
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	server, err := child.Start(cmd, syscall.SIGKILL)
	must(t, err)
	t.Cleanup(func() { _ = unix.Kill(-server.PID(), unix.SIGKILL); _ = detach(dir) })
	if n, err := out.Read(make([]byte, 64)); n == 0 {
		t.Fatal(err)
	}
	result := async(func() error { var stat unix.Statfs_t; return unix.Statfs(dir, &stat) })
	silent(t, result)
	must(t, answer(t, async(func() error { server.Kill(); return nil })))
	if err := answer(t, result); err == nil {
		t.Error("a call on a dead mount succeeded")
	}
	eventually(t, "the mount of a dead process is gone", func() bool { return !mounted(t, dir) })
}

func TestMountSaysWhatIsMissing(t *testing.T) {
	_, err := Mount(t.TempDir()+"/missing", t.TempDir())
	mustBe(t, err, os.ErrNotExist)
	missing := t.TempDir() + "/missing"
	if _, err = Mount(t.TempDir(), missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
}
