package provisioner

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// errCut is what a call of the share answers in place of its own result.
var errCut = errors.New("the share went away")

// fault ends an operation at the n-th place where it can end: before, in the
// middle of, and after each call to the share. By then the steps of the ledger
// between two calls are done. A kill ends it there and then; otherwise the
// operation sees an error, also where the call succeeded and only its answer
// got lost, and goes on with whatever it does then.
type fault struct {
	n    int
	kill bool
	hit  string // where it was
}

func (f *fault) step(method string, do func() error, half func()) error {
	if half == nil {
		half = func() {}
	}
	for _, place := range []struct {
		name string
		do   func() error
	}{
		{"before", func() error { return nil }},
		{"in the middle of", func() error { half(); return nil }},
		{"after", do},
	} {
		if f.n--; f.n != 0 {
			continue
		}
		_ = place.do()
		f.hit = place.name + " " + method
		if f.kill {
			panic(errCut)
		}
		return errCut
	}
	return do()
}

// cutOff runs the operation with f and reports whether f came to act.
func (w *world) cutOff(t *testing.T, f *fault, run func() error) bool {
	t.Helper()
	w.dirs.step = f.step
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(errCut) {
				panic(r)
			}
		}()
		// A release succeeds without the parents; a repeat, or the next start, does the rest.
		if err := run(); err == nil && f.hit != "" && !strings.HasSuffix(f.hit, "Parent") {
			t.Errorf("%s: the fault was swallowed", f.hit)
		}
	}()
	w.dirs.step = nil
	return f.hit != ""
}

// everywhere runs a story once for each place where its operation can be cut
// off, and for every third pair of places in the first run and in the repeat, in
// which each place of the repeat comes: with CLAIMDIR_TEST_BRIEF set, for a slow
// share, only for every third place in either. before prepares a share and returns the operation; a third
// run of it must succeed, and so must a fourth.
func everywhere(t *testing.T, before func(*testing.T, *world) func() error, want ...string) {
	t.Helper()
	places := 0
	for _, kill := range []bool{true, false} {
		for first, second := 1, 1; ; second += 3 {
			w := newWorld(t)
			run := before(t, w)
			one, two := &fault{n: first, kill: kill}, &fault{n: second, kill: kill}
			if !w.cutOff(t, one, run) {
				break
			}
			places++
			w.restart(t)
			if again := w.cutOff(t, two, run); brief() {
				first, second = first+3, first // and then one that far into the repeat
			} else if !again { // the repeat has no more places
				first, second = first+1, first%3-2
			}
			w.restart(t)
			err := errors.Join(run(), run())
			w.holds(t, slices.Clone(want)...)
			if err != nil || t.Failed() {
				t.Fatalf("cut off %s, then %q, kill %v: the repeat says %v", one.hit, two.hit, kill, err)
			}
		}
	}
	if places < times(10, 2) {
		t.Errorf("only %d places were tried", places)
	}
}

func TestProvisionCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		return func() error {
			pv, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "mode", "2750")))
			if err == nil && (pv == nil || w.modeOf(t, "team/data").Perm() != 0o750) {
				return fmt.Errorf("volume %v, mode %v", pv, w.modeOf(t, "team/data"))
			}
			return err
		}
	}, "team", "team/data", "team/data = pvc-1 active")
}

func TestAdoptionCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		w.tree(t, "team/data/file")
		return func() error {
			_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt")))
			return err
		}
	}, "team", "team/data", "team/data/file", "team/data = pvc-1 active")
}

func TestTakingUpCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "retain")))
		w.tree(t, "team/data/file")
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
				w.tree(t, "team/data/file", "team/data/sub/file")
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
			must(t, w.dirs.Remove(pathOf(t, "data")))
			for n := 1; w.cutOff(t, &fault{n: n, kill: true}, func() error { return w.Delete(t.Context(), pv) }); n++ {
				w.restart(t)
			}
			must(t, w.Delete(t.Context(), pv))
			w.holds(t)
		})
	}
}

// A claim that goes before its volume was saved leaves a creating record; the
// next claim of its name gets the path.
func TestProvisionCutOffForGoodLeavesThePathToTheNextClaimOfTheName(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		f := &fault{n: n, kill: true}
		if !w.cutOff(t, f, func() error { return provisionError(t, w, "ns/data", "pvc-1") }) {
			break
		}
		w.restart(t)
		if err := provisionError(t, w, "ns/data", "pvc-2"); err != nil {
			t.Errorf("cut off %s: %v", f.hit, err)
		}
		w.holds(t, "data", "data = pvc-2 active")
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
			old.CreationTimestamp = metav1.Time{Time: old.CreationTimestamp.Add(-time.Hour)}
			must(t, w.Delete(t.Context(), old))
			w.provision(t, options("ns/data", "pvc-2", at("data")))
			w.tree(t, "data/file")
			w.emptyTrash(t)
			before := w.snapshot(t)
			must(t, w.Delete(t.Context(), old))
			w.untouched(t, before)
		})
	}
}

var _ Directories = &faulty{}
