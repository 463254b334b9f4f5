package provisioner

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// parents fails the test unless exactly these are on record as parents of ours.
func (w *world) parents(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for path, err := range w.ledger.Parents() {
		must(t, err)
		got = append(got, path.String())
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("parents on record %q, want %q", got, want)
	}
}

func TestParentsGoWithTheirLastVolume(t *testing.T) {
	for _, policy := range []string{"delete", "archive"} {
		w := newWorld(t)
		one := w.provision(t, options("ns/one", "pvc-1", at("a/b/c/one", "onDelete", policy)))
		two := w.provision(t, options("ns/two", "pvc-2", at("a/two", "onDelete", policy)))
		w.parents(t, "a", "a/b", "a/b/c")
		if w.modeOf(t, "a/b").Perm() != 0o755 {
			t.Error(w.modeOf(t, "a/b"))
		}
		must(t, w.Delete(t.Context(), one))
		w.parents(t, "a")
		must(t, w.Delete(t.Context(), two))
		w.parents(t)
		if _, err := os.Lstat(w.dir + "/a"); !os.IsNotExist(err) {
			t.Error(policy, err)
		}
	}
}

// Whatever somebody else made or put there stays.
func TestParentsOfOthersStay(t *testing.T) {
	for name, tt := range map[string]struct {
		before, during func(t *testing.T, w *world)
		left, parents  []string
	}{
		"made before": {before: func(t *testing.T, w *world) { w.tree(t, "a/") }, left: []string{"a"}},
		"a file in it": {
			during: func(t *testing.T, w *world) { w.tree(t, "a/file") }, left: []string{"a", "a/file"}, parents: []string{"a"},
		},
		"another one in its place": {during: func(t *testing.T, w *world) {
			must(t, os.Rename(w.dir+"/a", w.dir+"/old"))
			w.tree(t, "a/")
			must(t, os.Rename(w.dir+"/old/b", w.dir+"/a/b"))
		}, left: []string{"a", "old"}},
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
			must(t, w.Delete(t.Context(), pv))
			w.Start(t.Context())
			w.holds(t, tt.left...)
			w.parents(t, tt.parents...)
		})
	}
}

func TestWhatIsAdoptedOrRetainedKeepsItsParents(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "team/data/file")
	w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt")))
	w.parents(t)
	pv := w.provision(t, options("ns/kept", "pvc-2", at("own/kept", "onDelete", "retain")))
	must(t, w.Delete(t.Context(), pv))
	w.Start(t.Context())
	w.parents(t, "own")
	w.holds(t, "team", "team/data", "team/data/file", "own", "own/kept", "team/data = pvc-1 active", "own/kept = pvc-2 retained")
}

// The last other volume goes between the making of a parent and what is made
// below it.
func TestAParentThatVanishesIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	old := w.provision(t, options("ns/old", "pvc-1", at("team/old", "onDelete", "delete")))
	released := false
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Create" && !released {
			released = true
			must(t, w.Delete(t.Context(), old))
			if _, err := os.Lstat(w.dir + "/team"); !os.IsNotExist(err) {
				t.Error("the parent is still there", err)
			}
		}
		return do()
	}
	w.provision(t, options("ns/data", "pvc-2", at("team/data")))
	w.holds(t, "team", "team/data", "team/data = pvc-2 active")
	w.parents(t, "team")
}

// A parent that became a volume is no parent any more, not for the next start
// either.
func TestAnAdoptedParentIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	must(t, w.ledger.BeginParent(pathOf(t, "team")))
	id, err := w.dirs.MakeParent(pathOf(t, "team"))
	must(t, err)
	must(t, w.ledger.MadeParent(pathOf(t, "team"), id))
	w.provision(t, options("ns/data", "pvc-1", at("team", "onExisting", "adopt")))
	must(t, w.ledger.MadeParent(pathOf(t, "team"), id)) // as if it had stayed
	w.Start(t.Context())
	w.holds(t, "team", "team = pvc-1 active")
	w.parents(t)
}

// A claim's path is that of a parent, which was made after the claim looked and is
// about to go when its volume takes the directory.
func TestAParentThatBecomesAVolumeStays(t *testing.T) {
	w := newWorld(t)
	removing, resume, released := make(chan bool), make(chan bool), make(chan error, 1)
	var looked, caught atomic.Bool
	w.dirs.step = func(method string, do func() error, _ func()) error {
		switch method {
		case "Exists": // the first is that of claim "team"
			err := do()
			if looked.CompareAndSwap(false, true) {
				go func() {
					pv, _, err := w.Provision(context.WithoutCancel(t.Context()), options("ns/x", "pvc-x", at("team/x", "onDelete", "delete")))
					if err == nil {
						err = w.Delete(context.WithoutCancel(t.Context()), pv)
					}
					released <- err
				}()
				<-removing
				go func() { // it holds the lock of parents, which the claim then waits for
					<-time.After(50 * time.Millisecond)
					close(resume)
				}()
			}
			return err
		case "RemoveParent":
			if caught.CompareAndSwap(false, true) {
				close(removing)
				<-resume
			}
		}
		return do()
	}
	w.provision(t, options("ns/team", "pvc-team", at("team")))
	must(t, <-released)
	w.dirs.step = nil
	w.holds(t, "team", "team = pvc-team active")
	w.parents(t)
}

func TestProvisionsAndReleasesBelowOneParentAtOnce(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range times(20, 4) {
				name := fmt.Sprintf("%d-%d", n, i)
				pv, _, err := w.Provision(t.Context(), options("ns/"+name, "pvc-"+name, at("a/b/"+name, "onDelete", "delete")))
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
	w.holds(t)
	w.parents(t)
}

// killable also ends operations at each call of the ledger about parents.
func (w *world) killable() {
	w.use(Files{w.dirs, &lateRecords{w.ledger, func(method string, do func() error) error { return w.dirs.run(method, do, nil) }}})
}

func TestAKillAnywhereLeavesNoParentThatTheNextStartDoesNotFind(t *testing.T) {
	for _, release := range []bool{false, true} {
		for n := 1; ; n += times(1, 5) {
			w := newWorld(t)
			w.killable()
			run := func() error {
				_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("a/b/data", "onDelete", "delete")))
				return err
			}
			pv := w.provision(t, options("ns/data", "pvc-1", at("a/b/data", "onDelete", "delete")))
			if release {
				run = func() error { return w.Delete(t.Context(), pv) }
			} else {
				must(t, w.Delete(t.Context(), pv))
			}
			f := &fault{n: n, kill: true}
			if !w.cutOff(t, f, run) {
				break
			}
			w.restart(t)
			w.Start(t.Context())
			_, err := os.Lstat(w.dir + "/a/b/data")
			if _, above := os.Lstat(w.dir + "/a"); (err == nil) != (above == nil) {
				t.Errorf("release %v, cut off %s: %v, %v", release, f.hit, err, above)
			}
			if err == nil {
				w.parents(t, "a", "a/b")
			} else {
				w.parents(t)
			}
			must(t, run())
			if !release {
				must(t, w.Delete(t.Context(), pv))
			}
			w.holds(t)
			w.parents(t)
		}
	}
}
