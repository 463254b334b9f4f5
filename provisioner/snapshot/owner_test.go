package snapshot

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

// handOver gives the volume to a claim of another namespace.
func (w *world) handOver() {
	w.mu.Lock()
	defer w.mu.Unlock()
	pv := w.pvs["pvc-1"].DeepCopy()
	pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.UID = "other", "uid-2"
	w.pvs["pvc-1"] = pv
}

// record changes the record of the volume.
func (w *world) record(change func(r *ledger.Record)) {
	w.t.Helper()
	path := sharetest.PathOf(w.t, "data")
	sharetest.Must(w.t, w.Keeper.Do(w.t.Context(), "change the record", func(_ context.Context, store ledger.Store) error {
		r, _, err := store.Records.Own(path, "pvc-1", sharetest.Cluster)
		if err == nil {
			change(&r)
			err = store.Records.Update(path, r)
		}
		return err
	}))
}

// What was copied of a volume that belongs to another namespace by now, or was released, goes, and no snapshot is made of it.
func TestASnapshotOfAVolumeThatIsAnothers(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world)
		want   string
	}{
		"handed over, says the cluster": {(*world).handOver, "is not bound to claim \"data\", of which VolumeSnapshot team/now is to be made: delete it"},
		"handed over, says the record":  {func(w *world) { w.record(func(r *ledger.Record) { r.Claim.Namespace = "other" }) }, "belongs to another namespace by now: delete this VolumeSnapshot"},
		"released":                      {func(w *world) { w.record(func(r *ledger.Record) { r.State = ledger.Retained }) }, "is gone, or was released meanwhile: delete this VolumeSnapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Tree(t, "data/sub/second", "data/sub/third")
			var fails atomic.Bool
			var calls atomic.Int64
			fails.Store(true)
			w.Hook(func(name string, call func() error) error {
				if name == "copy to" && calls.Add(1) > 3 && fails.Load() {
					return errTest
				}
				return call()
			})
			content := w.snapshot("now")
			w.wasTold("VolumeSnapshot team/now", "SnapshotFailed", errTest.Error())
			tt.change(w)
			fails.Store(false)
			w.wasTold("SnapshotRefused", tt.want)
			w.eventually("what was copied is gone", func() bool {
				_, found, err := w.Store(t).Records.Snapshot(content, sharetest.Cluster)
				sharetest.Must(t, err)
				return !found && len(w.left("copies", "snapshots")) == 0
			})
			if at(w.api.get("volumesnapshotcontents", "", content), "status", "readyToUse") == true {
				t.Error("the snapshot is ready")
			}
		})
	}
}

// The volume is handed over while it is copied.
func TestASnapshotOfAVolumeThatIsHandedOverMeanwhile(t *testing.T) {
	w := newWorld(t)
	var once atomic.Bool
	w.Hook(func(name string, call func() error) error {
		if name == "copy to" && once.CompareAndSwap(false, true) {
			w.handOver()
		}
		return call()
	})
	content := w.snapshot("now")
	w.wasTold("SnapshotRefused", "is not bound to claim \"data\"")
	w.eventually("what was copied is gone", func() bool { return len(w.left("copies", "snapshots")) == 0 })
	if at(w.api.get("volumesnapshotcontents", "", content), "status", "readyToUse") == true {
		t.Error("the snapshot is ready")
	}
}

// A snapshot whose tree is gone can be deleted, also one that its object names by its handle.
func TestASnapshotWithoutItsTreeIsDeleted(t *testing.T) {
	w := newWorld(t)
	made := w.snapshot("now")
	w.ready("now", made)
	w.api.remove("volumesnapshots", "team", "now")
	w.api.remove("volumesnapshotcontents", "", made)
	w.eventually("the cache has it no more", func() bool { _, found := w.config.Caches.Content(made); return !found })
	w.api.set("volumesnapshotcontents", "", object{"metadata": object{"name": "again", "finalizers": []any{snapshots.Finalizer}}, "spec": object{
		"driver": driver, "deletionPolicy": "Delete", "source": object{"snapshotHandle": "share-1/" + made}, "volumeSnapshotRef": object{"namespace": "team", "name": "again", "uid": "uid-again"},
	}})
	w.api.set("volumesnapshots", "team", object{"metadata": object{"name": "again", "uid": "uid-again"}, "spec": object{"source": object{"volumeSnapshotContentName": "again"}}})
	w.ready("again", "again")
	sharetest.Must(t, os.RemoveAll(w.Dir+"/"+ledger.SnapshotPath(w.own(made))))
	w.delete("again", "again")
	w.contentGone("again")
	if _, found, err := w.Store(t).Records.Snapshot(made, sharetest.Cluster); err != nil || found {
		t.Errorf("its record is left: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.told {
		if strings.Contains(line, "is gone") {
			t.Errorf("people are told %s", line)
		}
	}
}

// A tree that was put back from a copy is the snapshot again, unless it is something else of ours.
func TestASnapshotThatWasPutBack(t *testing.T) {
	w := newWorld(t)
	made := w.snapshot("now")
	w.ready("now", made)
	tree, look := w.Dir+"/"+ledger.SnapshotPath(w.own(made)), func() error {
		sharetest.Must(t, w.look(t.Context(), w.lanes[0], &sightings{map[string]time.Time{}, map[string]time.Time{}}))
		return w.Snapshotter.on(t.Context(), w.lanes[0], made, "find", func(ctx context.Context, op steps.SnapshotOp) error {
			_, _, err := op.Find(ctx)
			return err
		})
	}
	sharetest.Must(t, os.Rename(tree, w.Dir+"/away"))
	if err := look(); !errors.Is(err, steps.ErrNoTree) {
		t.Fatalf("it counts without its tree: %v", err)
	}
	sharetest.Must(t, os.Rename(w.Dir+"/data", tree))
	if err := look(); !errors.Is(err, steps.ErrNoTree) {
		t.Fatalf("a volume's directory counts as the tree: %v", err)
	}
	sharetest.Must(t, errors.Join(os.Rename(tree, w.Dir+"/data"), os.CopyFS(tree, os.DirFS(w.Dir+"/away"))))
	sharetest.Must(t, look())
	w.wantWholeOf(made)
	w.delete("now", made)
	w.contentGone(made)
}
