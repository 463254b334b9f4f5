package provisioner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"claimdir/provisioner/sharetest"
)

// cutOff runs the operation with f and reports whether f came to act. If the operation
// succeeded although an answer got lost, nobody repeats it: then the share holds want by
// now, but for empty parents, which the sweep removes.
func (w *world) cutOff(t *testing.T, f *sharetest.Fault, run func() error, want []string) bool {
	t.Helper()
	var err error
	hit := w.CutOff(f, func() error { err = run(); return err })
	if hit && err == nil && !f.Kill {
		for _, parent := range []string{"team"} {
			_, err := w.Store(t).Dirs.RemoveMarked(sharetest.PathOf(t, parent))
			must(t, err)
		}
		w.sweep(t)
		w.Holds(t, want...)
		if t.Failed() {
			t.Fatalf("cut off %s, and said to be done", f.Hit())
		}
	}
	return hit
}

// everywhere runs a story once for each place where its operation can be cut off, and for
// every stride-th pair of places in the first run and in the repeat, in which each place
// of the repeat comes: on a slow share only for every sharetest.BriefStep-th place
// of the first run, with one in the repeat. before prepares a share and returns the
// operation; a third run of it must succeed, and so must a fourth.
func everywhere(t *testing.T, before func(*testing.T, *world) func() error, want ...string) {
	t.Helper()
	everywhereBy(t, 41, before, want...)
}

// everywhereOnce is everywhere for a long operation: with one place in the repeat for each of the first run.
func everywhereOnce(t *testing.T, before func(*testing.T, *world) func() error, want ...string) {
	t.Helper()
	everywhereBy(t, 1<<20, before, want...)
}

func everywhereBy(t *testing.T, stride int, before func(*testing.T, *world) func() error, want ...string) {
	t.Helper()
	t.Parallel() // it waits for the disk most of the time
	places := 0
	for _, kill := range []bool{true, false} {
		for first, second := 1, 1; ; {
			w := newWorld(t)
			run := before(t, w)
			one, two := &sharetest.Fault{N: first, Kill: kill}, &sharetest.Fault{N: second, Kill: kill}
			if !w.cutOff(t, one, run, want) {
				w.end(t)
				break
			}
			places++
			w.comeBack(t, kill)
			again := w.cutOff(t, two, run, want)
			w.comeBack(t, kill)
			err := errors.Join(run(), run())
			w.sweep(t)
			w.Holds(t, want...)
			if err != nil || t.Failed() {
				t.Fatalf("cut off %s, then %q, kill %v: the repeat says %v", one.Hit(), two.Hit(), kill, err)
			}
			w.end(t)
			switch {
			case brief():
				first, second = first+sharetest.BriefStep(1), first // and then one that far into the repeat
			case again:
				second += stride
			default: // the repeat has no more places
				first, second = first+1, first%stride+1
			}
		}
	}
	if places < times(100, 2) {
		t.Errorf("only %d places were tried", places)
	}
}

// sweep removes what the sweep does when it is an hour old, which no test can make it: what
// was staged, and the empty directories of what was set aside. A half-written record stays
// beside its volume's own, for the next write: see TestAReleaseRemovesHalfWrittenRecords.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	staged, err := filepath.Glob(w.Dir + "/.claimdir/staged/*")
	must(t, err)
	for _, name := range staged {
		must(t, os.RemoveAll(name))
	}
	moving, err := filepath.Glob(w.Dir + "/.claimdir/moving/*")
	must(t, err)
	copies, err := filepath.Glob(w.Dir + "/.claimdir/copies/*")
	must(t, err)
	for _, name := range append(moving, copies...) {
		if err := os.Remove(name); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(w.Dir + "/.claimdir/records/*/*.new")
	must(t, err)
	for _, name := range left {
		if _, err := os.Lstat(strings.TrimSuffix(name, ".new")); err == nil {
			must(t, os.Remove(name))
		}
	}
}

func TestAReleaseRemovesHalfWrittenRecords(t *testing.T) {
	for policy, left := range map[string]string{"delete": "", "archive": "archived-ns-data-pvc-1 = pvc-1 archived", "retain": "data = pvc-1 retained"} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
		must(t, os.WriteFile(w.recordFile(t, "data")+".new", []byte("{"), 0o600))
		must(t, w.Delete(t.Context(), pv))
		if policy == "delete" {
			w.EmptyTrash(t)
		}
		if got := strings.Join(w.Records(t), ", "); got != left {
			t.Errorf("%s: records %s", policy, got)
		}
		if found, err := filepath.Glob(w.Dir + "/.claimdir/records/*/*.new"); err != nil || len(found) > 0 {
			t.Errorf("%s: left %q, %v", policy, found, err)
		}
		if got := w.Trash(t); len(got) > 0 {
			t.Errorf("%s: in the trash: %q", policy, got)
		}
	}
}

// comeBack is the next try of an operation: of the same process, or of the next one.
func (w *world) comeBack(t *testing.T, killed bool) {
	t.Helper()
	if killed {
		w.restart(t)
	}
}

// end ends the process and removes the share, of which a test has thousands.
func (w *world) end(t *testing.T) {
	t.Helper()
	w.End()
	must(t, os.RemoveAll(w.Dir))
}

func TestProvisionCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		return func() error {
			pv, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "mode", "2750")))
			if err == nil && (pv == nil || w.ModeOf(t, "team/data").Perm() != 0o750) {
				return fmt.Errorf("volume %v, mode %v", pv, w.ModeOf(t, "team/data"))
			}
			return err
		}
	}, "team", "team/data", "team/data = pvc-1 active")
}

func TestAdoptionCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		w.Tree(t, "team/data/file")
		return func() error {
			_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt")))
			return err
		}
	}, "team", "team/data", "team/data/file", "team/data = pvc-1 active")
}

func TestTakingUpCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "retain")))
		w.Tree(t, "team/data/file")
		must(t, w.Delete(t.Context(), pv))
		return func() error {
			_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", at("team/data")))
			return err
		}
	}, "team", "team/data", "team/data/file", "team/data = pvc-2 active")
}

func TestReleaseCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	for policy, want := range map[string][]string{
		"delete":  nil,
		"archive": {archive, archive + "/file", archive + "/sub", archive + "/sub/file", archive + " = pvc-1 archived"},
		"retain":  {"team", "team/data", "team/data/file", "team/data/sub", "team/data/sub/file", "team/data = pvc-1 retained"},
	} {
		t.Run(policy, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w *world) func() error {
				pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", policy)))
				w.Tree(t, "team/data/file", "team/data/sub/file")
				return func() error { return w.Delete(t.Context(), pv) }
			}, want...)
		})
	}
}

// The directory may be gone before the release, whatever the policy: by hand,
// or in an earlier call. Cutting that off must not leave a record either.
func TestReleaseOfAnAbsentDirectoryCutOffAnywhere(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			must(t, os.Remove(w.Dir+"/data"))
			release := func() error { return w.Delete(t.Context(), pv) }
			for n := 1; w.cutOff(t, &sharetest.Fault{N: n, Kill: true}, release, nil); n++ {
				w.restart(t)
			}
			must(t, release())
			w.Holds(t)
		})
	}
}

// A claim that goes before its volume was saved leaves a creating record; the
// next claim of its name gets the path.
func TestProvisionCutOffForGoodLeavesThePathToTheNextClaimOfTheName(t *testing.T) {
	for n := 1; ; n += times(1, 5) {
		w := newWorld(t)
		f := &sharetest.Fault{N: n, Kill: true}
		if !w.CutOff(f, func() error { return provisionError(t, w, "ns/data", "pvc-1") }) {
			break
		}
		w.restart(t)
		complete := slices.Contains(w.Records(t), "data = pvc-1 active") // such a volume is the sweep's, or doctor's
		switch err := provisionError(t, w, "ns/data", "pvc-2"); {
		case complete && err == nil:
			t.Errorf("cut off %s: it got a volume that was complete", f.Hit())
		case !complete && err != nil:
			t.Errorf("cut off %s: %v", f.Hit(), err)
		case !complete:
			w.sweep(t)
			w.Holds(t, "data", "data = pvc-2 active")
		}
		w.end(t)
	}
}

func provisionError(t *testing.T, w *world, claim, pv string) error {
	t.Helper()
	_, _, err := w.Provision(t.Context(), options(claim, pv, at("data")))
	return err
}

func TestReleaseThatDidNotReachTheServerLeavesThePathsNewOwnerAlone(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			old := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			must(t, w.Delete(t.Context(), old))
			w.provision(t, options("ns/data", "pvc-2", at("data")))
			w.Tree(t, "data/file")
			w.EmptyTrash(t)
			before := w.Snapshot(t)
			must(t, w.Delete(t.Context(), old))
			w.Untouched(t, before)
		})
	}
}
