package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// archived makes a volume with a file and releases it into an archive.
func (w *world) archived(t *testing.T, claim, pv string) (archive string) {
	t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	made := w.provision(t, options(claim, pv, at("made-${.PV.name}")))
	w.tree(t, "made-"+pv+"/file-of-"+pv)
	must(t, w.Delete(t.Context(), made))
	return "archived-" + namespace + "-" + name + "-" + pv
}

// asks is the claim with the annotation.
func asks(o controller.ProvisionOptions, archive string) controller.ProvisionOptions {
	o.PVC.Annotations = map[string]string{volume.AnnotationRestore: archive}
	return o
}

func TestAClaimGetsItsArchiveBack(t *testing.T) {
	for name, asked := range map[string]string{"by name": "pvc-1", "the latest": volume.RestoreLatest} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			must(t, os.Chmod(w.dir+"/archived-ns-data-pvc-1", 0o700))
			pv := w.provision(t, asks(options("ns/data", "pvc-2", at("deep/er/data", "mode", "0777", "archiveRetention", "720h")), asked))
			w.holds(t, "deep", "deep/er", "deep/er/data", "deep/er/data/file-of-pvc-1", "deep/er/data = pvc-2 active")
			if mode := w.modeOf(t, "deep/er/data").Perm(); mode != 0o700 {
				t.Errorf("the data's mode was changed to %v", mode)
			}
			must(t, w.Delete(t.Context(), pv))
			archive := "archived-ns-data-pvc-2"
			w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-2 archived")
			if r := w.record(t, archive); r.RestoredFrom != "" || r.Until == nil || r.Until.Sub(*r.Released) != 720*time.Hour {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Also of two that were made within one second, whatever their names.
func TestTheLatestArchiveIsTheNewestOfTheClaim(t *testing.T) {
	w := newWorld(t)
	for i, claim := range []string{"ns/data", "ns/data", "ns/other", "elsewhere/data"} {
		w.archived(t, claim, "pvc-"+string(rune('4'-i)))
	}
	w.provision(t, asks(options("ns/data", "pvc-9", at("data")), volume.RestoreLatest))
	if r := w.record(t, "data"); r.RestoredFrom != "archived-ns-data-pvc-3" {
		t.Errorf("restored %q", r.RestoredFrom)
	}
	if _, err := os.Stat(w.dir + "/data/file-of-pvc-3"); err != nil {
		t.Error(err)
	}
}

// writeRecord puts a record in the place of that of its path.
func (w *world) writeRecord(t *testing.T, r ledger.Record) {
	t.Helper()
	data, err := json.Marshal(r)
	must(t, err)
	must(t, w.dirs.ReplaceMeta("volumes/"+r.Path+".json", data))
}

func TestWishesThatCannotBeFulfilledTouchNothing(t *testing.T) {
	other := "cluster-2"
	for name, tt := range map[string]struct {
		asked string
		final bool
		says  []string
	}{
		"no such archive":                 {asked: "pvc-77", says: []string{`volume "pvc-77"`, "pvc-1 (claim data, since ", "pvc-4 (claim more"}},
		"another namespace's":             {asked: "pvc-2", says: []string{`no archive of volume "pvc-2"`}},
		"another cluster's":               {asked: "pvc-3", says: []string{`no archive of volume "pvc-3"`, "onExisting: adopt"}},
		"an empty wish":                   {asked: "", final: true, says: []string{volume.AnnotationRestore, "has 0 bytes", `"latest"`}},
		"a way out":                       {asked: "../archived-ns-data-pvc-1", says: []string{"no archive of"}},
		"the latest of a claim with none": {asked: volume.RestoreLatest, says: []string{`no archive of claim "fresh"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			w.archived(t, "ns2/data", "pvc-2")
			w.archived(t, "ns/more", "pvc-4")
			use := w.Provisioner
			w.Provisioner = New(other, w.seen, direct{w.source(), Files{w.dirs, w.ledger}}).Provisioners()[0]
			w.archived(t, "ns/data", "pvc-3")
			w.Provisioner = use
			before := w.snapshot(t)
			_, _, err := w.Provision(t.Context(), asks(options("ns/fresh", "pvc-9", at("data")), tt.asked))
			refused(t, err, refusal.ReasonArchive, tt.final, tt.says...)
			if strings.Contains(err.Error(), "ns2") || strings.Contains(err.Error(), "pvc-2 (") || strings.Contains(err.Error(), "pvc-3 (") {
				t.Errorf("it tells of others' archives: %v", err)
			}
			w.untouched(t, before)
		})
	}
}

func TestAnArchiveOfALostClusterComesBackWhereTheClassAdopts(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.Provisioner = New("cluster-2", w.seen, direct{w.source(), Files{w.dirs, w.ledger}}).Provisioners()[0]
	w.provision(t, asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), "pvc-1"))
	w.holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
}

func TestOneOfTwoClaimsGetsTheArchive(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	results := make(chan error)
	for _, pv := range []string{"pvc-2", "pvc-3"} {
		go func() {
			_, _, err := w.Provision(context.WithoutCancel(t.Context()), asks(options("ns/"+pv, pv, at("${.PV.name}")), "pvc-1"))
			results <- err
		}()
	}
	errs := []error{<-results, <-results}
	if errs[0] != nil {
		slices.Reverse(errs)
	}
	if errs[0] != nil {
		t.Fatal(errs)
	}
	refused(t, errs[1], refusal.ReasonArchive, false)
	if records := w.records(t); len(records) != 1 || !strings.HasSuffix(records[0], "active") {
		t.Errorf("records %q", records)
	}
}

func TestAPathThatIsKeptOrExistsIsNotMixedWithAnArchive(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, w *world){
		"retained": func(t *testing.T, w *world) {
			t.Helper()
			must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-0", at("data", "onDelete", "retain")))))
		},
		"exists": func(t *testing.T, w *world) { t.Helper(); w.tree(t, "data/file") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			before(t, w)
			seen := w.snapshot(t)
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), volume.RestoreLatest))
			refused(t, err, refusal.ReasonTaken, false, `path "data"`)
			w.untouched(t, seen)
		})
	}
}

// released makes the volume pvc-2, which claim data has left and nobody released yet.
func (w *world) released(t *testing.T) *v1.PersistentVolume {
	t.Helper()
	pv := w.provision(t, options("ns/data", "pvc-2", at("two")))
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-pvc-2"}
	pv.Status.Phase = v1.VolumeReleased
	w.seen.volumes = []*v1.PersistentVolume{pv}
	return pv
}

// Kubernetes may be slower than the claim that follows.
func TestTheLatestWaitsForAVolumeThatIsStillBound(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.released(t).Status.Phase = v1.VolumeBound
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest))
	refused(t, err, refusal.ReasonArchive, false, "pvc-2", "not archived yet")
}

func TestTheLatestWaitsForTheVolumeThatIsBeingReleased(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	pv := w.released(t)
	pv.Annotations[volume.AnnotationOnDelete] = "Archive" // as somebody may have typed it
	o := asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest)
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonArchive, false, "pvc-2", "not archived yet")
	must(t, w.Delete(t.Context(), pv))
	w.seen.volumes = nil
	w.provision(t, o)
	w.holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived", "three", "three = pvc-3 active")
}

// Kubernetes keeps a volume with reclaimPolicy: Retain, perhaps for ever.
func TestTheLatestDoesNotWaitForAVolumeThatIsKept(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.released(t).Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	w.provision(t, asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest))
	if r := w.record(t, "three"); r.RestoredFrom != "archived-ns-data-pvc-1" {
		t.Errorf("restored %q", r.RestoredFrom)
	}
}

func TestARestoreSaysWhatIsInItsWay(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	must(t, os.Mkdir(w.dir+"/data", 0o755))
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), "pvc-1"))
	refused(t, err, refusal.ReasonTaken, false, `path "data"`, archive+" cannot be renamed there", "remove the directory")
}

func TestAnArchiveThatAnAdministratorShowsStays(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	w.seen.volumes = []*v1.PersistentVolume{handMade("by-hand", archive)}
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), "pvc-1"))
	refused(t, err, refusal.ReasonTaken, false, "by-hand")
	w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
}

func handMade(name, path string) *v1.PersistentVolume {
	pv := &v1.PersistentVolume{}
	pv.Name = name
	pv.Spec.NFS = &v1.NFSVolumeSource{Server: "nfs.example.com", Path: "/export/" + path}
	return pv
}

func TestRestoringCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		w.archived(t, "ns/data", "pvc-1")
		return func() error {
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("team/data")), volume.RestoreLatest))
			return err
		}
	}, "team", "team/data", "team/data/file-of-pvc-1", "team/data = pvc-2 active")
}

// cutOffAfter kills the process when the first call of the method is done, and
// cutOffBefore instead of it.
func (w *world) cutOffAfter(t *testing.T, method string, call func()) {
	t.Helper()
	w.cutOffIn(t, method, func(do func() error) { _ = do() }, call)
}

func (w *world) cutOffBefore(t *testing.T, method string, call func()) {
	t.Helper()
	w.cutOffIn(t, method, func(func() error) {}, call)
}

func (w *world) cutOffIn(t *testing.T, method string, last func(do func() error), call func()) {
	t.Helper()
	w.dirs.step = func(called string, do func() error, _ func()) error {
		if called != method {
			return do()
		}
		last(do)
		panic(errCut)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Errorf("there was no %s", method)
			}
		}()
		call()
	}()
	w.restart(t)
}

// With the default pattern the next claim of the name has another path.
func TestTheNextClaimGetsWhatAnEarlierOneBeganToRestore(t *testing.T) {
	for _, wish := range []string{"pvc-2", volume.RestoreLatest} {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.archived(t, "ns/data", "pvc-2")
		w.cutOffAfter(t, "Rename", func() { _, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-3", at("three")), wish)) })
		w.has(t, "three/file-of-pvc-2")
		unlock, err := w.lock(w.site.ID(), pathOf(t, "three"))
		must(t, err)
		o := asks(options("ns/data", "pvc-4", at("four")), wish)
		_, _, err = w.Provision(t.Context(), o)
		refused(t, err, refusal.ReasonBusy, false)
		unlock()
		w.provision(t, o)
		w.holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived", "four", "four/file-of-pvc-2", "four = pvc-4 active")
	}
}

// Else a dead claim would take a live one's directory.
func TestWhatAnEarlierClaimHasByNowIsNotGivenBack(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	earlier := asks(options("ns/data", "pvc-3", at("three")), "pvc-1")
	w.cutOffAfter(t, "Rename", func() { _, _, _ = w.Provision(t.Context(), earlier) })
	looks, other := 0, newWorldOn(t, w.dir)
	w.use(Files{w.dirs, restoringThen{w.ledger, func() {
		if looks++; looks == 2 { // the first is findArchive's
			other.provision(t, earlier)
		}
	}}})
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-4", at("four")), "pvc-1"))
	refused(t, err, refusal.ReasonArchive, false)
	w.holds(t, "three", "three/file-of-pvc-1", "three = pvc-3 active")
}

// restoringThen is a ledger on which something happens after each call of Restoring.
type restoringThen struct {
	Records
	then func()
}

func (l restoringThen) Restoring(p volpath.Path) (r ledger.Record, restoring bool, err error) {
	r, restoring, err = l.Records.Restoring(p)
	l.then()
	return r, restoring, err
}

// What was never renamed is not given back: the directory there is somebody else's.
func TestARestoreThatNeverBeganOnlyLosesItsRecord(t *testing.T) {
	began := func(path string) *world {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.cutOffBefore(t, "FinishedParents", func() { _, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at(path)), "pvc-1")) })
		return w
	}
	t.Run("a stranger's directory", func(t *testing.T) {
		w := began("data")
		w.provision(t, asks(options("ns/more", "pvc-3", at("more")), "pvc-1"))
		w.tree(t, "data/by-hand")
		_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), "pvc-1"))
		refused(t, err, refusal.ReasonTaken, false, `path "data" exists`)
		w.holds(t, "data", "data/by-hand", "more", "more/file-of-pvc-1", "more = pvc-3 active")
	})
	t.Run("and the sweep", func(t *testing.T) {
		w := began("data")
		w.provision(t, asks(options("ns/more", "pvc-3", at("more")), "pvc-1"))
		w.tree(t, "data/by-hand")
		must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "data"), nobody))
		w.holds(t, "data", "data/by-hand", "more", "more/file-of-pvc-1", "more = pvc-3 active")
	})
	t.Run("a volume above", func(t *testing.T) {
		w := began("team/data")
		above := w.provision(t, options("a/team", "pvc-9", at("team", "onDelete", "delete")))
		refused(t, w.Delete(t.Context(), above), refusal.ReasonTaken, false, "pvc-2")
		must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "team/data"), nobody))
		must(t, w.Delete(t.Context(), above))
		w.holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived")
	})
}

// Whose claim does not come back, gives it back.
func TestAnOrphanThatWasToGetAnArchiveGivesItBack(t *testing.T) {
	for _, method := range []string{"Rename", "FinishedParents"} {
		w := newWorld(t)
		archive := w.archived(t, "ns/data", "pvc-1")
		must(t, os.Remove(w.dir+"/"+archive+"/file-of-pvc-1")) // also an empty one
		w.cutOffAfter(t, method, func() {
			_, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("team/data")), "pvc-1"))
		})
		must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "team/data"), nobody))
		w.holds(t, archive, archive+" = pvc-1 archived")
	}
}

// A volume that is being made below would find its directory in the archive.
func TestAnArchiveIsNotRenamedAboveAVolume(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "a/team", "pvc-1")
	must(t, os.Mkdir(w.dir+"/"+archive+"/x", 0o700))
	other, met := newWorldOn(t, w.dir), false
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "FinishedParents" && !met {
			met = true
			_, _, err := other.Provision(t.Context(), asks(options("a/team", "pvc-2", at("team")), "pvc-1"))
			refused(t, err, refusal.ReasonTaken, false, "pvc-3")
		}
		return do()
	}
	w.provision(t, options("b/x", "pvc-3", at("team/x", "mode", "0777")))
	if mode := w.modeOf(t, archive+"/x").Perm(); mode != 0o700 || !met {
		t.Errorf("%v, mode %v", met, mode)
	}
	w.has(t, archive+"/file-of-pvc-1")
}

// answerLost is a ledger that completes a record and cannot say so, nor forget it.
type answerLost struct{ Records }

func (answerLost) Forget(volpath.Path) error { return syscall.EIO }

func (l answerLost) Activate(path volpath.Path, r ledger.Record) error {
	return errors.Join(l.Records.Activate(path, r), syscall.EIO)
}

func TestARestoreWhoseCompletionIsUnknownIsCompletedByARepeat(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.use(Files{w.dirs, answerLost{w.ledger}})
	o := asks(options("ns/data", "pvc-2", at("data")), "pvc-1")
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonStorage, false)
	w.use(Files{w.dirs, w.ledger})
	w.provision(t, o)
	w.holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
}

// The text is kept with the event, and an annotation may be large.
func TestAWishThatIsTooLongIsNotRepeated(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-1", at("data")), strings.Repeat("\x01", 250<<10)))
	refused(t, err, refusal.ReasonArchive, true, "has 256000 bytes; allowed are")
	if len(err.Error()) > 300 {
		t.Errorf("the text has %d bytes", len(err.Error()))
	}
}

// The claim goes after its restore was cut off; the next of its name starts anew,
// with or without the wish, and the data is where somebody finds it.
func TestRestoringCutOffForGoodLosesNothing(t *testing.T) {
	for n := 1; ; n += times(1, 4) {
		for _, again := range []bool{true, false} {
			w := newWorld(t)
			archive := w.archived(t, "ns/data", "pvc-1")
			f := &fault{n: n, kill: true}
			o := asks(options("ns/data", "pvc-2", at("data")), "pvc-1")
			if !w.cutOff(t, f, func() error { _, _, err := w.Provision(t.Context(), o); return err }) {
				return
			}
			w.restart(t)
			complete := slices.Contains(w.records(t), "data = pvc-2 active")
			next := options("ns/data", "pvc-3", at("data"))
			if again {
				next = asks(next, "pvc-1")
			}
			_, _, err := w.Provision(t.Context(), next)
			switch {
			case complete: // an orphan with content, which doctor names
				refused(t, err, refusal.ReasonTaken, false)
				w.has(t, "data/file-of-pvc-1")
			case err != nil:
				t.Errorf("cut off %s, asked again %v: %v", f.hit, again, err)
			case again:
				w.holds(t, "data", "data/file-of-pvc-1", "data = pvc-3 active")
			default:
				w.holds(t, "data", archive, archive+"/file-of-pvc-1", "data = pvc-3 active", archive+" = pvc-1 archived")
			}
		}
	}
}

func (w *world) has(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(w.dir + "/" + name); err != nil {
		t.Error(err)
	}
}

// The wish counts when the volume is begun; taking it off changes nothing then.
func TestAWishThatIsTakenBackLosesNothing(t *testing.T) {
	for n := 1; ; n += times(1, 4) {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		f := &fault{n: n, kill: true}
		o := options("ns/data", "pvc-2", at("data"))
		if !w.cutOff(t, f, func() error { _, _, err := w.Provision(t.Context(), asks(o, "pvc-1")); return err }) {
			return
		}
		begun := len(w.records(t)) > 1
		w.restart(t)
		o.PVC.Annotations = nil
		w.provision(t, o)
		if begun {
			w.holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
		} else {
			w.has(t, "archived-ns-data-pvc-1/file-of-pvc-1")
		}
	}
}

func TestTheShareOfTheArchiveIsChosen(t *testing.T) {
	first, second := newWorld(t), newWorld(t)
	second.archived(t, "ns/data", "pvc-1")
	sites := []Site{
		&named{direct: direct{share.Source{Server: "nfs.example.com", Path: "/export"}, Files{first.dirs, first.ledger}}, name: "first", free: 100},
		&named{direct: direct{share.Source{Server: "nfs.example.com", Path: "/second"}, Files{second.dirs, second.ledger}}, name: "second", free: 1},
	}
	p := New(cluster, first.seen, sites...).Provisioners()[2]
	o := asks(options("ns/data", "pvc-2", at("data", "share", "first,second")), volume.RestoreLatest)
	pv, _, err := p.Provision(t.Context(), o)
	must(t, err)
	if pv.Spec.NFS.Path != "/second/data" {
		t.Errorf("made at %s", pv.Spec.NFS.Path)
	}
	second.holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
	_, _, err = p.Provision(t.Context(), asks(options("ns/data", "pvc-3", at("more", "share", "first,second")), volume.RestoreLatest))
	refused(t, err, refusal.ReasonArchive, false, "no archive")
}

// failing is a ledger on which a restore fails at its end.
type failing struct {
	Records

	before func()
}

func (f failing) Activate(volpath.Path, ledger.Record) error {
	f.before()
	return syscall.ENOSPC
}

// Whoever finds no directory at the name of an archive leaves its record alone while
// a claim is getting it: it comes back if that fails.
func TestAnArchiveThatComesBackHasItsRecord(t *testing.T) {
	for name, forget := range map[string]func(w *world, archive volpath.Path) error{
		"purge": func(w *world, archive volpath.Path) error { return DiscardArchive(w.dirs, w.ledger, archive) },
		"doctor": func(w *world, archive volpath.Path) error {
			return ForgetMissing(context.Background(), Files{w.dirs, w.ledger}, archive, nobody)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			archive := w.archived(t, "ns/data", "pvc-1")
			w.use(Files{w.dirs, failing{w.ledger, func() {
				path, err := volpath.ParseRecorded(archive)
				must(t, err)
				if err := forget(w, path); !errors.Is(err, ErrNoArchive) && !errors.Is(err, ErrRestoring) {
					t.Errorf("got %v", err)
				}
			}}})
			o := asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest)
			_, _, err := w.Provision(t.Context(), o)
			refused(t, err, refusal.ReasonStorage, false)
			w.use(Files{w.dirs, w.ledger})
			w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
			w.provision(t, o)
		})
	}
}

// An archive that somebody removed by hand is not the latest.
func TestTheLatestIsOneThatIsThere(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	must(t, os.RemoveAll(w.dir+"/"+w.archived(t, "ns/data", "pvc-2")))
	w.provision(t, asks(options("ns/data", "pvc-3", at("data")), volume.RestoreLatest))
	if r := w.record(t, "data"); r.RestoredFrom != "archived-ns-data-pvc-1" {
		t.Errorf("restored %q", r.RestoredFrom)
	}
}

// A tenant's wish reads no records but those of its namespace's archives.
func TestAWishReadsNoOthersRecords(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.archived(t, "others/data", fmt.Sprint("pvc-", i))
	}
	w.archived(t, "ns/data", "pvc-9")
	read := 0
	w.use(Files{w.dirs, counting{w.ledger, &read}})
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-10", at("data")), "nosuch"))
	refused(t, err, refusal.ReasonArchive, false, "pvc-9")
	if read != 1 {
		t.Errorf("%d records were read", read)
	}
}

// counting counts the records that a search for archives reads.
type counting struct {
	Records

	read *int
}

func (c counting) Archives(skip func(file string) bool) iter.Seq2[ledger.Record, error] {
	return c.Records.Archives(func(file string) bool {
		skipped := skip != nil && skip(file)
		if !skipped {
			*c.read++
		}
		return skipped
	})
}
