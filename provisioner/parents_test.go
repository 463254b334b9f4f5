package provisioner

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

// marked fails the test unless exactly these of the paths are directories with the mark of
// parents that claimdir made: see share.WithParents.
func (w *world) marked(t *testing.T, want map[string]bool) {
	t.Helper()
	for path, is := range want {
		if mode := w.ModeOf(t, path).Perm(); (mode == 0o745) != is {
			t.Errorf("%s has mode %04o", path, mode)
		}
	}
}

func (w *world) absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(w.Dir + "/" + path); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", path, err)
	}
}

func TestParentsGoWithTheirLastVolume(t *testing.T) {
	for _, policy := range []string{"delete", "archive"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			one := w.provision(t, options("ns/one", "pvc-1", at("a/b/c/one", "onDelete", policy)))
			two := w.provision(t, options("ns/two", "pvc-2", at("a/two", "onDelete", policy)))
			w.marked(t, map[string]bool{"a": true, "a/b": true, "a/b/c": true, "a/b/c/one": false, "a/two": false})
			must(t, w.Delete(t.Context(), one))
			w.absent(t, "a/b")
			w.marked(t, map[string]bool{"a": true})
			must(t, w.Delete(t.Context(), two))
			w.absent(t, "a")
		})
	}
}

// A retained directory keeps its parents, until the volume that takes it up has gone.
func TestParentsOfARetainedVolumeStayUntilItIsDeleted(t *testing.T) {
	w := newWorld(t)
	must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-1", at("own/kept", "onDelete", "retain")))))
	w.Start(t.Context())
	w.Holds(t, "own", "own/kept", "own/kept = pvc-1 retained")
	w.marked(t, map[string]bool{"own": true})
	must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-2", at("own/kept", "onDelete", "delete")))))
	w.Holds(t)
}

// Whatever somebody else made or put there stays.
func TestParentsOfOthersStay(t *testing.T) {
	for name, tt := range map[string]struct {
		before, during func(t *testing.T, w *world)
		left           []string
	}{
		"made before": {before: func(t *testing.T, w *world) { w.Tree(t, "a/") }, left: []string{"a"}},
		"made before, with another mode": {before: func(t *testing.T, w *world) {
			w.Tree(t, "a/")
			must(t, os.Chmod(w.Dir+"/a", 0o2744))
		}, left: []string{"a"}},
		"a file in it":   {during: func(t *testing.T, w *world) { w.Tree(t, "a/file") }, left: []string{"a", "a/file"}},
		"a file below":   {during: func(t *testing.T, w *world) { w.Tree(t, "a/b/file") }, left: []string{"a", "a/b", "a/b/file"}},
		"a hidden file":  {during: func(t *testing.T, w *world) { w.Tree(t, "a/.keep") }, left: []string{"a", "a/.keep"}},
		"a directory in": {during: func(t *testing.T, w *world) { w.Tree(t, "a/other/") }, left: []string{"a", "a/other"}},
		"somebody gave it another mode": {during: func(t *testing.T, w *world) {
			must(t, os.Chmod(w.Dir+"/a", 0o755))
		}, left: []string{"a"}},
		"another one in its place": {during: func(t *testing.T, w *world) {
			must(t, os.Rename(w.Dir+"/a", w.Dir+"/old"))
			w.Tree(t, "a/")
			must(t, os.Rename(w.Dir+"/old/b", w.Dir+"/a/b"))
		}, left: []string{"a", "old"}},
		"a link in its place": {during: func(t *testing.T, w *world) {
			must(t, os.RemoveAll(w.Dir+"/a/b/data"))
			must(t, os.Remove(w.Dir+"/a/b"))
			must(t, os.Mkdir(w.Dir+"/a/c", 0o745))
			must(t, os.Symlink("c", w.Dir+"/a/b"))
		}, left: []string{"a", "a/b", "a/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.before != nil {
				tt.before(t, w)
			}
			pv := w.provision(t, options("ns/data", "pvc-1", at("a/b/data", "onDelete", "delete")))
			if tt.during != nil {
				tt.during(t, w)
			}
			if err := w.Delete(t.Context(), pv); strings.Contains(name, "link") {
				refused(t, err, refusal.ReasonStorage, false, "symbolic links are not followed")
				must(t, w.Store(t).Records.Remove(sharetest.PathOf(t, "a/b/data"), w.Record(t, "a/b/data")))
			} else {
				must(t, err)
			}
			w.Start(t.Context())
			w.Holds(t, tt.left...)
		})
	}
}

func TestWhatIsAdoptedKeepsItsParents(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "team/data/file")
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt", "onDelete", "delete")))
	w.Holds(t, "team", "team/data", "team/data/file", "team/data = pvc-1 active")
	w.marked(t, map[string]bool{"team": false, "team/data": false})
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, "team")
}

// The last other volume goes between the making of a parent and what is made
// below it.
func TestAParentThatVanishesIsMadeAgain(t *testing.T) {
	for _, when := range []string{"make data", "open data"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			old := w.provision(t, options("ns/old", "pvc-1", at("team/old", "onDelete", "delete")))
			other := w.beside(t, sharetest.Cluster)
			vanished := false
			w.Hook(func(name string, do func() error) error {
				if name == when && !vanished {
					vanished = true
					must(t, other.Delete(t.Context(), old))
					if when == "open data" { // by then it holds what is made
						must(t, os.Remove(w.Dir+"/team/data"))
						must(t, os.Remove(w.Dir+"/team"))
					}
					w.absent(t, "team")
				}
				return do()
			})
			w.provision(t, options("ns/data", "pvc-2", at("team/data")))
			if !vanished {
				t.Error("the parent never vanished")
			}
			w.Holds(t, "team", "team/data", "team/data = pvc-2 active")
			w.marked(t, map[string]bool{"team": true})
		})
	}
}

// A parent that vanishes each time is no endless loop.
func TestAParentThatAlwaysVanishesIsRefused(t *testing.T) {
	w := newWorld(t)
	w.Hook(func(name string, do func() error) error {
		if name == "make data" {
			must(t, os.Remove(w.Dir+"/team"))
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data")))
	refused(t, err, refusal.ReasonStorage, false, "team/data")
	w.Hook(nil)
	w.provision(t, options("ns/data", "pvc-1", at("team/data")))
	w.Holds(t, "team", "team/data", "team/data = pvc-1 active")
}

// A parent that became a volume is no parent any more, also as long as it is empty, for
// whoever releases what was below it, and for the next start.
func TestAVolumeAtTheParentsPathIsNotRemoved(t *testing.T) {
	for _, class := range []map[string]string{at("team"), at("team", "onExisting", "adopt"), at("team", "mode", "0745")} {
		w := newWorld(t)
		must(t, os.Mkdir(w.Dir+"/team", 0o745)) // a parent that was left over
		must(t, os.Chmod(w.Dir+"/team", 0o745))
		w.provision(t, options("ns/data", "pvc-1", class))
		w.Start(t.Context())
		w.Holds(t, "team", "team = pvc-1 active")
		if class["mode"] == "" {
			w.marked(t, map[string]bool{"team": false})
		}
	}
}

// A claim's path is that of a parent, which is about to go when its volume takes the
// directory.
func TestAParentThatBecomesAVolumeStays(t *testing.T) {
	for _, when := range []string{"look at team", "rmdir team"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			inner := w.provision(t, options("ns/x", "pvc-x", at("team/x", "onDelete", "delete")))
			moved, done := false, false
			w.Hook(func(name string, do func() error) error {
				moved = moved || name == "rename x"
				if name == when && moved && !done {
					done = true
					_, _, err := w.Provision(t.Context(), options("ns/team", "pvc-team", at("team")))
					refused(t, err, refusal.ReasonBusy, false, "retried automatically")
				}
				return do()
			})
			must(t, w.Delete(t.Context(), inner))
			w.Hook(nil)
			if !done {
				t.Fatal("the parent was not about to go")
			}
			w.absent(t, "team")
			w.provision(t, options("ns/team", "pvc-team", at("team")))
			w.Holds(t, "team", "team = pvc-team active")
		})
	}
}

// The other way round: the volume is just being made when the last one below goes.
func TestAParentIsNotRemovedWhileAVolumeIsMadeThere(t *testing.T) {
	for _, when := range []string{"open staged", "make team", "open team", "set attributes of team", "rename pvc-team@"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			must(t, os.Mkdir(w.Dir+"/team", 0o745)) // a parent that was left over
			must(t, os.Chmod(w.Dir+"/team", 0o745))
			old := w.provision(t, options("ns/x", "pvc-x", at("team/x", "onDelete", "delete")))
			must(t, w.Delete(t.Context(), old))
			must(t, os.Mkdir(w.Dir+"/team", 0o745))
			must(t, os.Chmod(w.Dir+"/team", 0o745))
			done := false
			w.Hook(func(name string, do func() error) error {
				if strings.HasPrefix(name, when) && !done {
					done = true
					must(t, w.Delete(t.Context(), old)) // a repeat, which removes empty parents too
				}
				return do()
			})
			w.provision(t, options("ns/team", "pvc-team", at("team")))
			if !done {
				t.Error("nothing was released meanwhile")
			}
			w.Holds(t, "team", "team = pvc-team active")
			w.marked(t, map[string]bool{"team": false})
		})
	}
}

func TestProvisionsAndReleasesBelowOneParentAtOnce(t *testing.T) {
	for _, policy := range []string{"delete", "archive"} {
		w := newWorld(t)
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				for i := range times(20, 4) {
					name := fmt.Sprintf("%d-%d", n, i)
					pv, _, err := w.Provision(t.Context(), options("ns/"+name, "pvc-"+name, at("a/b/"+name, "onDelete", policy)))
					if err == nil {
						err = w.Delete(t.Context(), pv)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		w.absent(t, "a")
	}
}

// Two clusters, or two leaders, make and release volumes below one parent.
func TestTwoClustersBelowOneParentLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both := []*world{w, w.beside(t, "cluster-2")}
	for round := range times(1500, 20) {
		var all sync.WaitGroup
		for i, in := range both {
			all.Go(func() {
				name := fmt.Sprintf("%d-%d", i, round)
				pv, _, err := in.Provision(t.Context(), options("ns/"+name, "pvc-"+name, at("team/"+name, "onDelete", "delete")))
				if err == nil {
					err = in.Delete(t.Context(), pv)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.absent(t, "team")
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
		if round%100 == 99 {
			w.EmptyTrash(t)
		}
	}
	w.Holds(t)
}

// All directories of a share that was copied are others. Its parents are known as before.
func TestAShareThatWasCopiedLosesItsParentsWithTheLastVolume(t *testing.T) {
	for _, policy := range []string{"archive", "delete"} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("team/deep/data", "onDelete", policy)))
		w.Tree(t, "team/deep/data/file")
		w.End()
		must(t, exec.Command("cp", "-a", w.Dir, w.Dir+".new").Run())
		must(t, os.Rename(w.Dir, w.Dir+".old"))
		must(t, os.Rename(w.Dir+".new", w.Dir))
		w.restart(t)
		w.Start(t.Context())
		must(t, w.Delete(t.Context(), pv))
		w.absent(t, "team")
		must(t, os.RemoveAll(w.Dir+".old"))
	}
}

// The parents of a volume whose making or release was cut off go with it: by the repeat, or
// by the sweep.
func TestAKillAnywhereLeavesNoParentThatARepeatDoesNotRemove(t *testing.T) {
	for _, release := range []bool{false, true} {
		for n := 1; ; n += times(1, 5) {
			w := newWorld(t)
			class := at("a/b/data", "onDelete", "delete")
			pv := w.provision(t, options("ns/data", "pvc-1", class))
			run := func() error { return w.Delete(t.Context(), pv) }
			if !release {
				must(t, run())
				run = func() error { _, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", class)); return err }
			}
			f := &sharetest.Fault{N: n, Kill: true}
			if !w.CutOff(f, run) {
				w.end(t)
				break
			}
			w.restart(t)
			must(t, run())
			if !release {
				w.marked(t, map[string]bool{"a": true, "a/b": true})
				must(t, w.Delete(t.Context(), pv))
			}
			w.sweep(t)
			w.Holds(t)
			if t.Failed() {
				t.Fatalf("release %v, cut off %s", release, f.Hit())
			}
			w.end(t)
		}
	}
}
