package faultfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

type world struct {
	*FS
	t            *testing.T
	dir, backing string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), backing: t.TempDir()}
	var err error
	w.FS, err = Mount(w.backing, w.dir)
	w.must(err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !condition(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("not in time: ", what)
		}
	}
}

func TestPassesThrough(t *testing.T) {
	w := newWorld(t)
	at := func(name string) string { return filepath.Join(w.dir, name) }
	w.must(os.Mkdir(at("dir"), 0o755))
	w.must(os.Chmod(at("dir"), 0o750|os.ModeSetgid|os.ModeSticky))
	w.must(os.Chown(at("dir"), 1234, 2345))
	w.must(os.WriteFile(at("dir/file"), []byte("text"), 0o640))
	w.must(os.Link(at("dir/file"), at("dir/second")))
	w.must(os.Symlink("file", at("dir/link")))
	w.must(os.Rename(at("dir/file"), at("moved")))
	_, err := os.OpenFile(at("moved"), os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, os.ErrExist) {
		t.Error("O_EXCL:", err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, at("moved"), unix.AT_FDCWD, at("again"), unix.RENAME_NOREPLACE); !errors.Is(err, unix.EINVAL) {
		t.Error("an exclusive rename, which NFS does not know:", err)
	}
	var stat syscall.Stat_t
	w.must(syscall.Lstat(filepath.Join(w.backing, "dir"), &stat))
	if stat.Mode&0o7777 != 0o3750 || stat.Uid != 1234 || stat.Gid != 2345 {
		t.Errorf("mode %o, owner %d:%d", stat.Mode, stat.Uid, stat.Gid)
	}
	if data, err := os.ReadFile(filepath.Join(w.backing, "moved")); string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if target, err := os.Readlink(at("dir/link")); target != "file" {
		t.Errorf("%q, %v", target, err)
	}
	entries, err := os.ReadDir(at("dir"))
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	w.must(os.WriteFile(filepath.Join(w.backing, "behind"), []byte("x"), 0o600))
	if _, err := os.Stat(at("behind")); err != nil {
		t.Error("the kernel keeps that a name is not there:", err)
	}
	w.must(os.RemoveAll(at("dir")))
	if calls := w.Calls(); calls[Mkdir] != 1 || calls[Rename] < 1 || calls[Unlink] != 2 {
		t.Errorf("%v", calls)
	}
}

func TestDelay(t *testing.T) {
	w := newWorld(t)
	w.Delay(20 * time.Millisecond)
	began := time.Now()
	w.must(os.Mkdir(w.dir+"/a", 0o755)) // a lookup and a mkdir at least
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Error(took)
	}
}

func TestHang(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.dir+"/sub", 0o755)) // the kernel makes nothing in a directory while a lookup there hangs
	releaseMkdir := w.Hang(Mkdir)
	ended := make(chan error, 300)
	go func() { ended <- os.Mkdir(w.dir+"/sub/a", 0o755) }()
	w.eventually("one hangs", func() bool { return w.Waiting() == 1 })
	releaseAll := w.Hang()
	for i := range 299 { // and asks for one name at a time
		go func() { _, err := os.Stat(fmt.Sprint(w.dir, "/none-", i)); ended <- err }()
	}
	w.eventually("all hang", func() bool { return w.Waiting() == 300 })
	releaseAll()
	for range 299 {
		if err := <-ended; !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	w.eventually("one still does", func() bool { return w.Waiting() == 1 })
	if _, err := os.Stat(w.backing + "/sub/a"); err == nil {
		t.Error("it was carried out")
	}
	releaseMkdir()
	releaseMkdir() // twice is once
	w.must(<-ended)
}

func TestFail(t *testing.T) {
	w := newWorld(t)
	undo := w.Fail(syscall.ENOSPC, Mkdir, Create)
	if err := os.Mkdir(w.dir+"/a", 0o755); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := os.Symlink("x", w.dir+"/link"); err != nil {
		t.Error("another call:", err)
	}
	undo()
	w.must(os.Mkdir(w.dir+"/a", 0o755))
}

func TestAnswersAreLost(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.dir+"/a", 0o755))
	undo := w.DropAnswer(syscall.EIO, Rename)
	if err := os.Rename(w.dir+"/a", w.dir+"/b"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	undo()
	if _, err := os.Stat(w.dir + "/b"); err != nil {
		t.Error("it was not carried out:", err)
	}
	release := w.HangAnswer(Mkdir)
	ended := make(chan error, 1)
	go func() { ended <- os.Mkdir(w.dir+"/c", 0o755) }()
	w.eventually("it hangs", func() bool { return w.Waiting() == 1 })
	if _, err := os.Stat(w.backing + "/c"); err != nil {
		t.Error("it was not carried out:", err)
	}
	release()
	w.must(<-ended)
}

func TestStale(t *testing.T) {
	w := newWorld(t)
	w.must(os.MkdirAll(w.dir+"/a/b", 0o755))
	root, err := os.OpenRoot(w.dir)
	w.must(err)
	defer root.Close()
	a, err := root.OpenRoot("a")
	w.must(err)
	defer a.Close()
	w.Stale()
	if _, err := a.Stat("b"); !errors.Is(err, syscall.ESTALE) {
		t.Error("an open directory:", err)
	}
	if _, err := root.Stat("a/b"); err != nil {
		t.Error("from the root:", err)
	}
	if _, err := os.Stat(w.dir + "/a/b"); err != nil {
		t.Error("opened anew:", err)
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	dir := t.TempDir()
	f, err := Mount(t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Hang()
	ended := make(chan error, 1)
	go func() { _, err := os.Stat(dir + "/x"); ended <- err }()
	for f.Waiting() == 0 {
		<-time.After(time.Millisecond)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), dir) {
		t.Errorf("still mounted (%v)", err)
	}
}
