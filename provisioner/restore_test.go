package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// archived makes a volume with a file and releases it into an archive.
func (w *world) archived(t *testing.T, claim, pv string) (archive string) {
	t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	made := w.provision(t, options(claim, pv, at("made-${.PV.name}")))
	w.Tree(t, "made-"+pv+"/file-of-"+pv)
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
			must(t, os.Chmod(w.Dir+"/archived-ns-data-pvc-1", 0o700))
			pv := w.provision(t, asks(options("ns/data", "pvc-2", at("deep/er/data", "mode", "0777", "archiveRetention", "720h")), asked))
			w.Holds(t, "deep", "deep/er", "deep/er/data", "deep/er/data/file-of-pvc-1", "deep/er/data = pvc-2 active")
			if mode := w.ModeOf(t, "deep/er/data").Perm(); mode != 0o700 {
				t.Errorf("the data's mode was changed to %v", mode)
			}
			must(t, w.Delete(t.Context(), pv))
			archive := "archived-ns-data-pvc-2"
			w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-2 archived")
			if r := w.Record(t, archive); r.RestoredFrom != "" || r.Until == nil || r.Until.Sub(*r.Released) != 720*time.Hour {
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
	if r := w.Record(t, "data"); r.RestoredFrom != "archived-ns-data-pvc-3" {
		t.Errorf("restored %q", r.RestoredFrom)
	}
	if _, err := os.Stat(w.Dir + "/data/file-of-pvc-3"); err != nil {
		t.Error(err)
	}
}

func TestWishesThatCannotBeFulfilledTouchNothing(t *testing.T) {
	other := "cluster-2"
	for name, tt := range map[string]struct {
		asked string
		final bool
		says  []string
	}{
		"no such archive":                 {asked: "pvc-77", final: true, says: []string{`volume "pvc-77"`, "pvc-1 (claim data, since ", "pvc-4 (claim more"}},
		"another namespace's":             {asked: "pvc-2", final: true, says: []string{`no archive of volume "pvc-2"`}},
		"another cluster's":               {asked: "pvc-3", final: true, says: []string{`no archive of volume "pvc-3"`, "onExisting: adopt"}},
		"an empty wish":                   {asked: "", final: true, says: []string{volume.AnnotationRestore, "has 0 bytes", `"latest"`}},
		"a way out":                       {asked: "../archived-ns-data-pvc-1", final: true, says: []string{"no archive of"}},
		"the latest of a claim with none": {asked: volume.RestoreLatest, final: true, says: []string{`no archive of claim "fresh"`, "remove the annotation to get an empty volume"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			w.archived(t, "ns2/data", "pvc-2")
			w.archived(t, "ns/more", "pvc-4")
			w.beside(t, other).archived(t, "ns/data", "pvc-3")
			before := w.Snapshot(t)
			_, _, err := w.Provision(t.Context(), asks(options("ns/fresh", "pvc-9", at("data")), tt.asked))
			refused(t, err, refusal.ReasonArchive, tt.final, tt.says...)
			if strings.Contains(err.Error(), "ns2") || strings.Contains(err.Error(), "pvc-2 (") || strings.Contains(err.Error(), "pvc-3 (") {
				t.Errorf("it tells of others' archives: %v", err)
			}
			w.Untouched(t, before)
		})
	}
}

func TestAnArchiveOfALostClusterComesBackWhereTheClassAdopts(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.beside(t, "cluster-2").provision(t, asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), "pvc-1"))
	w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
}

// nobody needs what a record names.
func nobody(context.Context, ledger.Record) error { return nil }

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
	if lost, ok := errors.AsType[*refusal.Refusal](errs[1]); !ok || lost.Reason() != refusal.ReasonArchive { // final or not: the record may be gone by then
		t.Errorf("the other gets %v", errs[1])
	}
	if records := w.Records(t); len(records) != 1 || !strings.HasSuffix(records[0], "active") {
		t.Errorf("records %q", records)
	}
}

func TestAPathThatIsKeptOrExistsIsNotMixedWithAnArchive(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, w *world){
		"retained": func(t *testing.T, w *world) {
			t.Helper()
			must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-0", at("data", "onDelete", "retain")))))
		},
		"exists": func(t *testing.T, w *world) { t.Helper(); w.Tree(t, "data/file") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			before(t, w)
			seen := w.Snapshot(t)
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), volume.RestoreLatest))
			refused(t, err, refusal.ReasonTaken, false, `path "data"`)
			w.Untouched(t, seen)
		})
	}
}

// released makes the volume pvc-2, which claim data has left and nobody released yet.
func (w *world) released(t *testing.T) *v1.PersistentVolume {
	t.Helper()
	pv := w.provision(t, options("ns/data", "pvc-2", at("two")))
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-pvc-2"}
	pv.Status.Phase = v1.VolumeReleased
	w.Seen.PVs = []*v1.PersistentVolume{pv}
	return pv
}

// Kubernetes may be slower than the claim that follows.
func TestTheLatestWaitsForAVolumeThatIsStillBound(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.released(t).Status.Phase = v1.VolumeBound
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest))
	refused(t, err, refusal.ReasonArchive, false, "not archived yet")
}

func TestTheLatestWaitsForTheVolumeThatIsBeingReleased(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	pv := w.released(t)
	pv.Annotations[volume.AnnotationOnDelete] = "Archive" // as somebody may have typed it
	o := asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest)
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonArchive, false, "not archived yet")
	must(t, w.Delete(t.Context(), pv))
	w.Seen.PVs = nil
	w.provision(t, o)
	w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived", "three", "three = pvc-3 active")
}

// Kubernetes keeps a volume with reclaimPolicy: Retain, perhaps for ever.
func TestTheLatestDoesNotWaitForAVolumeThatIsKept(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	w.released(t).Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	w.provision(t, asks(options("ns/data", "pvc-3", at("three")), volume.RestoreLatest))
	if r := w.Record(t, "three"); r.RestoredFrom != "archived-ns-data-pvc-1" {
		t.Errorf("restored %q", r.RestoredFrom)
	}
}

func TestARestoreGoesPastWhatALateCallLeft(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	must(t, os.Mkdir(w.Dir+"/data", 0o755))
	must(t, os.Chmod(w.Dir+"/data", 0o745))
	w.provision(t, asks(options("ns/data", "pvc-2", at("data")), "pvc-1"))
	w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
}

func TestARestoreSaysWhatIsInItsWay(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	must(t, os.Mkdir(w.Dir+"/data", 0o755))
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data", "onExisting", "adopt")), "pvc-1"))
	refused(t, err, refusal.ReasonTaken, false, `path "data"`, archive+" cannot be renamed there", "remove the directory")
}

func TestAnArchiveThatAnAdministratorShowsStays(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	w.Seen.PVs = []*v1.PersistentVolume{handMade("by-hand", archive)}
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), "pvc-1"))
	refused(t, err, refusal.ReasonTaken, false, "by-hand")
	w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
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

// cutOffAfter kills the process when the first call of that name is done, and
// cutOffBefore instead of it.
func (w *world) cutOffAfter(t *testing.T, name string, run func()) {
	t.Helper()
	w.cutOffIn(t, name, true, run)
}

func (w *world) cutOffBefore(t *testing.T, name string, run func()) {
	t.Helper()
	w.cutOffIn(t, name, false, run)
}

func (w *world) cutOffIn(t *testing.T, name string, after bool, run func()) {
	t.Helper()
	dead := false
	w.Hook(func(called string, do func() error) error {
		switch {
		case dead:
			return sharetest.ErrCut
		case called != name:
			return do()
		}
		if after {
			if err := do(); errors.Is(err, unix.EINVAL) { // no exclusive rename here; another one follows
				return err
			}
		}
		dead = true
		return sharetest.ErrCut
	})
	run()
	if !dead {
		t.Errorf("there was no %s", name)
	}
	w.restart(t)
	w.sweep(t)
}

// onPathOf runs an operation on a path.
func (w *world) onPathOf(t *testing.T, path string, do func(ctx context.Context, op steps.Op) error) error {
	t.Helper()
	return w.Steps.On(t.Context(), w.Keeper, sharetest.PathOf(t, path), "work on "+path, do)
}

func (w *world) orphanGoes(t *testing.T, path string) error {
	t.Helper()
	return w.onPathOf(t, path, func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, nobody) })
}

// The archive is set aside, and goes from there to the path.
const (
	setAside = "rename archived-ns-data-pvc-1"
	bringsIt = "rename volume"
)

// With the default pattern the next claim of the name has another path.
func TestTheNextClaimGetsWhatAnEarlierOneBeganToRestore(t *testing.T) {
	for _, wish := range []string{"pvc-2", volume.RestoreLatest} {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.archived(t, "ns/data", "pvc-2")
		w.cutOffAfter(t, bringsIt, func() { _, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-3", at("three")), wish)) })
		w.has(t, "three/file-of-pvc-2")
		o := asks(options("ns/data", "pvc-4", at("four")), wish)
		must(t, w.onPathOf(t, "three", func(ctx context.Context, _ steps.Op) error {
			_, _, err := w.Provision(ctx, o)
			refused(t, err, refusal.ReasonBusy, false)
			return nil
		}))
		w.provision(t, o)
		w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived", "four", "four/file-of-pvc-2", "four = pvc-4 active")
	}
}

// Else a dead claim would take a live one's directory.
func TestWhatAnEarlierClaimHasByNowIsNotGivenBack(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	earlier := asks(options("ns/data", "pvc-3", at("three")), "pvc-1")
	w.cutOffAfter(t, bringsIt, func() { _, _, _ = w.Provision(t.Context(), earlier) })
	looks, other := 0, w.beside(t, sharetest.Cluster)
	w.Hook(func(name string, do func() error) error {
		if name == "read "+w.recordName("pvc-3") {
			if looks++; looks == 3 { // after the one that found it, and the one that found that it may be given back
				other.provision(t, earlier)
			}
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-4", at("four")), "pvc-1"))
	refused(t, err, refusal.ReasonArchive, false)
	w.Holds(t, "three", "three/file-of-pvc-1", "three = pvc-3 active")
}

// recordName is the name of a volume's record.
func (*world) recordName(pv string) string { return volpath.Own(pv, sharetest.Cluster) + ".json" }

// What was never renamed is not given back: the directory there is somebody else's.
func TestARestoreThatNeverBeganOnlyLosesItsRecord(t *testing.T) {
	began := func(path string) *world {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.cutOffBefore(t, setAside, func() { _, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at(path)), "pvc-1")) })
		return w
	}
	t.Run("a stranger's directory", func(t *testing.T) {
		w := began("data")
		w.provision(t, asks(options("ns/more", "pvc-3", at("more")), "pvc-1"))
		w.Tree(t, "data/by-hand")
		_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), "pvc-1"))
		refused(t, err, refusal.ReasonTaken, false, `path "data" exists`)
		w.Holds(t, "data", "data/by-hand", "more", "more/file-of-pvc-1", "more = pvc-3 active")
	})
	t.Run("and the sweep", func(t *testing.T) {
		w := began("data")
		w.provision(t, asks(options("ns/more", "pvc-3", at("more")), "pvc-1"))
		w.Tree(t, "data/by-hand")
		must(t, w.orphanGoes(t, "data"))
		w.Holds(t, "data", "data/by-hand", "more", "more/file-of-pvc-1", "more = pvc-3 active")
	})
	t.Run("a volume above", func(t *testing.T) {
		w := began("team/data")
		above := w.provision(t, options("a/team", "pvc-9", at("team", "onDelete", "delete")))
		refused(t, w.Delete(t.Context(), above), refusal.ReasonTaken, false, "pvc-2")
		must(t, w.orphanGoes(t, "team/data"))
		must(t, w.Delete(t.Context(), above))
		w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file-of-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived")
	})
}

// Whose claim does not come back, gives it back.
func TestAnOrphanThatWasToGetAnArchiveGivesItBack(t *testing.T) {
	for _, name := range []string{setAside, bringsIt, "create " + (&world{}).recordName("pvc-2") + ".new"} {
		w := newWorld(t)
		archive := w.archived(t, "ns/data", "pvc-1")
		must(t, os.Remove(w.Dir+"/"+archive+"/file-of-pvc-1")) // also an empty one
		w.cutOffAfter(t, name, func() {
			_, _, _ = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("team/data")), "pvc-1"))
		})
		must(t, w.orphanGoes(t, "team/data"))
		w.Holds(t, archive, archive+" = pvc-1 archived")
	}
}

// A volume that is being made below would find its directory in the archive.
func TestAnArchiveIsNotRenamedAboveAVolume(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "a/team", "pvc-1")
	must(t, os.Mkdir(w.Dir+"/"+archive+"/x", 0o700))
	other, met := w.beside(t, sharetest.Cluster), false
	w.Hook(func(name string, do func() error) error {
		if name == "make x" && !met {
			met = true
			_, _, err := other.Provision(t.Context(), asks(options("a/team", "pvc-2", at("team")), "pvc-1"))
			refused(t, err, refusal.ReasonTaken, false, "pvc-3")
		}
		return do()
	})
	w.provision(t, options("b/x", "pvc-3", at("team/x", "mode", "0777")))
	if mode := w.ModeOf(t, archive+"/x").Perm(); mode != 0o700 || !met {
		t.Errorf("%v, mode %v", met, mode)
	}
	w.has(t, archive+"/file-of-pvc-1")
}

// A record is complete, which its process cannot learn, nor take back.
func TestARestoreWhoseCompletionIsUnknownIsCompletedByARepeat(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	lost := false
	w.Hook(func(name string, do func() error) error {
		if lost {
			return syscall.EIO
		}
		err := do()
		if lost = name == "rename "+w.recordName("pvc-2")+".new"; lost {
			return syscall.EIO
		}
		return err
	})
	o := asks(options("ns/data", "pvc-2", at("data")), "pvc-1")
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonStorage, false)
	w.Hook(nil)
	w.provision(t, o)
	w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
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
	for n := 1; ; n += times(1, 20) {
		for _, again := range []bool{true, false} {
			w := newWorld(t)
			archive := w.archived(t, "ns/data", "pvc-1")
			f := &sharetest.Fault{N: n, Kill: true}
			o := asks(options("ns/data", "pvc-2", at("data")), "pvc-1")
			if !w.CutOff(f, func() error { _, _, err := w.Provision(t.Context(), o); return err }) {
				return
			}
			w.restart(t)
			w.sweep(t)
			complete := slices.Contains(w.Records(t), "data = pvc-2 active")
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
				t.Errorf("cut off %s, asked again %v: %v", f.Hit(), again, err)
			case again:
				w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-3 active")
			default:
				w.Holds(t, "data", archive, archive+"/file-of-pvc-1", "data = pvc-3 active", archive+" = pvc-1 archived")
			}
		}
	}
}

func (w *world) has(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(w.Dir + "/" + name); err != nil {
		t.Error(err)
	}
}

// The wish counts when the volume is begun; taking it off changes nothing then.
func TestAWishThatIsTakenBackLosesNothing(t *testing.T) {
	for n := 1; ; n += times(1, 20) {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		f := &sharetest.Fault{N: n, Kill: true}
		o := options("ns/data", "pvc-2", at("data"))
		if !w.CutOff(f, func() error { _, _, err := w.Provision(t.Context(), asks(o, "pvc-1")); return err }) {
			return
		}
		begun := strings.Contains(strings.Join(w.Records(t), "\n"), "data = pvc-2 ")
		w.restart(t)
		w.sweep(t)
		o.PVC.Annotations = nil
		w.provision(t, o)
		if begun {
			w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-2 active")
		} else {
			w.has(t, "archived-ns-data-pvc-1/file-of-pvc-1")
		}
	}
}

func TestTheShareOfTheArchiveIsChosen(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		s.fast.free = 100
		_, err := s.provision(t, s.claim("data", "bulk"))
		must(t, err)
		pv := s.seen.PVs[0]
		s.seen.PVs = nil
		for _, p := range s.all {
			if p.Owns(pv) {
				must(t, p.Delete(t.Context(), pv))
			}
		}
		o := asks(s.claim("next", "fast,bulk"), "pvc-data")
		if on, err := s.provision(t, o); err != nil || on != "bulk" {
			t.Errorf("made on %s: %v", on, err)
		}
		_, err = s.provision(t, asks(s.claim("more", "fast,bulk"), "pvc-data"))
		refused(t, err, refusal.ReasonArchive, true, "no archive")
		on, err := s.provision(t, asks(s.claim("first", "fast,bulk"), volume.RestoreLatestOrEmpty))
		if err != nil || on != "fast" {
			t.Errorf("a first claim of a template is on %q: %v", on, err)
		}
	})
}

// Whoever finds no directory at the name of an archive leaves its record alone while
// a claim is getting it: it comes back if that fails.
func TestAnArchiveThatComesBackHasItsRecord(t *testing.T) {
	for name, remove := range map[string]func(ctx context.Context, op steps.Op) error{
		"purge":  discard,
		"doctor": func(ctx context.Context, op steps.Op) error { return op.RemoveMissing(ctx, nobody) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			archive := w.archived(t, "ns/data", "pvc-1")
			other, met := w.beside(t, sharetest.Cluster), false
			w.Hook(func(name string, do func() error) error {
				if name != "create "+w.recordName("pvc-2")+".new" {
					return do()
				}
				met = true
				if err := other.onPathOf(t, archive, remove); !errors.Is(err, steps.ErrNoArchive) && !errors.Is(err, steps.ErrRestoring) {
					t.Errorf("got %v", err)
				}
				return syscall.ENOSPC
			})
			o := asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest)
			_, _, err := w.Provision(t.Context(), o)
			refused(t, err, refusal.ReasonStorage, false)
			w.Hook(nil)
			w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
			w.provision(t, o)
			if !met {
				t.Error("nobody removed it meanwhile")
			}
		})
	}
}

// An archive that somebody removed by hand is not the latest.
func TestTheLatestIsOneThatIsThere(t *testing.T) {
	w := newWorld(t)
	w.archived(t, "ns/data", "pvc-1")
	must(t, os.RemoveAll(w.Dir+"/"+w.archived(t, "ns/data", "pvc-2")))
	w.provision(t, asks(options("ns/data", "pvc-3", at("data")), volume.RestoreLatest))
	if r := w.Record(t, "data"); r.RestoredFrom != "archived-ns-data-pvc-1" {
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
	read := map[bool]int{}
	w.Hook(func(name string, do func() error) error {
		if strings.HasPrefix(name, "read pvc-") {
			read[name == "read "+w.recordName("pvc-9")]++
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-10", at("data")), "nosuch"))
	refused(t, err, refusal.ReasonArchive, true, "pvc-9")
	if read[true] != 1 || read[false] > 0 {
		t.Errorf("%d records of its own were read, and %d of others", read[true], read[false])
	}
}

// However many archives a namespace has, a wish for one that is not there costs as many
// calls.
func TestAWishForNothingCostsNoMoreWithManyArchives(t *testing.T) {
	calls := func(archives int, wish string) int {
		w := newWorld(t)
		for i := range archives {
			w.archived(t, "ns/other", fmt.Sprint("pvc-", i))
		}
		return len(w.calls(func() {
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-wish", at("data")), wish))
			refused(t, err, refusal.ReasonArchive, true, "no archive")
		}))
	}
	for _, wish := range []string{"nosuch", volume.RestoreLatest} {
		n := times(60, 12)
		if few, many := calls(6, wish), calls(n, wish); many > few {
			t.Errorf("%s: %d calls beside 6 archives, %d beside %d", wish, few, many, n)
		}
	}
}

// A template's claims get what an earlier one of their name left, or an empty volume.
func TestTheLatestOrAnEmptyVolume(t *testing.T) {
	empty := func(w *world) {
		w.provision(t, asks(options("ns/data", "pvc-9", at("data")), volume.RestoreLatestOrEmpty))
	}
	t.Run("nothing is there", func(t *testing.T) {
		w := newWorld(t)
		w.archived(t, "ns/other", "pvc-1")
		empty(w)
		w.provision(t, asks(options("ns/data", "pvc-9", at("data")), volume.RestoreLatestOrEmpty)) // a repeat
		w.Holds(t, "archived-ns-other-pvc-1", "archived-ns-other-pvc-1/file-of-pvc-1", "archived-ns-other-pvc-1 = pvc-1 archived", "data", "data = pvc-9 active")
	})
	t.Run("an archive is there", func(t *testing.T) {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.archived(t, "ns/data", "pvc-2")
		empty(w)
		w.has(t, "data/file-of-pvc-2")
	})
	t.Run("its only archive was removed by hand", func(t *testing.T) {
		w := newWorld(t)
		must(t, os.RemoveAll(w.Dir+"/"+w.archived(t, "ns/data", "pvc-1")))
		empty(w)
		w.has(t, "data")
	})
	t.Run("a retained directory is there", func(t *testing.T) {
		w := newWorld(t)
		must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "retain")))))
		w.Tree(t, "data/kept")
		empty(w)
		w.Holds(t, "data", "data/kept", "data = pvc-9 active")
	})
	t.Run("the earlier volume is on its way", func(t *testing.T) {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("first")))
		pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-pvc-1"}
		w.Seen.PVs = append(w.Seen.PVs, pv)
		_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-9", at("data")), volume.RestoreLatestOrEmpty))
		refused(t, err, refusal.ReasonArchive, false, "not archived yet")
	})
}

func TestTheLatestOrAnEmptyVolumeIsCutOffAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		return func() error {
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-9", at("data")), volume.RestoreLatestOrEmpty))
			return err
		}
	}, "data", "data = pvc-9 active")
}

// The clock of whoever wrote the stale record was a year ahead. The record that counts more owners
// is the later one all the same.
func TestAStaleRecordOfAnArchiveTakesNothingWhateverItsTimeSays(t *testing.T) {
	w := newWorld(t)
	archive := w.archived(t, "ns/data", "pvc-1")
	stale := w.Record(t, archive)
	stale.Released = new(time.Now().AddDate(1, 0, 0))
	must(t, w.Delete(t.Context(), w.provision(t, asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest))))
	must(t, w.Store(t).Records.Archive(sharetest.PathOf(t, archive), stale, stale.Directory)) // the call that comes late
	late := w.Record(t, archive)
	late.Released = stale.Released
	must(t, w.Store(t).Records.Update(sharetest.PathOf(t, archive), late))
	must(t, w.onPathOf(t, archive, func(ctx context.Context, op steps.Op) error { return op.RemoveMissing(ctx, nobody) }))
	w.Holds(t, "archived-ns-data-pvc-2", "archived-ns-data-pvc-2/file-of-pvc-1", "archived-ns-data-pvc-2 = pvc-2 archived")
}

// A claim's restore is cut off anywhere, and its path is another one by then: a label changed from
// which the path comes. The claim gets the archive at the new path, unless the volume was complete
// at the old one: there the data stays.
func TestARestoreIsCutOffAndItsPathChanges(t *testing.T) {
	for _, wish := range []string{"pvc-1", volume.RestoreLatest, volume.RestoreLatestOrEmpty} {
		for n := 1; ; n += sharetest.BriefStep(5) {
			w := newWorld(t)
			w.archived(t, "ns/data", "pvc-1")
			f := &sharetest.Fault{N: n, Kill: true}
			if !w.CutOff(f, func() error {
				_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("old/data")), wish))
				return err
			}) {
				break
			}
			complete := slices.Contains(w.Records(t), "old/data = pvc-2 active")
			w.restart(t)
			o := asks(options("ns/data", "pvc-2", at("new/data")), wish)
			if complete {
				_, _, _ = w.Provision(t.Context(), o)
				w.has(t, "old/data/file-of-pvc-1")
				continue
			}
			w.provision(t, o)
			if _, err := os.Stat(w.Dir + "/new/data/file-of-pvc-1"); err != nil {
				t.Errorf("%s, cut off %s: %v; records %q", wish, f.Hit(), err, w.Records(t))
			}
			w.End()
		}
	}
}

// The answer to the call that sets the archive aside is lost, and the process that gives the restore up is killed anywhere. What
// the claim gets then is the archive that its record names, and of two archives none is lost.
func TestGivingUpARestoreIsCutOffAnywhere(t *testing.T) {
	for n := 1; ; n += sharetest.BriefStep(5) {
		w := newWorld(t)
		older, newer := w.archived(t, "ns/data", "pvc-0"), w.archived(t, "ns/data", "pvc-1")
		calls, lost := 0, false
		w.Hook(func(called string, do func() error) error {
			switch {
			case lost:
				if calls++; calls >= n {
					return sharetest.ErrCut
				}
				return do()
			case called != "rename "+newer:
				return do()
			}
			if err := do(); err != nil {
				return err
			}
			lost = true
			return unix.EIO
		})
		o := asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatest)
		if _, _, err := w.Provision(t.Context(), o); err == nil || !lost {
			t.Fatalf("lost %v, %v", lost, err)
		}
		w.Hook(nil)
		w.restart(t)
		w.provision(t, o)
		w.sweep(t)
		left, err := filepath.Glob(w.Dir + "/.claimdir/records/data/pvc-1*.new") // they go when the path loses its record
		must(t, err)
		for _, name := range left {
			must(t, os.Remove(name))
		}
		w.Holds(t, older, older+"/file-of-pvc-0", older+" = pvc-0 archived", "data", "data/file-of-pvc-1", "data = pvc-2 active")
		if t.Failed() {
			t.Fatalf("cut off at call %d after the lost answer", n)
		}
		w.End()
		if calls < n {
			return
		}
	}
}

// What is set aside for a claim may be another archive than the one that its record names. It becomes nobody's volume, and goes back.
func TestAnotherArchiveThatIsSetAsideIsNotRestored(t *testing.T) {
	w := newWorld(t)
	older, newer := w.archived(t, "ns/data", "pvc-0"), w.archived(t, "ns/data", "pvc-1")
	own := volpath.OwnAt("pvc-2", sharetest.Cluster, sharetest.PathOf(t, "data"))
	must(t, os.MkdirAll(w.Dir+"/.claimdir/moving/"+own, 0o700))
	must(t, os.Rename(w.Dir+"/"+newer, w.Dir+"/.claimdir/moving/"+own+"/volume"))
	o := asks(options("ns/data", "pvc-2", at("data")), "pvc-0")
	if _, _, err := w.Provision(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not archive "+older) {
		t.Errorf("it says %v", err)
	}
	if back, err := w.Steps.BringBackAside(t.Context(), w.Keeper); back != 1 || err != nil {
		t.Errorf("%d brought back, %v", back, err)
	}
	w.provision(t, o)
	w.Holds(t, newer, newer+"/file-of-pvc-1", newer+" = pvc-1 archived", "data", "data/file-of-pvc-0", "data = pvc-2 active")
}
