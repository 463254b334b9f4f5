package provisioner

import (
	"context"
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// handedOver makes pvc-1 of claim "old/data", with a file, and hands it to claim "new/mine".
func (w *world) handedOver(t *testing.T, policy string) *v1.PersistentVolume {
	t.Helper()
	pv := w.provision(t, options("old/data", "pvc-1", at("data", "onDelete", policy)))
	w.Tree(t, "data/secret")
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "new", Name: "mine", UID: types.UID("uid-of-mine")}
	return pv
}

var newOwner = ledger.Claim{Namespace: "new", Name: "mine", UID: "uid-of-mine"}

// The claim that the PersistentVolume names is the owner. The one that the volume was made
// for gets nothing.
func TestAVolumeThatWasHandedOverIsItsNewOwners(t *testing.T) {
	t.Run("archive", func(t *testing.T) {
		w := newWorld(t)
		must(t, w.Delete(t.Context(), w.handedOver(t, "archive")))
		archive := "archived-new-mine-pvc-1"
		w.Holds(t, archive, archive+"/secret", archive+" = pvc-1 archived")
		if r := w.Record(t, archive); r.Claim != newOwner {
			t.Errorf("the archive is that of %v", r.Claim)
		}
		for _, wish := range []string{"pvc-1", volume.RestoreLatest} {
			_, _, err := w.Provision(t.Context(), asks(options("old/data", "pvc-2", at("back")), wish))
			refused(t, err, refusal.ReasonArchive, true)
			if strings.Contains(err.Error(), "mine") || strings.Contains(err.Error(), `"new"`) {
				t.Errorf("the old owner reads of the new one: %v", err)
			}
		}
		w.provision(t, asks(options("new/mine", "pvc-3", at("back")), volume.RestoreLatest))
		w.has(t, "back/secret")
	})
	t.Run("retain", func(t *testing.T) {
		w := newWorld(t)
		must(t, w.Delete(t.Context(), w.handedOver(t, "retain")))
		_, _, err := w.Provision(t.Context(), options("old/data", "pvc-2", at("data", "onDelete", "retain")))
		refused(t, err, refusal.ReasonTaken, false, "another namespace")
		w.provision(t, options("new/mine", "pvc-3", at("data", "onDelete", "retain")))
		w.Holds(t, "data", "data/secret", "data = pvc-3 active")
	})
	t.Run("delete", func(t *testing.T) {
		w := newWorld(t)
		must(t, w.Delete(t.Context(), w.handedOver(t, "delete")))
		w.Holds(t)
		names, err := w.Store(t).Records.ListTrash()
		must(t, err)
		if r, known, err := w.Store(t).Records.Discarded(names[0]); err != nil || !known || r.Claim != newOwner {
			t.Errorf("the trash says %v", r.Claim)
		}
	})
}

// A release that was cut off before the volume was handed over has begun an archive of the
// old owner's.
func TestAnArchiveBegunForTheOldOwnerIsCutOffAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		pv := w.handedOver(t, "archive")
		old := pv.DeepCopy()
		old.Spec.ClaimRef = &v1.ObjectReference{Namespace: "old", Name: "data", UID: "uid-pvc-1"}
		w.cutOffBefore(t, setAsideData, func() { _ = w.Delete(t.Context(), old) })
		return func() error { return w.Delete(t.Context(), pv) }
	}, "archived-new-mine-pvc-1", "archived-new-mine-pvc-1/secret", "archived-new-mine-pvc-1 = pvc-1 archived")
}

const setAsideData = "rename data"

func TestReleaseAsksTheClusterFirst(t *testing.T) {
	w := newWorld(t)
	pv := w.handedOver(t, "delete")
	config := steps.Config{Cluster: sharetest.Cluster, Objects: w.Seen, Released: func(_ context.Context, v volume.Volume) error {
		if v.Name != "pvc-1" || v.Claim != newOwner {
			t.Errorf("asked about %s of %v", v.Name, v.Claim)
		}
		return errors.New("it is Bound")
	}}
	before := w.Snapshot(t)
	p := New(steps.New(config), w.Seen, w.Keeper).Provisioners()[0]
	refused(t, p.Delete(t.Context(), pv), refusal.ReasonVolume, false, "release volume pvc-1: it is Bound", "nothing was changed")
	w.Untouched(t, before)
}

// FollowOwner changes the record of a volume, and of nothing else.
func TestARecordFollowsItsPersistentVolume(t *testing.T) {
	w := newWorld(t)
	pv := w.handedOver(t, "archive")
	v, err := volume.FromPV(sharetest.Source(), pv)
	must(t, err)
	for i, want := range []bool{true, false} {
		must(t, w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error {
			changed, err := op.FollowOwner(ctx, v)
			if changed != want {
				t.Errorf("call %d: changed %v", i+1, changed)
			}
			return err
		}))
		if r := w.Record(t, "data"); r.Claim != newOwner || r.PV != "pvc-1" || r.State != ledger.Active {
			t.Errorf("%+v", r)
		}
	}
	must(t, w.Delete(t.Context(), pv))
	before := w.Snapshot(t)
	must(t, w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error {
		changed, err := op.FollowOwner(ctx, v)
		if changed {
			t.Error("a record that is gone was changed")
		}
		return err
	}))
	w.Untouched(t, before)
}
