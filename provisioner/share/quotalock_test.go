package share

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyOneProcessLocksAShare(t *testing.T) {
	s, err := Open(t.TempDir())
	must(t, err)
	must(t, s.MakeMeta())
	unlock, err := s.LockMeta()
	must(t, err)
	if _, err := s.LockMeta(); !errors.Is(err, ErrAtWork) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	unlock, err = s.LockMeta()
	must(t, err)
	unlock()
}

// mount mounts at a new directory, or returns false where that is forbidden.
func mount(t *testing.T, from, dir, kind string, flags uintptr) bool {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	if err := unix.Mount(from, dir, kind, flags, ""); err != nil {
		t.Logf("mounting needs CAP_SYS_ADMIN: %v", err)
		return false
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return true
}

// Two shares on one file system exclude each other, also if each is exported by a bind mount, above
// which is another file system. Those on different ones do not.
func TestSharesOnOneFileSystemExcludeEachOther(t *testing.T) {
	base := t.TempDir()
	locks := base + "/locks"
	tree(t, base, "data/a/", "data/b/")
	a, b := base+"/data/a", base+"/data/b"
	check := func(dir string, alone bool) {
		t.Helper()
		first, err := Open(a)
		must(t, err)
		second, err := Open(dir)
		must(t, err)
		called := false
		must(t, first.aloneBy(t.Context(), locks, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			err := second.aloneBy(ctx, locks, func() error { called = true; return nil })
			if called != alone || errors.Is(err, context.DeadlineExceeded) == alone {
				t.Errorf("%s beside %s: called %v, %v", dir, a, called, err)
			}
			return nil
		}))
		failed := errors.New("failed")
		if err := second.aloneBy(t.Context(), locks, func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("%s after %s: %v", dir, a, err)
		}
	}
	check(b, false)
	if !mount(t, "none", base+"/nfs", "tmpfs", 0) || !mount(t, a, base+"/nfs/a", "", unix.MS_BIND) || !mount(t, b, base+"/nfs/b", "", unix.MS_BIND) {
		return // where that is forbidden, the file system is the same one without a mount
	}
	a, b = base+"/nfs/a", base+"/nfs/b"
	check(b, false)
	check(base+"/data/b", false)
	tree(t, base, "nfs/other/")
	check(base+"/nfs/other", true)
}

// Whoever may write to the directory of the locks could let two have one lock.
func TestLocksAreInADirectoryOfNobodyElse(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	must(t, err)
	alone := func(locks string) error { return s.aloneBy(t.Context(), locks, func() error { return nil }) }
	must(t, alone(dir+"/locks"))
	if info, err := os.Stat(dir + "/locks"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if found, err := filepath.Glob(dir + "/locks/*:*"); err != nil || len(found) != 1 {
		t.Errorf("%q, %v", found, err)
	}
	must(t, os.Symlink("locks", dir+"/link"))
	must(t, os.Mkdir(dir+"/open", 0o755))
	must(t, os.Chmod(dir+"/open", 0o777))
	for locks, want := range map[string]string{
		"link":     "open " + dir + "/link: not a directory",
		"open":     "/open is of user ",
		"absent/x": "make " + dir + "/absent/x: no such file or directory; a unit of systemd is let by RuntimeDirectory=",
	} {
		if err := alone(dir + "/" + locks); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", locks, err, want)
		}
	}
}
