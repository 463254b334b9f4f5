package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// hang is a call of an operation that gets no answer until release. It is
// carried out then, or was before.
type hang struct {
	n       int // which call
	after   bool
	release chan struct{}
	hit     atomic.Pointer[string] // the call
}

// call is the hook of hanging. An operation that was given up comes no further.
func (h *hang) call(ctx context.Context, method string, do func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if h.n--; h.n != 0 {
		return do()
	}
	h.hit.Store(&method)
	if !h.after {
		<-h.release
		return do()
	}
	err := do()
	<-h.release
	return err
}

// lateWorld is a share with a real keeper, on which one call hangs.
type lateWorld struct {
	*world
	keeper *keeper.Keeper
	hang   *hang
}

// lateSite puts the hanging call between an operation and its share.
type lateSite struct {
	kept
	w *lateWorld
}

func (s lateSite) Background(ctx context.Context, name string, work Work) error {
	return s.Do(ctx, name, work)
}

func (s lateSite) Do(ctx context.Context, name string, work Work) error {
	h := s.w.hang
	return s.Keeper.Do(ctx, name, func(ctx context.Context, do, undo keeper.View) (func(bool), error) {
		if h == nil {
			return work(ctx, Files{do.Dirs, do.Records}, Files{undo.Dirs, undo.Records})
		}
		// The call itself has begun before it is given up, so it is not refused.
		dirs := &faulty{Share: undo.Dirs, step: func(method string, call func() error, _ func()) error { return h.call(ctx, method, call) }}
		records := &lateRecords{undo.Records, func(method string, call func() error) error { return h.call(ctx, method, call) }}
		return work(ctx, Files{dirs, records}, Files{undo.Dirs, undo.Records})
	})
}

// lateRecords is a ledger on which step runs in place of each call that is about one
// path.
type lateRecords struct {
	*ledger.Ledger
	step func(method string, do func() error) error
}

func (l *lateRecords) Lookup(p volpath.Path) (r ledger.Record, found bool, err error) {
	err = l.step("Lookup", func() error { r, found, err = l.Ledger.Lookup(p); return err })
	return r, found, err
}

func (l *lateRecords) CheckAbove(p volpath.Path, r ledger.Record) error {
	return l.step("CheckAbove", func() error { return l.Ledger.CheckAbove(p, r) })
}

func (l *lateRecords) CheckBelow(p volpath.Path, r ledger.Record) error {
	return l.step("CheckBelow", func() error { return l.Ledger.CheckBelow(p, r) })
}

func (l *lateRecords) Claim(p volpath.Path, r ledger.Record, adopt bool) (claimed ledger.Record, err error) {
	err = l.step("Claim", func() error { claimed, err = l.Ledger.Claim(p, r, adopt); return err })
	return claimed, err
}

func (l *lateRecords) Activate(p volpath.Path, r ledger.Record) error {
	return l.step("Activate", func() error { return l.Ledger.Activate(p, r) })
}

func (l *lateRecords) Retain(p volpath.Path, r ledger.Record) error {
	return l.step("Retain", func() error { return l.Ledger.Retain(p, r) })
}

func (l *lateRecords) Archive(p volpath.Path, r ledger.Record) error {
	return l.step("Archive", func() error { return l.Ledger.Archive(p, r) })
}

func (l *lateRecords) Discard(p volpath.Path, name string) error {
	return l.step("Discard", func() error { return l.Ledger.Discard(p, name) })
}

func (l *lateRecords) Forget(p volpath.Path) error {
	return l.step("Forget", func() error { return l.Ledger.Forget(p) })
}

func (l *lateRecords) Parent(p volpath.Path) (r ledger.Parent, found bool, err error) {
	err = l.step("Parent", func() error { r, found, err = l.Ledger.Parent(p); return err })
	return r, found, err
}

func (l *lateRecords) BeginParent(p volpath.Path) error {
	return l.step("BeginParent", func() error { return l.Ledger.BeginParent(p) })
}

func (l *lateRecords) MadeParent(p volpath.Path, id share.FileID) error {
	return l.step("MadeParent", func() error { return l.Ledger.MadeParent(p, id) })
}

func (l *lateRecords) ForgetParent(p volpath.Path) error {
	return l.step("ForgetParent", func() error { return l.Ledger.ForgetParent(p) })
}

// shareTimeout is much longer than a call takes.
func shareTimeout() time.Duration { return time.Duration(times(400, 1000)) * time.Millisecond }

func newLateWorld(t *testing.T) *lateWorld {
	t.Helper()
	w := &lateWorld{world: newWorld(t)}
	w.keeper = keeper.New(keeper.Config{
		Mount: share.Mount{Dir: w.dir, Source: w.source()}, NewID: "share-1", Timeout: shareTimeout(), Slots: 4, Changed: func() {},
		Known: func() ([]volpath.Path, bool) { return nil, true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go w.keeper.Run(ctx)
	must(t, w.keeper.WaitReady(t.Context()))
	w.Provisioner = New(cluster, w.seen, lateSite{kept{w.keeper}, w}).Provisioners()[0]
	return w
}

// hangAt runs the operation with its n-th call hanging, and reports whether it
// has that many.
func (w *lateWorld) hangAt(t *testing.T, n int, after bool, run func() error) bool {
	t.Helper()
	w.hang = &hang{n: n, after: after, release: make(chan struct{})}
	h := w.hang
	err := run()
	w.hang = nil
	if h.hit.Load() == nil {
		must(t, err)
		return false
	}
	refused(t, err, refusal.ReasonStalled, false, "has not answered since")
	if refusing, ok := errors.AsType[*refusal.Refusal](err); !ok || !refusing.Waits() {
		t.Errorf("hung in %s: %v does not wait for the share", *h.hit.Load(), err)
	}
	refused(t, run(), refusal.ReasonBusy, false, "under way") // a repeat before the answer
	close(h.release)
	for end := time.Now().Add(20 * time.Second); w.keeper.Stuck() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("hung in %s: it does not end", *h.hit.Load())
		}
	}
	return true
}

// everyHang runs a story for each call of an operation, hanging before and after
// it is carried out; on a slow share for some of them.
func everyHang(t *testing.T, atLeast int, story func(t *testing.T, n int, after bool) bool) {
	t.Helper()
	step := times(1, 3)
	for first, after := range []bool{false, true} {
		n := 1 + first%step
		for story(t, n, after) {
			n += step
		}
		if n <= atLeast {
			t.Errorf("only %d calls", n-1)
		}
	}
}

func TestAProvisionThatIsAnsweredTooLateLeavesNothing(t *testing.T) {
	for name, more := range map[string][]string{"a new directory": nil, "an adopted one": {"onExisting", "adopt"}} {
		t.Run(name, func(t *testing.T) {
			want := []string{"team"}
			if more != nil {
				want = []string{"team", "team/data", "team/data/file"}
			}
			everyHang(t, 4, func(t *testing.T, n int, after bool) bool {
				w := newLateWorld(t)
				if w.tree(t, "team/"); more != nil {
					w.tree(t, "team/data/file")
				}
				provision := func() error { return w.tryProvision(t, more...) }
				if !w.hangAt(t, n, after, provision) {
					return false
				}
				w.holds(t, want...) // the claim is gone meanwhile
				must(t, provision())
				must(t, provision())
				w.holds(t, append([]string{"team/data = pvc-1 active"}, withData(want)...)...)
				return !t.Failed()
			})
		})
	}
}

func withData(entries []string) []string {
	if len(entries) > 1 {
		return entries
	}
	return append([]string{"team/data"}, entries...)
}

func (w *lateWorld) tryProvision(t *testing.T, more ...string) error {
	t.Helper()
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", more...)))
	return err
}

// A repeat of what was complete before makes nothing, so nothing of it is taken
// back: its PersistentVolume may exist.
func TestALateRepeatOfWhatIsCompleteTakesNothingBack(t *testing.T) {
	everyHang(t, 1, func(t *testing.T, n int, after bool) bool {
		w := newLateWorld(t)
		must(t, w.tryProvision(t))
		hung := w.hangAt(t, n, after, func() error { return w.tryProvision(t) })
		w.holds(t, "team", "team/data", "team/data = pvc-1 active")
		return hung && !t.Failed()
	})
}

// What somebody decides while a release hangs holds from the next call on.
func TestAReleaseThatIsAnsweredTooLateDoesNothingMore(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			everyHang(t, 3, func(t *testing.T, n int, after bool) bool {
				w := newLateWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w.tree(t, "data/file")
				release := func() error { return w.Delete(t.Context(), pv) }
				if !w.hangAt(t, n, after, release) {
					return false
				}
				before := w.snapshot(t)
				kept := pv.DeepCopy()
				kept.Annotations[volume.AnnotationOnDelete] = "retain"
				if strings.Contains(before, "/data/file") && !strings.Contains(before, "archived-ns-data-pvc-1/file") {
					must(t, w.Delete(t.Context(), kept))
					w.holds(t, append(w.archiveRecord(t), "data", "data/file", "data = pvc-1 retained")...)
					return !t.Failed()
				}
				must(t, release())
				must(t, release())
				w.holds(t, w.after(policy)...)
				return !t.Failed()
			})
		})
	}
}

// archiveRecord is what an archive that did not come to be leaves: the record is
// made before the directory is renamed.
func (w *lateWorld) archiveRecord(t *testing.T) (records []string) {
	t.Helper()
	for _, r := range w.records(t) {
		if strings.HasSuffix(r, "archived") {
			records = append(records, r)
		}
	}
	return records
}

func (*lateWorld) after(policy string) []string {
	const archive = "archived-ns-data-pvc-1"
	return map[string][]string{
		"delete": nil, "archive": {archive, archive + "/file", archive + " = pvc-1 archived"}, "retain": {"data", "data/file", "data = pvc-1 retained"},
	}[policy]
}

// A restore that is given up gives the archive back, unless it was complete: the
// repeat finds that.
func TestARestoreThatIsAnsweredTooLateLosesNothing(t *testing.T) {
	archive := []string{"archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived"}
	restored := []string{"data", "data/file-of-pvc-1", "data = pvc-2 active"}
	everyHang(t, 6, func(t *testing.T, n int, after bool) bool {
		w := newLateWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		restore := func() error {
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest))
			return err
		}
		if !w.hangAt(t, n, after, restore) {
			return false
		}
		if records := w.records(t); slices.Contains(records, "data = pvc-2 active") {
			w.has(t, "data/file-of-pvc-1")
		} else {
			w.holds(t, archive...)
		}
		must(t, restore())
		must(t, restore())
		w.holds(t, restored...)
		return !t.Failed()
	})
}
