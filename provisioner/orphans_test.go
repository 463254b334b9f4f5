package provisioner

import (
	"context"
	"errors"
	"os"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
)

func nobody(context.Context, ledger.Record) error { return nil }

// orphan leaves a record, and an empty directory, as a kill before Activate does.
func (w *world) orphan(t *testing.T, state ledger.State, path string) {
	t.Helper()
	w.provision(t, options("ns/data", "pvc-1", at(path, "mode", "2750")))
	r := w.record(t, path)
	r.State = state
	must(t, os.Remove(w.dir+"/.claimdir/volumes/"+path+".json"))
	_, err := w.ledger.Claim(pathOf(t, path), r, false)
	must(t, err)
}

func TestRemoveOrphanKeepsWhatIsNoOrphan(t *testing.T) {
	needed := errors.New("somebody needs it")
	for name, tt := range map[string]struct {
		set   func(t *testing.T, w *world)
		check Check
		err   error
	}{
		"no record":   {set: func(t *testing.T, w *world) { w.tree(t, "data/") }, err: ErrNoOrphan},
		"it is kept":  {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Retained, "data") }, err: ErrNoOrphan},
		"needed":      {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Active, "data") }, check: func(context.Context, ledger.Record) error { return needed }, err: needed},
		"it has data": {set: func(t *testing.T, w *world) { w.orphan(t, ledger.Active, "data"); w.tree(t, "data/file") }, err: ErrOrphanKept},
		"another cluster's": {set: func(t *testing.T, w *world) {
			w.orphan(t, ledger.Active, "data")
			r := w.record(t, "data")
			r.Cluster = "elsewhere"
			must(t, w.ledger.Activate(pathOf(t, "data"), r))
		}, err: ErrNoOrphan},
		"a volume lies inside": {set: func(t *testing.T, w *world) {
			w.orphan(t, ledger.Active, "data")
			inside := w.provision(t, options("ns/other", "pvc-2", at("data2")))
			inside.Spec.NFS.Path = "/export/data/inside"
			w.seen.volumes = append(w.seen.volumes, inside)
		}, err: nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(t, w)
			check := tt.check
			if check == nil {
				check = nobody
			}
			before := w.snapshot(t)
			err := w.RemoveOrphan(t.Context(), w.site, pathOf(t, "data"), check)
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			w.untouched(t, before)
		})
	}
}

// What lies inside another volume is that one's.
func TestAnOrphanInsideALaterVolumeOnlyLosesItsRecord(t *testing.T) {
	w := newWorld(t)
	w.cutOffAfter(t, "FinishedParents", func() { _, _, _ = w.Provision(t.Context(), options("b/x", "pvc-2", at("team/x"))) })
	above := w.provision(t, options("a/team", "pvc-1", at("team", "onDelete", "delete")))
	w.tree(t, "team/x/")
	refused(t, w.Delete(t.Context(), above), refusal.ReasonTaken, false, "pvc-2")
	must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "team/x"), nobody))
	w.holds(t, "team", "team/x", "team = pvc-1 active")
	must(t, w.Delete(t.Context(), above))
	w.holds(t)
}

func TestRemoveOrphanWaitsForNobody(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Creating, "data")
	unlock, err := w.lock(w.site.ID(), pathOf(t, "data"))
	must(t, err)
	refused(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "data"), nobody), refusal.ReasonBusy, false)
	unlock()
	must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "data"), nobody))
	w.holds(t)
}

// A claim of the same name may come at any moment while a process without lease and
// lock removes what an earlier one left, and at any moment its volume may be made:
// the volume is whole in the end.
func TestRemoveOrphanBesideAProvisioner(t *testing.T) {
	come := func(t *testing.T, w *world) func() {
		return func() {
			other := newWorldOn(t, w.dir)
			other.provision(t, options("ns/data", "pvc-2", at("data", "mode", "2750")))
		}
	}
	for name, at := range map[string]struct {
		method string
		after  bool
	}{"before Exists": {"Exists", false}, "before RemoveEmpty": {"RemoveEmpty", false}, "after RemoveEmpty": {"RemoveEmpty", true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orphan(t, ledger.Creating, "data")
			makeVolume := come(t, w)
			w.dirs.step = func(method string, do func() error, _ func()) error {
				if method != at.method {
					return do()
				}
				var err error
				if at.after {
					err = do()
				}
				makeVolume()
				if !at.after {
					err = do()
				}
				return err
			}
			err := RemoveOrphan(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), nobody)
			w.dirs.step = nil
			if !errors.Is(err, ErrNoOrphan) {
				t.Error(err)
			}
			w.holds(t, "data", "data = pvc-2 active")
			if mode := w.modeOf(t, "data"); mode.Perm() != 0o750 || mode&os.ModeSetgid == 0 {
				t.Errorf("it has mode %v", mode)
			}
		})
	}
}

// What the new volume gets by rename is not made.
func TestNothingIsMadeAgainWhereAnArchiveIsToCome(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	w.cutOffBefore(t, "FinishedParents", func() { _, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), "pvc-1")) })
	must(t, makeAgain(Files{w.dirs, w.ledger}, pathOf(t, "data")))
	w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived", "data = pvc-2 creating")
}

func newWorldOn(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{dir: dir, seen: &seen{}}
	w.restart(t)
	return w
}

func TestArchiveOrphan(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	want := []string{archive, archive + "/file", archive + " = pvc-1 archived"}
	run := func(w *world) (volpath.Path, error) {
		return ArchiveOrphan(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), nobody)
	}
	w := newWorld(t)
	w.orphan(t, ledger.Active, "data")
	w.tree(t, "data/file")
	if got, err := run(w); err != nil || got.String() != archive {
		t.Error(got, err)
	}
	w.holds(t, want...)
	if r := w.record(t, archive); r.Origin != "data" || r.Released == nil {
		t.Errorf("%+v", r)
	}
	if _, err := run(w); !errors.Is(err, ErrNoOrphan) {
		t.Error(err)
	}
	for n := 1; ; n++ { // killed anywhere, a repeat completes it
		w := newWorld(t)
		w.orphan(t, ledger.Active, "data")
		w.tree(t, "data/file")
		if !w.cutOff(t, &fault{n: n, kill: true}, func() error { _, err := run(w); return err }) {
			break
		}
		w.restart(t)
		if _, err := run(w); err != nil && !errors.Is(err, ErrNoOrphan) {
			t.Error(err)
		}
		w.holds(t, want...)
	}
}

// A claim of the same name takes the path when the directory has left it.
func TestArchiveOrphanBesideAProvisioner(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Creating, "data")
	w.tree(t, "data/file")
	w.dirs.step = func(method string, do func() error, _ func()) error {
		err := do()
		if method == "Rename" {
			newWorldOn(t, w.dir).provision(t, options("ns/data", "pvc-2", at("data")))
		}
		return err
	}
	_, err := ArchiveOrphan(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), nobody)
	must(t, err)
	w.dirs.step = nil
	const archive = "archived-ns-data-pvc-1"
	w.holds(t, archive, archive+"/file", archive+" = pvc-1 archived", "data", "data = pvc-2 active")
}

func TestForgetMissing(t *testing.T) {
	w := newWorld(t)
	w.orphan(t, ledger.Retained, "data")
	forget := func(check Check) error {
		return ForgetMissing(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), check)
	}
	if err := forget(nobody); !errors.Is(err, ErrNoOrphan) { // its directory is there
		t.Error(err)
	}
	must(t, os.Remove(w.dir+"/data"))
	if err := forget(func(context.Context, ledger.Record) error { return errCut }); !errors.Is(err, errCut) {
		t.Error(err)
	}
	w.holds(t, "data = pvc-1 retained")
	// A record that cannot be read may be that of a claim that gets an archive, but no
	// claim gets a retained directory by rename.
	w.tree(t, ".claimdir/volumes/bad.json")
	must(t, forget(nobody))
	must(t, os.Remove(w.dir+"/.claimdir/volumes/bad.json"))
	w.holds(t)
	if err := forget(nobody); !errors.Is(err, ErrNoOrphan) {
		t.Error(err)
	}
	w.orphan(t, ledger.Active, "data")
	if err := forget(nobody); !errors.Is(err, ErrNoOrphan) {
		t.Error(err)
	}
}

// An archive's first name was taken; then its directory went by hand.
func TestReleaseGivesBackTheNameOfAnArchiveThatNeverCame(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.tree(t, "archived-ns-data-pvc-1/by-hand")
	for n := 1; ; n++ {
		if !w.cutOff(t, &fault{n: n, kill: true}, func() error { return w.Delete(t.Context(), pv) }) {
			t.Fatal("the record of the archive was never alone")
		}
		w.restart(t)
		if len(w.records(t)) == 2 {
			break
		}
	}
	must(t, os.Remove(w.dir+"/data"))
	must(t, w.Delete(t.Context(), pv))
	w.holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/by-hand")
}

// A claim goes whose volume was to adopt a directory, and claimdir was killed before
// that was one: it is the administrator's still.
func TestAnOrphanThatWasToAdoptLeavesTheDirectoryAlone(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "data/file")
	r := ledger.Record{State: ledger.Creating, PV: "pvc-1", Cluster: cluster, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "gone"}, Adopted: true, Policy: "archive", ArchiveRetention: "1h"}
	_, err := w.ledger.Claim(pathOf(t, "data"), r, true)
	must(t, err)
	if _, err := ArchiveOrphan(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), nobody); !errors.Is(err, ErrNoOrphan) {
		t.Errorf("archived: %v", err)
	}
	w.holds(t, "data", "data/file", "data = pvc-1 creating")
	must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "data"), nobody))
	w.holds(t, "data", "data/file")
}

// Nobody released it, so nothing said that its data may go.
func TestTheArchiveOfAnOrphanDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/data", "pvc-1", at("data", "archiveRetention", "1h")))
	w.tree(t, "data/file")
	archive, err := ArchiveOrphan(t.Context(), Files{w.dirs, w.ledger}, pathOf(t, "data"), nobody)
	must(t, err)
	if r := w.record(t, archive.String()); r.Until != nil || r.ArchiveRetention != "" {
		t.Errorf("it ends at %v (%q)", r.Until, r.ArchiveRetention)
	}
}
