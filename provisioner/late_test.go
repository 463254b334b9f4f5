package provisioner

import (
	"errors"
	"slices"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// These tests hang one call of an operation until the keeper has given the operation up.
// The call is carried out late, or was before; then the operation ends, and what it left
// is found: by a repeat, or by the sweep, if nobody comes back for it.

// lateTimeout is much longer than a call takes.
func lateTimeout() time.Duration { return time.Duration(times(300, 1000)) * time.Millisecond }

// newLateWorld is a share whose calls are given up soon.
func newLateWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.WithTimeout(lateTimeout())
	w.restart(t)
	return w
}

// hangAt runs the operation with its n-th call hanging, and reports whether it has that
// many.
func (w *world) hangAt(t *testing.T, n int, after bool, run func() error) bool {
	t.Helper()
	h := suspend(n, after, false)
	w.Hook(h.call)
	err := run()
	w.Hook(nil)
	select {
	case <-h.at:
	default:
		must(t, err)
		return false
	}
	refused(t, err, refusal.ReasonStalled, false, "has not answered since")
	if refusing, ok := errors.AsType[*refusal.Refusal](err); !ok || !refusing.Waits() {
		t.Errorf("hung in %s: %v does not wait for the share", h.where, err)
	}
	if n > 1 { // the operation has its path
		refused(t, run(), refusal.ReasonBusy, false, "under way") // a repeat before the answer
	}
	close(h.resume)
	for end := time.Now().Add(20 * time.Second); w.Keeper.Stuck() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("hung in %s: it does not end", h.where)
		}
	}
	w.sweep(t)
	return true
}

// everyHang runs a story for the calls of an operation, hanging before and after it is
// carried out; each story twice: it is repeated, or nobody comes back.
func everyHang(t *testing.T, atLeast int, story func(t *testing.T, n int, after, gone bool) bool) {
	t.Helper()
	t.Parallel()
	step := times(4, 16)
	for first, after := range []bool{false, true} {
		n := 1 + first
		for turn := 0; story(t, n, after, turn%2 > 0); turn++ {
			n += step
		}
		if t.Failed() {
			t.Fatalf("call %d, after it %v", n, after)
		}
		if n <= atLeast {
			t.Errorf("only %d calls", n-1)
		}
	}
}

// goes is what the sweep does about a path whose claim is gone.
func (w *world) goes(t *testing.T, path string) {
	t.Helper()
	if err := w.orphanGoes(t, path); err != nil && !errors.Is(err, steps.ErrNoOrphan) && !errors.Is(err, steps.ErrOrphanKept) {
		t.Error(err)
	}
	w.sweep(t)
}

func TestAProvisionThatIsAnsweredTooLateIsFound(t *testing.T) {
	for name, more := range map[string][]string{"a new directory": nil, "an adopted one": {"onExisting", "adopt"}} {
		t.Run(name, func(t *testing.T) {
			everyHang(t, 15, func(t *testing.T, n int, after, gone bool) bool {
				w := newLateWorld(t)
				before, made := []string{"team"}, []string{"team", "team/data", "team/data = pvc-1 active"}
				if w.Tree(t, "team/"); more != nil {
					w.Tree(t, "team/data/file")
					before, made = []string{"team", "team/data", "team/data/file"}, append(made, "team/data/file")
				}
				provision := func() error { return w.tryProvision(t, more...) }
				if !w.hangAt(t, n, after, provision) {
					return false
				}
				if gone {
					complete := slices.Contains(w.Records(t), "team/data = pvc-1 active")
					w.goes(t, "team/data")
					if more != nil && complete { // it was there before the volume, which doctor names
						before = made
					}
					w.Holds(t, before...)
				}
				must(t, provision())
				must(t, provision())
				w.sweep(t)
				w.Holds(t, made...)
				return !t.Failed()
			})
		})
	}
}

func (w *world) tryProvision(t *testing.T, more ...string) error {
	t.Helper()
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", more...)))
	return err
}

// A repeat of what was complete before makes nothing, so nothing of it is taken
// back: its PersistentVolume may exist.
func TestALateRepeatOfWhatIsCompleteTakesNothingBack(t *testing.T) {
	everyHang(t, 4, func(t *testing.T, n int, after, _ bool) bool {
		w := newLateWorld(t)
		must(t, w.tryProvision(t))
		hung := w.hangAt(t, n, after, func() error { return w.tryProvision(t) })
		w.Holds(t, "team", "team/data", "team/data = pvc-1 active")
		return hung && !t.Failed()
	})
}

// What somebody decides while a release hangs holds from the next call on.
func TestAReleaseThatIsAnsweredTooLateDoesNothingMore(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	ends := map[string][]string{"delete": nil, "archive": {archive, archive + "/file", archive + " = pvc-1 archived"}, "retain": {"data", "data/file", "data = pvc-1 retained"}}
	for policy, want := range ends {
		t.Run(policy, func(t *testing.T) {
			everyHang(t, 8, func(t *testing.T, n int, after, decides bool) bool {
				w := newLateWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w.Tree(t, "data/file")
				release := func() error { return w.Delete(t.Context(), pv) }
				if !w.hangAt(t, n, after, release) {
					return false
				}
				if decides && slices.Contains(w.Records(t), "data = pvc-1 active") {
					kept := pv.DeepCopy()
					kept.Annotations[volume.AnnotationOnDelete] = "retain"
					must(t, w.Delete(t.Context(), kept))
					w.sweep(t)
					w.Holds(t, ends["retain"]...) // and no record of an archive that did not come to be
					return !t.Failed()
				}
				must(t, release())
				must(t, release())
				w.EmptyTrash(t)
				w.sweep(t)
				w.Holds(t, want...)
				return !t.Failed()
			})
		})
	}
}

// A restore that is given up is completed by the repeat; where none comes, the sweep gives
// the archive back, unless it was complete.
func TestARestoreThatIsAnsweredTooLateLosesNothing(t *testing.T) {
	archive := []string{"archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived"}
	restored := []string{"data", "data/file-of-pvc-1", "data = pvc-2 active"}
	everyHang(t, 25, func(t *testing.T, n int, after, gone bool) bool {
		w := newLateWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		restore := func() error {
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest))
			return err
		}
		if !w.hangAt(t, n, after, restore) {
			return false
		}
		if gone {
			w.goes(t, "data")
			if r, found, err := w.Store(t).Records.Lookup(sharetest.PathOf(t, "data")); err == nil && found && r.State == ledger.Active {
				w.has(t, "data/file-of-pvc-1")
			} else {
				w.Holds(t, archive...)
			}
		}
		must(t, restore())
		must(t, restore())
		w.sweep(t)
		w.Holds(t, restored...)
		return !t.Failed()
	})
}
