package provisioner

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// backAgain archives volume pvc-1 and brings its PersistentVolume back, as a restored etcd does.
func (w *world) backAgain(t *testing.T) volume.Volume {
	t.Helper()
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "archiveRetention", "1h", "mode", "2770")))
	w.Tree(t, "team/data/precious")
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-pvc-1"}
	pv.Status.Phase = v1.VolumeBound
	must(t, w.Delete(t.Context(), pv))
	w.Seen.PVs = append(w.Seen.PVs, pv)
	v, err := volume.FromPV(sharetest.Source(), pv)
	must(t, err)
	return v
}

const backArchive = "archived-ns-data-pvc-1"

func (w *world) putBack(ctx context.Context, v volume.Volume, change func(*ledger.Record)) error {
	return w.Steps.On(ctx, w.Keeper, v.Path, "put back", func(ctx context.Context, op steps.Op) error {
		archive, found, err := op.Store.Records.Find(func(r ledger.Record) bool { return r.PV == v.Name })
		if err == nil && !found {
			err = steps.ErrNoArchive
		}
		if err != nil {
			return err
		}
		change(&archive)
		return op.PutArchiveBack(ctx, v, archive)
	})
}

func asIs(*ledger.Record) {}

// Its archive is the only data that the volume has.
func TestAnArchiveWhosePersistentVolumeIsBackDoesNotExpire(t *testing.T) {
	w := newWorld(t)
	w.backAgain(t)
	expire := func(ctx context.Context, op steps.Op) error {
		return op.Expire(ctx, func(context.Context, ledger.Record) bool { return true })
	}
	before := w.Snapshot(t)
	err := w.onPathOf(t, backArchive, expire)
	refused(t, err, refusal.ReasonArchive, false, "PersistentVolume pvc-1 exists again", `claimdir doctor --fix puts it back to "team/data"`)
	w.Untouched(t, before)
	w.Seen.PVs = nil
	must(t, w.onPathOf(t, backArchive, expire))
	w.Holds(t)
}

// A PersistentVolume on its way out needs no archive, and one that has another directory neither. One
// that nobody can say anything of may be there.
func TestWhichPersistentVolumesAreBack(t *testing.T) {
	phase := func(phase v1.PersistentVolumePhase, policy v1.PersistentVolumeReclaimPolicy, deleted bool) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			pv := w.Seen.PVs[0]
			pv.Status.Phase, pv.Spec.PersistentVolumeReclaimPolicy = phase, policy
			if deleted {
				pv.DeletionTimestamp = new(metav1.Now())
			}
		}
	}
	for name, tt := range map[string]struct {
		set  func(*testing.T, *world)
		back bool
	}{
		"bound":                             {phase(v1.VolumeBound, v1.PersistentVolumeReclaimDelete, false), true},
		"bound, and deleted with its claim": {phase(v1.VolumeBound, v1.PersistentVolumeReclaimDelete, true), true},
		"without a phase yet":               {phase("", v1.PersistentVolumeReclaimDelete, false), true},
		"waiting for its claim":             {phase(v1.VolumeAvailable, v1.PersistentVolumeReclaimDelete, false), true},
		"waiting, and deleted":              {phase(v1.VolumeAvailable, v1.PersistentVolumeReclaimDelete, true), false},
		"released":                          {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimDelete, false), false},
		"released, and going":               {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimDelete, true), false},
		"its release failed":                {phase(v1.VolumeFailed, v1.PersistentVolumeReclaimDelete, false), false},
		"released, and kept":                {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimRetain, false), true},
		"released, kept, and deleted":       {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimRetain, true), false},
		"it lies elsewhere":                 {func(_ *testing.T, w *world) { w.Seen.PVs[0].Spec.NFS.Path = "/export/team/other" }, false},
		"its server and export are called otherwise": {func(_ *testing.T, w *world) {
			w.Seen.PVs[0].Spec.NFS = &v1.NFSVolumeSource{Server: "new", Path: "/new/team/data/"}
		}, true},
		"it has another directory": {func(t *testing.T, w *world) {
			t.Helper()
			w.provision(t, options("ns/data", "pvc-1", at("team/data")))
		}, false},
		"nobody says": {func(_ *testing.T, w *world) {
			w.Steps = steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: w.Seen})
		}, true},
		"the cluster does not answer": {func(_ *testing.T, w *world) {
			w.Steps = steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: w.Seen, Volume: func(context.Context, string) (*v1.PersistentVolume, error) {
				return nil, errors.New("timeout")
			}})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.backAgain(t)
			tt.set(t, w)
			err := w.onPathOf(t, backArchive, func(ctx context.Context, op steps.Op) error {
				return op.Expire(ctx, func(context.Context, ledger.Record) bool { return true })
			})
			_, lookErr := os.Stat(w.Dir + "/" + backArchive + "/precious")
			if (err != nil) != tt.back || (lookErr == nil) != tt.back {
				t.Errorf("it says %v, and the archive: %v; want back %v", err, lookErr, tt.back)
			}
		})
	}
}

func TestAnArchiveThatGoesBackIsCutOffAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		v := w.backAgain(t)
		return func() error {
			err := w.putBack(t.Context(), v, asIs)
			if errors.Is(err, steps.ErrNoArchive) {
				r, found, lookErr := w.Store(t).Records.Lookup(v.Path)
				if lookErr == nil && found && r.State == ledger.Active { // an earlier call did it
					return nil
				}
			}
			return err
		}
	}, "team", "team/data", "team/data/precious", "team/data = pvc-1 active")
}

func TestWhatIsPutBackIsTheVolumesOwnArchive(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*ledger.Record)
		volume func(*volume.Volume)
		says   string
	}{
		"another volume's":        {change: func(r *ledger.Record) { r.PV = "pvc-2" }, says: "there is no such archive"},
		"another cluster's":       {change: func(r *ledger.Record) { r.Cluster = "cluster-2" }, says: "there is no such archive"},
		"of another path":         {change: func(r *ledger.Record) { r.Origin = "other" }, says: "there is no such archive"},
		"a retained directory":    {change: func(r *ledger.Record) { r.State = ledger.Retained }, says: "there is no such archive"},
		"of another namespace":    {volume: func(v *volume.Volume) { v.Claim.Namespace = "other" }, says: `it is of namespace "ns", and the PersistentVolume of namespace "other"`},
		"the path is another's":   {says: `path "team/data" belongs to the volume pvc-3`},
		"its path is a directory": {says: `path "team/data" exists on the share`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.backAgain(t)
			switch name {
			case "the path is another's":
				w.Seen.PVs = nil
				w.provision(t, options("ns/other", "pvc-3", at("team/data")))
			case "its path is a directory":
				w.Tree(t, "team/data/file")
			}
			if tt.change == nil {
				tt.change = asIs
			}
			if tt.volume != nil {
				tt.volume(&v)
			}
			before := w.Snapshot(t)
			if err := w.putBack(t.Context(), v, tt.change); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it says %v, want %q", err, tt.says)
			}
			w.Untouched(t, before)
		})
	}
}
