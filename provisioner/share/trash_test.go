package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
		"the trash is emptied of hostile trees":              emptyHostile,
		"the trash is emptied of trees of any depth":         emptyDeep,
		"the trash is emptied by several hands, and resumes": emptyResumes,
		"the trash is emptied of nothing but what is meant":  emptyOther,
		"what is emptied does not come back":                 emptyOrBack,
		"what was cut off is told from what is whole":        emptyGoesOn,
		"a removal does not go on in another directory":      removePaused,
		"a closed directory that is another stays closed":    removeClosedOther,
		"another file system inside is left as it is":        removeMounted,
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
	id := identify(t, s.share, "data")
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, id))
	removed, err := s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(4, 0))
	must(t, err)
	if removed.Files != 15 || removed.Directories != 6 {
		t.Errorf("%+v", removed)
	}
	absent(t, s.dir+"/.claimdir/trash/"+own+"/volume")
	untouched(t, s.outside, outside)
	_, err = os.Stat(s.dir + "/other/file")
	must(t, err)
	if removed, err = s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(4, 0)); err != nil || removed != (Removed{}) {
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
	id := identify(t, s.share, "data")
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, id))
	peak, stop := descriptors(t)
	removed, err := s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(0, 0))
	stop()
	if most := peak.Load(); most > 150 {
		t.Errorf("mode %o: %d descriptors were open at once", mode, most)
	}
	must(t, err)
	if removed.Directories != int64(levels)+1 || removed.Files != int64(levels) {
		t.Errorf("%+v of %d levels", removed, levels)
	}
	absent(t, s.dir+"/.claimdir/trash/"+own+"/volume")
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
	id := identify(t, s.share, "data")
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, id))
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if removed, err := s.share.EmptyTrash(ctx, own, only(id), NewRemover(8, 0)); !errors.Is(err, enough) || removed != (Removed{}) {
		t.Errorf("%+v, %v", removed, err)
	}
	removed, err := s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(8, 0))
	must(t, err)
	if want := (Removed{20 * int64(times(40, 10)), 21}); removed != want {
		t.Errorf("%+v, want %+v", removed, want)
	}
	absent(t, s.dir+"/.claimdir/trash/"+own+"/volume")
}

// emptyOther: the directory is compared before anything in it is touched.
func emptyOther(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file", "other/file")
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, nil))
	before := snapshot(t, s.dir)
	removed, err := s.share.EmptyTrash(t.Context(), own, only(identify(t, s.share, "other")), NewRemover(2, 0))
	if !errors.Is(err, ErrChanged) || removed != (Removed{}) {
		t.Errorf("%+v, %v", removed, err)
	}
	mustBe(t, s.share.Remove(pathOf(t, "other"), &Identity{Number: 1}), ErrChanged)
	// Whoever decides late is asked with what was opened.
	refusal := errors.New("it is given back")
	id, err := s.share.Aside(TrashDir, own)
	must(t, err)
	removed, err = s.share.EmptyTrash(t.Context(), own, func(found *Identity, _ bool) error {
		if id.Match(found) != Same {
			t.Errorf("asked with %+v, want %+v", found, id)
		}
		return refusal
	}, NewRemover(2, 0))
	if !errors.Is(err, refusal) || removed != (Removed{}) {
		t.Errorf("%+v, %v", removed, err)
	}
	untouched(t, s.dir, before)
	// What is exchanged once it was allowed stays.
	_, err = s.share.EmptyTrash(t.Context(), own, func(*Identity, bool) error {
		must(t, os.Rename(s.dir+"/.claimdir/trash/"+own+"/volume", s.dir+"/first"))
		return os.Rename(s.dir+"/other", s.dir+"/.claimdir/trash/"+own+"/volume")
	}, NewRemover(2, 0))
	if _, statErr := os.Stat(s.dir + "/.claimdir/trash/" + own + "/volume/file"); statErr != nil {
		t.Errorf("%v after %v", statErr, err)
	}
}

// removePaused: a leader sleeps in the middle of a removal. Another one ends it, and the
// path is a new volume's when the first goes on.
func removePaused(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	removals := map[string]func(view *Share, id *Identity) error{
		"data": func(view *Share, id *Identity) error { return view.Remove(pathOf(t, "data"), id) },
		".claimdir/trash/" + own + "/volume": func(view *Share, id *Identity) error {
			_, err := view.EmptyTrash(t.Context(), own, only(id), NewRemover(0, 0))
			return err
		},
	}
	for name, remove := range removals {
		for pause := 1; ; pause++ {
			dir := s.dir + "/" + name
			begun := strings.TrimSuffix(dir, asideName) + emptyingName // what is in the trash is called that meanwhile
			must(t, errors.Join(os.RemoveAll(dir), os.RemoveAll(begun), os.RemoveAll(s.dir+"/away")))
			tree(t, s.dir, name+"/a/file", name+"/file")
			id, err := s.identityOf(dir)
			must(t, err)
			var mu sync.Mutex // a removal has several hands
			calls := 0
			view := s.share.During(t.Context(), func(_ string, call func() error) error {
				mu.Lock()
				if calls++; calls == pause {
					now := dir
					if _, err := os.Stat(begun); err == nil {
						now = begun
					}
					err := errors.Join(os.Rename(now, s.dir+"/away"), os.MkdirAll(now+"/precious", 0o755),
						os.WriteFile(now+"/precious/file", nil, 0o600), os.WriteFile(now+"/precious too", nil, 0o600))
					if err != nil {
						t.Error(err)
					}
				}
				mu.Unlock()
				return call()
			})
			err = remove(view, id)
			view.Release()
			if calls < pause {
				must(t, err)
				break
			}
			for _, file := range []string{"precious/file", "precious too"} {
				if _, err := os.Stat(dir + "/" + file); err != nil {
					t.Errorf("%s, paused at call %d: %v", name, pause, err)
				}
			}
			if err != nil && !errors.Is(err, ErrChanged) {
				t.Errorf("%s, paused at call %d: %v", name, pause, err)
			}
		}
	}
}

// emptyOrBack: of two that rename a directory in the trash, one to empty it and one to put it back,
// one succeeds, wherever the first is when the second comes. What comes back is whole.
func emptyOrBack(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	back, emptied := 0, 0
	for pause := 1; ; pause++ {
		must(t, errors.Join(os.RemoveAll(s.dir+"/data"), os.RemoveAll(s.dir+"/.claimdir/trash/"+own)))
		tree(t, s.dir, "data/a/file", "data/file")
		id := identify(t, s.share, "data")
		must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, id))
		var mu sync.Mutex
		calls := 0
		var came error
		view := s.share.During(t.Context(), func(_ string, call func() error) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == pause {
				came = s.share.BringBack(TrashDir, own, pathOf(t, "data"))
			}
			return call()
		})
		_, err := view.EmptyTrash(t.Context(), own, only(id), NewRemover(0, 0))
		view.Release()
		if IsStale(err) { // over NFS, of the directory that went when this one came back: an operation repeats then
			_, err = s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(0, 0))
		}
		must(t, err)
		if calls < pause {
			break
		}
		there, begun, err := s.share.Trashed(own)
		must(t, err)
		_, one := os.Stat(s.dir + "/data/a/file")
		_, two := os.Stat(s.dir + "/data/file")
		switch {
		case there || begun:
			t.Errorf("paused at call %d: something is still in the trash", pause)
		case came == nil && one == nil && two == nil:
			back++
		case errors.Is(came, fs.ErrNotExist):
			absent(t, s.dir+"/data")
			emptied++
		default:
			t.Errorf("paused at call %d: it says %v, and left are %v, %v", pause, came, one, two)
		}
	}
	if back == 0 || emptied == 0 {
		t.Errorf("it came back %d times, and went %d times", back, emptied)
	}
}

// emptyGoesOn: a removal that was cut off has given the directory another name, and whoever decides
// hears of it.
func emptyGoesOn(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file")
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, nil))
	ctx, cancel := context.WithCancel(t.Context())
	may := func(*Identity, bool) error {
		cancel()
		return nil
	}
	if _, err := s.share.EmptyTrash(ctx, own, may, NewRemover(0, 0)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	there, begun, err := s.share.Trashed(own)
	if err != nil || !there || !begun || !strings.HasSuffix(TrashPath(own, begun), "/emptying") {
		t.Errorf("there %v, begun %v, %v", there, begun, err)
	}
	if _, err := os.Stat(s.dir + "/" + TrashPath(own, begun) + "/file"); err != nil {
		t.Error(err)
	}
	if _, err := s.share.Aside(TrashDir, own); !errors.Is(err, fs.ErrNotExist) { // nobody takes it for a whole one
		t.Error(err)
	}
	told := false
	removed, err := s.share.EmptyTrash(t.Context(), own, func(_ *Identity, begun bool) error {
		told = begun
		return nil
	}, NewRemover(0, 0))
	if err != nil || !told || removed != (Removed{1, 1}) {
		t.Errorf("%+v, told %v, %v", removed, told, err)
	}
}

// identityOf returns which directory lies anywhere on the share.
func (s site) identityOf(name string) (*Identity, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return s.share.identifyOpen(&dir{opened, s.share})
}

// removeClosedOther: a mode is changed no sooner than the directory is known.
func removeClosedOther(t *testing.T, s site) {
	tree(t, s.dir, "data/", "other/", "full/file")
	for _, name := range []string{"data", "full"} {
		must(t, os.Chmod(s.dir+"/"+name, 0))
		mustBe(t, s.share.Remove(pathOf(t, name), identify(t, s.share, "other")), ErrChanged)
		if mode := modeOf(t, s.dir+"/"+name); mode != 0 {
			t.Errorf("%s has mode %04o", name, mode)
		}
		must(t, os.Chmod(s.dir+"/"+name, 0o755))
	}
}

// removeMounted takes the volume for one of another device than what lies inside.
func removeMounted(t *testing.T, s site) {
	tree(t, s.dir, "data/mounted/file", "data/empty/")
	data, err := os.Open(s.dir + "/data")
	must(t, err)
	defer data.Close()
	for name, mode := range map[string]os.FileMode{"mounted": 0, "empty": 0o1000} {
		must(t, os.Chmod(s.dir+"/data/"+name, goMode(mode)))
		for what, do := range map[string]func(*removal) error{
			"remove":      func(r *removal) error { return r.removeDirectory(int(data.Fd()), name, name, 1) },
			"open closed": func(r *removal) error { _, err := r.openClosed(int(data.Fd()), name, 1, fs.ErrPermission); return err },
			"open up":     func(r *removal) error { r.openUpAt(int(data.Fd()), name); return errOtherFileSystem },
		} {
			r := &removal{Remover: NewRemover(0, 0), share: s.share, device: 1}
			if err := do(r); !errors.Is(err, errOtherFileSystem) {
				t.Errorf("%s %s: %v", what, name, err)
			}
			if got := modeOf(t, s.dir+"/data/"+name); got != uint32(mode) {
				t.Errorf("%s %s: mode %04o, was %04o", what, name, got, mode)
			}
		}
		must(t, os.Chmod(s.dir+"/data/"+name, 0o755))
	}
	_, err = os.Stat(s.dir + "/data/mounted/file")
	must(t, err)
}

func TestWhatCannotBeMoved(t *testing.T) {
	for number, want := range map[syscall.Errno]bool{syscall.EXDEV: true, syscall.EBUSY: true, syscall.EACCES: true, syscall.EPERM: true, syscall.EIO: false, syscall.ENOENT: false, syscall.ESTALE: false, syscall.EROFS: false} {
		if got := CannotMove(fmt.Errorf("move: %w", &os.LinkError{Op: "renameat", Err: number})); got != want {
			t.Errorf("%v: %v", number, got)
		}
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
	err = s.share.remove(f, NewRemover(0, 0), pathOf(t, "data"), nil)
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
