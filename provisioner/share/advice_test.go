package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAdviceNamesTheWayOut(t *testing.T) {
	for errno, word := range map[syscall.Errno]string{
		syscall.ENOSPC: "full", syscall.EDQUOT: "quota", syscall.EROFS: "rw", syscall.EACCES: "no_root_squash", syscall.EPERM: "no_root_squash",
		syscall.EIO: "server's log", syscall.ESTALE: "restart claimdir", syscall.ENOTEMPTY: "held open", syscall.EMFILE: "limit", syscall.EXDEV: "quota trees",
	} {
		err := fmt.Errorf("step: %w", plain(&fs.PathError{Op: "mkdirat", Path: "x", Err: errno}))
		if advice := Advice(err); !strings.Contains(advice, word) {
			t.Errorf("%v: %q", errno, advice)
		}
		if reach := unreachable(&fs.PathError{Op: "open", Path: "/m", Err: errno}); Advice(reach) == "" || !errors.Is(reach, errno) {
			t.Errorf("%v is not found in %v", errno, reach)
		}
	}
	for _, err := range []error{ErrOccupied, syscall.ENOENT, errors.New("x")} {
		if advice := Advice(err); advice != "" {
			t.Errorf("%v: %q", err, advice)
		}
	}
}

// What people read names steps and paths, not system calls.
func TestErrorsNameNoSystemCalls(t *testing.T) {
	s := newSite(t, t.TempDir())
	must(t, s.share.MakeMeta())
	tree(t, s.dir, "file", "full/file")
	must(t, os.Symlink("full", s.dir+"/link"))
	_, err := s.share.Create(pathOf(t, "file/data"), Attributes{Mode: 0o755}, nil)
	errs := []error{err, s.share.RemoveEmpty(pathOf(t, "full"), own, nil, itIs), s.share.Rename(pathOf(t, "none"), pathOf(t, "to"), nil)}
	_, err = s.share.List(pathOf(t, "none"))
	errs = append(errs, err)
	_, err = s.share.ReadFile("", "none")
	errs = append(errs, err, s.share.SetAside(pathOf(t, "file"), TrashDir, own, nil), s.share.Remove(pathOf(t, "file/data"), nil))
	must(t, os.Rename(s.dir, s.dir+".away"))
	_, err = s.share.Exists(pathOf(t, "x"))
	errs = append(errs, err)
	for _, err := range errs {
		if err == nil {
			t.Error("no error")
			continue
		}
		for _, word := range []string{"openat", "unlinkat", "lstat", "mkdirat", "renameat", "statat", "open " + s.dir, "RemoveAll"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%q names %q", err, word)
			}
		}
	}
}
