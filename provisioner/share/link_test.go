package share

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/volpath"
)

func linkCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"what is no directory is refused as leaf and as parent": refuseOthers,
		"a parent that is swapped leads nowhere else":           func(t *testing.T, s site) { swap(t, s, "team") },
		"a leaf that is swapped leads nowhere else":             func(t *testing.T, s site) { swap(t, s, "team/leaf") },
	}
}

// others makes things that are no directory at name.
func others(s site) map[string]func(name string) error {
	link := func(target string) func(string) error {
		return func(name string) error { return os.Symlink(target, name) }
	}
	return map[string]func(string) error{
		"a link outside":             link(s.outside),
		"a link inside":              link("other"),
		"a link inside, absolute":    link(s.dir + "/other"),
		"a link outside and in":      link("../share/other"),
		"a link to the share itself": link("."),
		"a dangling link":            link("nowhere"),
		"a link to itself":           link("it"),
		"a file":                     func(name string) error { return os.WriteFile(name, []byte("x"), 0o644) },
		"a pipe":                     func(name string) error { return syscall.Mkfifo(name, 0o644) },
	}
}

func refuseOthers(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir, MovingDir))
	tree(t, s.outside, "leaf/")
	tree(t, s.dir, "other/leaf/", "real/")
	for name, place := range others(s) {
		t.Run(name, func(t *testing.T) {
			must(t, place(s.dir+"/it"))
			defer func() { must(t, os.Remove(s.dir+"/it")) }()
			inside, outside := snapshot(t, s.dir), snapshot(t, s.outside)
			for _, p := range []volpath.Path{pathOf(t, "it"), pathOf(t, "it/leaf"), pathOf(t, "it/a/b")} {
				if _, err := s.share.Create(p, Attributes{Mode: 0o777}, nil); !errors.Is(err, ErrNotDirectory) {
					t.Errorf("create %s: %v", p, err)
				}
				if found, err := s.share.Exists(p); found || !errors.Is(err, ErrNotDirectory) {
					t.Errorf("exists %s: %v, %v", p, found, err)
				}
				if err := s.share.Rename(p, pathOf(t, "moved"), nil); !errors.Is(err, ErrNotDirectory) {
					t.Errorf("rename %s: %v", p, err)
				}
				if _, err := s.share.Identify(p); !errors.Is(err, ErrNotDirectory) {
					t.Errorf("identify %s: %v", p, err)
				}
				mustBe(t, s.share.Mark(p, 1), ErrNotDirectory)
			}
			below := pathOf(t, "it/leaf")
			mustBe(t, s.share.Remove(below, nil), ErrNotDirectory)
			mustBe(t, s.share.Rename(pathOf(t, "real"), below, nil), ErrNotDirectory)
			mustBe(t, s.share.Rename(pathOf(t, "real"), pathOf(t, "it"), nil), fs.ErrExist)
			if gone, err := s.share.RemoveMarked(pathOf(t, "it")); gone || err != nil {
				t.Errorf("remove as a parent: %v, %v", gone, err)
			}
			untouched(t, s.dir, inside)
			// These move it and put it back, which the server's times tell.
			for _, p := range []volpath.Path{pathOf(t, "it"), below} {
				mustBe(t, s.share.SetAside(p, TrashDir, own, nil), ErrNotDirectory)
				mustBe(t, s.share.RemoveEmpty(p, own, nil, itIs), ErrNotDirectory)
			}
			kept(t, s.dir, inside)
			untouched(t, s.outside, outside)
		})
	}
}

// swap exchanges the directory at name for links and pipes as fast as it can
// beside all calls on paths at and below it. Names and modes in the two
// victims are those that a call would change if it followed a link there.
func swap(t *testing.T, s site, name string) {
	for _, victim := range []string{s.outside, s.dir + "/other"} {
		tree(t, victim, "empty/", "full/file", "leaf/", "leaf/empty/", "leaf/full/file")
		must(t, os.Chmod(victim+"/empty", 0o700))
	}
	must(t, s.share.MakeMeta(TrashDir, MovingDir))
	tree(t, s.dir, name+"/", "stock/")
	inside, outside := snapshot(t, s.dir+"/other"), snapshot(t, s.outside)

	stop, swapper := make(chan struct{}), sync.WaitGroup{}
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				start := time.Now()
				swapOnce(t, s, s.dir+"/"+name)
				// The directory stays as long: where every step goes to a server
				// no call would ever get through otherwise.
				time.Sleep(time.Since(start))
			}
		}
	})
	hammer(t, s, name)
	close(stop)
	swapper.Wait()
	untouched(t, s.dir+"/other", inside)
	untouched(t, s.outside, outside)
}

// swapOnce puts each kind of thing in the place of the directory at name, for
// a moment, and lets the directory come back in between. Calls beside it may
// make or remove something there too, so errors mean nothing.
func swapOnce(t *testing.T, s site, name string) {
	t.Helper()
	for _, place := range []func() error{
		func() error { return os.Symlink(s.outside, name) },
		func() error { return os.Symlink(s.dir+"/other", name) },
		func() error { return os.Symlink("other", name) },
		func() error { return os.Symlink("../other", name) },
		func() error { return syscall.Mkfifo(name, 0o666) },
	} {
		_ = os.RemoveAll(s.dir + "/stock/real") // where it could not come back
		_ = os.Rename(name, s.dir+"/stock/real")
		_ = place()
		_ = syscall.Unlink(name) // never what is a directory
		_ = os.Rename(s.dir+"/stock/real", name)
		_ = os.Mkdir(name, 0o755) // where a call removed it
	}
}

// hammer makes all calls for a second, and on until each was seen to succeed
// and to fail. The failure may be any: the parent is absent, no directory, or
// another one by now.
func hammer(t *testing.T, s site, name string) {
	t.Helper()
	empty, full, leaf := pathOf(t, name+"/empty"), pathOf(t, name+"/full"), pathOf(t, name)
	hers, mine, moved := pathOf(t, name+"/hers"), pathOf(t, name+"/mine"), pathOf(t, "moved")
	calls := map[string]func() error{
		"create leaf":  func() error { _, err := s.share.Create(leaf, Attributes{Mode: 0o777}, nil); return err },
		"create":       func() error { _, err := s.share.Create(empty, Attributes{Mode: 0o777}, nil); return err },
		"exists":       func() error { _, err := s.share.Exists(full); return err },
		"identify":     func() error { _, err := s.share.Identify(leaf); return err },
		"remove":       func() error { return s.share.Remove(full, nil) },
		"remove empty": func() error { return s.share.RemoveEmpty(empty, own, nil, itIs) },
		"mark": func() error {
			id, err := s.share.Identify(leaf)
			if err == nil {
				err = s.share.Mark(leaf, id.Number)
			}
			return err
		},
		"remove marked": func() error { _, err := s.share.RemoveMarked(empty); return err },
		"set aside": func() error {
			id, err := s.share.Create(hers, Attributes{Mode: 0o777}, nil)
			err = errors.Join(err, s.share.SetAside(hers, TrashDir, own, id))
			_, emptied := s.share.EmptyTrash(t.Context(), own, only(id), NewRemover(0, 0))
			return errors.Join(err, emptied)
		},
		"rename": func() error {
			_, err := s.share.Create(mine, Attributes{Mode: 0o777}, nil)
			return errors.Join(err, s.share.Rename(mine, moved, nil), s.share.Rename(moved, mine, nil), s.share.Remove(moved, nil))
		},
	}
	start := time.Now()
	var callers sync.WaitGroup
	for call, run := range calls {
		callers.Go(func() {
			succeeded, failed := 0, 0
			for time.Since(start) < time.Second || succeeded == 0 || failed == 0 {
				if run() == nil {
					succeeded++
				} else {
					failed++
				}
				if time.Since(start) > time.Minute { // a busy emulated machine needs more than 20 s
					t.Errorf("%s: %d successes and %d failures in a minute prove nothing", call, succeeded, failed)
					return
				}
			}
		})
	}
	callers.Wait()
}
