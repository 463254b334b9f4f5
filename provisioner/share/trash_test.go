package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func trashCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"discard moves a volume and nothing else":            discardOne,
		"discard takes the next name":                        discardAgain,
		"discard of an absent path says so":                  discardAbsent,
		"the trash is emptied of hostile trees":              emptyHostile,
		"the trash is emptied of trees of any depth":         emptyDeep,
		"the trash is emptied by several hands, and resumes": emptyResumes,
	}
}

func discardOne(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	if directories, recorded, err := s.share.Trash(); err != nil || len(directories)+len(recorded) > 0 {
		t.Errorf("a share without trash has %q, %q, %v", directories, recorded, err)
	}
	tree(t, s.dir, "team/data/a/file", "team/data2/file", "team/other/file")
	name, err := s.share.Discard(pathOf(t, "team/data"), "pvc-1")
	if err != nil || name != "pvc-1-1" {
		t.Fatalf("%q, %v", name, err)
	}
	absent(t, s.dir+"/team/data")
	for _, kept := range []string{".claimdir/trash/pvc-1-1/a/file", "team/data2/file", "team/other/file"} {
		_, err := os.Stat(s.dir + "/" + kept)
		must(t, err)
	}
	must(t, os.WriteFile(s.dir+"/.claimdir/"+TrashRecord(name), []byte("{}"), 0o600))
	directories, recorded, err := s.share.Trash()
	if err != nil || !slices.Equal(directories, []string{name}) || !slices.Equal(recorded, []string{name}) {
		t.Errorf("%q, %q, %v", directories, recorded, err)
	}
	info, err := os.Stat(s.dir + "/.claimdir/trash")
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the trash: %v", info.Mode())
	}
}

func discardAgain(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for n := range 3 {
		tree(t, s.dir, fmt.Sprintf("data/%d", n))
		name, err := s.share.Discard(pathOf(t, "data"), "pvc-1")
		if want := fmt.Sprintf("pvc-1-%d", n+1); err != nil || name != want {
			t.Fatalf("%q, %v, want %s", name, err, want)
		}
		_, err = os.Stat(fmt.Sprintf("%s/.claimdir/trash/%s/%d", s.dir, name, n))
		must(t, err)
	}
}

func discardAbsent(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for _, p := range []string{"gone", "gone/deeper"} {
		if name, err := s.share.Discard(pathOf(t, p), "pvc-1"); !errors.Is(err, fs.ErrNotExist) || CannotMove(err) {
			t.Errorf("%s: %q, %v", p, name, err)
		}
	}
	must(t, os.Symlink(s.outside, s.dir+"/link"))
	if name, err := s.share.Discard(pathOf(t, "link"), "pvc-1"); !errors.Is(err, ErrNotDirectory) || CannotMove(err) {
		t.Errorf("a link: %q, %v", name, err)
	}
	if _, err := os.Lstat(s.dir + "/link"); err != nil {
		t.Error(err)
	}
}

func emptyHostile(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	tree(t, s.outside, "secret/file")
	tree(t, s.dir, "other/file", "data/plain/file", "data/new\nline/sp ace", "data/\xff\xfe/\x80", "data/-rf", "data/.nfs0001", "data/x.json")
	for link, to := range map[string]string{"out": s.outside, "up": "../..", "self": ".", "root": "/", "other": "../../../other", "plain/abs": s.outside + "/secret"} {
		must(t, os.Symlink(to, s.dir+"/data/"+link))
	}
	must(t, unix.Mkfifo(s.dir+"/data/pipe", 0o600))
	tree(t, s.dir, "data/closed/file", "data/readonly/file")
	must(t, errors.Join(os.Chmod(s.dir+"/data/closed", 0), os.Chmod(s.dir+"/data/readonly", 0o500)))
	outside := snapshot(t, s.outside)
	name, err := s.share.Discard(pathOf(t, "data"), "pvc-1")
	must(t, err)
	removed, err := s.share.EmptyTrash(t.Context(), name, NewRemover(4, 0))
	must(t, err)
	if removed.Files != 15 || removed.Directories != 6 {
		t.Errorf("%+v", removed)
	}
	absent(t, s.dir+"/.claimdir/trash/"+name)
	untouched(t, s.outside, outside)
	_, err = os.Stat(s.dir + "/other/file")
	must(t, err)
	if removed, err = s.share.EmptyTrash(t.Context(), name, NewRemover(4, 0)); err != nil || removed != (Removed{}) {
		t.Errorf("again: %+v, %v", removed, err)
	}
}

// A tree has more levels than a process may have descriptors, and paths longer
// than the kernel takes.
func emptyDeep(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for mode, levels := range map[uint32]int{0o755: times(3000, 300), 0o555: 300, 0: 300} {
		emptyDeepOf(t, s, mode, levels)
	}
}

// emptyDeepOf: nobody but root may move a directory up that is closed, or lies in one.
func emptyDeepOf(t *testing.T, s site, mode uint32, levels int) {
	t.Helper()
	deep(t, s.dir, "data", mode, levels)
	name, err := s.share.Discard(pathOf(t, "data"), "pvc-1")
	must(t, err)
	peak, stop := descriptors(t)
	removed, err := s.share.EmptyTrash(t.Context(), name, NewRemover(0, 0))
	stop()
	if most := peak.Load(); most > 150 {
		t.Errorf("mode %o: %d descriptors were open at once", mode, most)
	}
	must(t, err)
	if removed.Directories != int64(levels)+1 || removed.Files != int64(levels) {
		t.Errorf("%+v of %d levels", removed, levels)
	}
	absent(t, s.dir+"/.claimdir/trash/"+name)
}

// descriptors watches how many are open at most, until stop.
func descriptors(t *testing.T) (peak *atomic.Int64, stop func()) {
	t.Helper()
	peak = &atomic.Int64{}
	var watching sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	watching.Go(func() {
		for ctx.Err() == nil {
			if open, err := os.ReadDir("/proc/self/fd"); err == nil {
				peak.Store(max(peak.Load(), int64(len(open))))
			}
			time.Sleep(time.Millisecond)
		}
	})
	return peak, func() { cancel(); watching.Wait() }
}

// deep makes a directory, and levels below it, each with a file, and gives all a mode.
func deep(t *testing.T, dir, name string, mode uint32, levels int) {
	t.Helper()
	must(t, os.Mkdir(dir+"/"+name, 0o755))
	at, err := unix.Open(dir+"/"+name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range levels {
		must(t, unix.Mkdirat(at, "down", 0o755))
		next, err := unix.Openat(at, "down", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		must(t, errors.Join(unix.Fchmod(at, mode), unix.Close(at)))
		file, err := unix.Openat(next, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, errors.Join(err, unix.Close(file)))
		at = next
	}
	must(t, errors.Join(unix.Fchmod(at, mode), unix.Close(at)))
}

func emptyResumes(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for d := range 20 {
		for f := range times(40, 10) {
			tree(t, s.dir, fmt.Sprintf("data/%d/%d", d, f))
		}
	}
	name, err := s.share.Discard(pathOf(t, "data"), "pvc-1")
	must(t, err)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if removed, err := s.share.EmptyTrash(ctx, name, NewRemover(8, 0)); !errors.Is(err, enough) || removed != (Removed{}) {
		t.Errorf("%+v, %v", removed, err)
	}
	removed, err := s.share.EmptyTrash(t.Context(), name, NewRemover(8, 0))
	must(t, err)
	if want := (Removed{20 * int64(times(40, 10)), 21}); removed != want {
		t.Errorf("%+v, want %+v", removed, want)
	}
	absent(t, s.dir+"/.claimdir/trash/"+name)
}

func TestWhatCannotBeMoved(t *testing.T) {
	for number, want := range map[syscall.Errno]bool{syscall.EXDEV: true, syscall.EBUSY: true, syscall.EACCES: true, syscall.EPERM: true, syscall.EIO: false, syscall.ENOENT: false, syscall.ESTALE: false, syscall.EROFS: false} {
		if got := CannotMove(fmt.Errorf("move: %w", &os.LinkError{Op: "renameat", Err: number})); got != want {
			t.Errorf("%v: %v", number, got)
		}
	}
	if !strings.HasSuffix(TrashRecord("pvc-1-1"), "trash/pvc-1-1.json") {
		t.Error(TrashRecord("pvc-1-1"))
	}
}

// Somebody fills a directory as fast as it is emptied: that is told, and not gone on
// with for ever. It lies in memory: on a share so many files would take minutes.
func TestADirectoryThatIsBeingFilledIsGivenUp(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "claimdir-filled-") //nolint:usetesting // TMPDIR may be a share
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	s := newSite(t, dir)
	must(t, os.Mkdir(s.dir+"/data", 0o755))
	f := &filler{Context: t.Context(), dir: s.dir + "/data"}
	f.fill(2 * fewNames)
	parent, err := s.share.openParent(pathOf(t, "data"))
	must(t, err)
	defer s.share.closeRoot(parent)
	_, err = s.share.remove(f, NewRemover(0, 0), parent, "data")
	if RemovalReason(err) != RemovalFilled {
		t.Errorf("got %v after %d files", err, f.made)
	}
}

// filler is a context that makes a file for about each that is removed: before and
// after each call it is asked whether it has ended.
type filler struct {
	context.Context //nolint:containedctx // it is one

	dir   string
	made  int
	asked int
}

func (f *filler) Err() error {
	if f.asked++; f.asked%2 == 0 {
		f.fill(1)
	}
	return nil
}

func (f *filler) fill(files int) {
	for range files {
		f.made++
		_ = os.WriteFile(fmt.Sprintf("%s/%d", f.dir, f.made), nil, 0o600) // it may be gone
	}
}
