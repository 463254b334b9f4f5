package provisioner

import (
	"context"
	"errors"
	"os"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

// orphan leaves a record, and an empty directory, as a kill before Activate does.
func (w *world) orphan(t *testing.T, state ledger.State, path string) {
	t.Helper()
	w.provision(t, options("ns/data", "pvc-1", at(path, "mode", "2750")))
	r := w.Record(t, path)
	if r.State = state; state == ledger.Creating {
		r.Directory = nil
	}
	must(t, w.Store(t).Records.Update(sharetest.PathOf(t, path), r))
}

func TestRemoveOrphanKeepsWhatIsNoOrphan(t *testing.T) {
	needed := errors.New("somebody needs it")
	for name, tt := range map[string]struct {
		set   func(t *testing.T, w *world)
		check steps.Check
		err   error
	}{
		"no record":   {set: func(t *testing.T, w *world) { w.Tree(t, "data/") }, err: steps.ErrNoOrphan},
		"it is kept":  {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Retained, "data") }, err: steps.ErrNoOrphan},
		"needed":      {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Active, "data") }, check: func(context.Context, ledger.Record) error { return needed }, err: needed},
		"it has data": {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Active, "data"); w.Tree(t, "data/file") }, err: steps.ErrOrphanKept},
		"another cluster's": {set: func(t *testing.T, w *world) {
			w.beside(t, "elsewhere").orphan(t, ledger.Active, "data")
		}, check: func(_ context.Context, r ledger.Record) error { return isOurs(r) }, err: steps.ErrNoOrphan},
		"a volume lies inside": {set: func(t *testing.T, w *world) {
			w.orphan(t, ledger.Active, "data")
			inside := w.provision(t, options("ns/other", "pvc-2", at("data2")))
			inside.Spec.NFS.Path = "/export/data/inside"
			w.Seen.PVs = append(w.Seen.PVs, inside)
		}, err: nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(t, w)
			check := tt.check
			if check == nil {
				check = nobody
			}
			before := w.Snapshot(t)
			err := w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, check) })
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			w.Untouched(t, before)
		})
	}
}

// What lies inside another volume is that one's.
func TestAnOrphanInsideALaterVolumeOnlyLosesItsRecord(t *testing.T) {
	w := newWorld(t)
	w.cutOffBefore(t, "make x", func() { _, _, _ = w.Provision(t.Context(), options("b/x", "pvc-2", at("team/x"))) })
	above := w.provision(t, options("a/team", "pvc-1", at("team", "onDelete", "delete")))
	w.Tree(t, "team/x/")
	refused(t, w.Delete(t.Context(), above), refusal.ReasonTaken, false, "pvc-2")
	must(t, w.orphanGoes(t, "team/x"))
	w.Holds(t, "team", "team/x", "team = pvc-1 active")
	must(t, w.Delete(t.Context(), above))
	w.Holds(t)
}

func TestRemoveOrphanWaitsForNobody(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Creating, "data")
	must(t, w.onPathOf(t, "data", func(context.Context, steps.Op) error {
		refused(t, w.orphanGoes(t, "data"), refusal.ReasonBusy, false) //nolint:contextcheck // the test's context is the right one
		return nil
	}))
	must(t, w.orphanGoes(t, "data"))
	w.Holds(t)
}

// A claim of the same name may come at any moment while a process without lease and
// lock removes what an earlier one left, and at any moment its volume may be made:
// the volume is whole in the end.
func TestRemoveOrphanBesideAProvisioner(t *testing.T) {
	for n, more := 1, true; more; n += sharetest.Times(1, 5) {
		w := newWorld(t)
		w.orphan(t, ledger.Creating, "data")
		other, made, met := w.beside(t, sharetest.Cluster), 0, ""
		w.Hook(func(name string, do func() error) error {
			if made++; made == n {
				met = name
				other.provision(t, options("ns/data", "pvc-2", at("data", "mode", "2750")))
			}
			return do()
		})
		err := w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, onlyFirst) })
		w.Hook(nil)
		if more = met != ""; !more {
			must(t, err)
			if n < 10 {
				t.Errorf("only %d calls", n)
			}
			continue
		}
		if err != nil && !errors.Is(err, steps.ErrNoOrphan) && !errors.Is(err, share.ErrChanged) {
			t.Errorf("before %s: %v", met, err)
		}
		w.sweep(t)
		w.Holds(t, "data", "data = pvc-2 active")
		if t.Failed() {
			t.Fatalf("before %s: %v", met, err)
		}
		if mode := w.ModeOf(t, "data"); mode.Perm() != 0o750 || mode&os.ModeSetgid == 0 {
			t.Errorf("it has mode %v", mode)
		}
		if t.Failed() {
			t.Fatalf("before %s", met)
		}
	}
}

func TestArchiveOrphan(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	want := []string{archive, archive + "/file", archive + " = pvc-1 archived"}
	run := func(w *world) (string, error) { return w.archiveOrphan(t) }
	w := newWorld(t)
	w.orphan(t, ledger.Active, "data")
	w.Tree(t, "data/file")
	if got, err := run(w); err != nil || got != archive {
		t.Error(got, err)
	}
	w.Holds(t, want...)
	if r := w.Record(t, archive); r.Origin != "data" || r.Released == nil {
		t.Errorf("%+v", r)
	}
	if _, err := run(w); !errors.Is(err, steps.ErrNoOrphan) {
		t.Error(err)
	}
	for n := 1; ; n += sharetest.Times(1, 7) { // killed anywhere, a repeat completes it
		w := newWorld(t)
		w.orphan(t, ledger.Active, "data")
		w.Tree(t, "data/file")
		if !w.CutOff(&sharetest.Fault{N: n, Kill: true}, func() error { _, err := run(w); return err }) {
			break
		}
		w.restart(t)
		w.sweep(t)
		if _, err := run(w); err != nil && !errors.Is(err, steps.ErrNoOrphan) {
			t.Error(err)
		}
		w.Holds(t, want...)
	}
}

// A claim of the same name takes the path when the orphan's record has left it.
func TestArchiveOrphanBesideAProvisioner(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Active, "data")
	w.Tree(t, "data/file")
	other := w.beside(t, sharetest.Cluster)
	w.Hook(func(name string, do func() error) error {
		err := do()
		if name == "unlink "+w.recordName("pvc-1") {
			other.provision(t, options("ns/data", "pvc-2", at("data")))
		}
		return err
	})
	_, err := w.archiveOrphan(t)
	must(t, err)
	w.Hook(nil)
	const archive = "archived-ns-data-pvc-1"
	w.Holds(t, archive, archive+"/file", archive+" = pvc-1 archived", "data", "data = pvc-2 active")
}

func (w *world) archiveOrphan(t *testing.T) (archive string, err error) {
	t.Helper()
	err = w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) (err error) {
		archive, err = op.ArchiveOrphan(ctx, nobody)
		return err
	})
	return archive, err
}

// isOurs is what those who remove orphans ask first.
func isOurs(r ledger.Record) error {
	if r.Cluster != sharetest.Cluster {
		return steps.ErrNoOrphan
	}
	return nil
}

func TestRemoveMissing(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Retained, "data")
	remove := func(check steps.Check) error {
		return w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error { return op.RemoveMissing(ctx, check) })
	}
	if err := remove(nobody); !errors.Is(err, steps.ErrNoOrphan) { // its directory is there
		t.Error(err)
	}
	must(t, os.Remove(w.Dir+"/data"))
	if err := remove(func(context.Context, ledger.Record) error { return sharetest.ErrCut }); !errors.Is(err, sharetest.ErrCut) {
		t.Error(err)
	}
	w.Holds(t, "data = pvc-1 retained")
	// A record that cannot be read may be that of a claim that gets an archive, but no
	// claim gets a retained directory by rename.
	w.Tree(t, ".claimdir/records/bad/bad.json")
	must(t, remove(nobody))
	must(t, os.RemoveAll(w.Dir+"/.claimdir/records/bad"))
	w.Holds(t)
	if err := remove(nobody); !errors.Is(err, steps.ErrNoOrphan) {
		t.Error(err)
	}
	w.orphan(t, ledger.Active, "data")
	if err := remove(nobody); !errors.Is(err, steps.ErrNoOrphan) {
		t.Error(err)
	}
}

// An archive's first name was taken; then its directory went by hand.
func TestReleaseGivesBackTheNameOfAnArchiveThatNeverCame(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.Tree(t, "archived-ns-data-pvc-1/by-hand")
	for n := 1; ; n++ {
		if !w.CutOff(&sharetest.Fault{N: n, Kill: true}, func() error { return w.Delete(t.Context(), pv) }) {
			t.Fatal("the record of the archive was never alone")
		}
		w.restart(t)
		if len(w.Records(t)) == 2 {
			break
		}
	}
	w.sweep(t)
	must(t, os.Remove(w.Dir+"/data"))
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/by-hand")
}

// A claim goes whose volume was to adopt a directory, and claimdir was killed before
// that was one: it is the administrator's still.
func TestAnOrphanThatWasToAdoptLeavesTheDirectoryAlone(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "data/file")
	r := ledger.Record{State: ledger.Creating, PV: "pvc-1", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "gone"}, Adopted: true, Policy: "archive", ArchiveRetention: "1h"}
	_, err := w.Store(t).Records.Take(sharetest.PathOf(t, "data"), r, true)
	must(t, err)
	if _, err := w.archiveOrphan(t); !errors.Is(err, steps.ErrNoOrphan) {
		t.Errorf("archived: %v", err)
	}
	w.Holds(t, "data", "data/file", "data = pvc-1 creating")
	must(t, w.orphanGoes(t, "data"))
	w.Holds(t, "data", "data/file")
}

// Nobody released it, so nothing said that its data may go.
func TestTheArchiveOfAnOrphanDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/data", "pvc-1", at("data", "archiveRetention", "1h")))
	w.Tree(t, "data/file")
	archive, err := w.archiveOrphan(t)
	must(t, err)
	if r := w.Record(t, archive); r.Until != nil || r.ArchiveRetention != "" {
		t.Errorf("it ends at %v (%q)", r.Until, r.ArchiveRetention)
	}
}
