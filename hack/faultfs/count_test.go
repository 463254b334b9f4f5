package faultfs

import (
	"context"
	"iter"
	"maps"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	volumesteps "claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// noObjects is a cluster without objects.
type noObjects struct{}

func (noObjects) Volumes(string) iter.Seq[*v1.PersistentVolume] {
	return func(func(*v1.PersistentVolume) bool) {}
}
func (noObjects) Overlapping(_, _ string) []*v1.PersistentVolume     { return nil }
func (noObjects) Above(_, _ string) []*v1.PersistentVolume           { return nil }
func noVolume(context.Context, string) (*v1.PersistentVolume, error) { return nil, nil }

func (noObjects) Bound(string) bool                            { return false }
func (noObjects) Class(string) (*storagev1.StorageClass, bool) { return nil, false }

// Budget of calls to the share for one volume that is made and released with "delete",
// its trash emptied, without GETATTR, which a real client answers from its cache.
const (
	mostCalls = 80
	mostSyncs = 3
)

// Each call costs a round trip to the NFS server.
func TestAVolumeCostsFewCalls(t *testing.T) {
	s := newSite(t)
	dirs, err := share.Open(s.dir)
	must(t, err)
	records, err := ledger.Open(dirs, "share-1")
	must(t, err)
	on := volumesteps.Direct{Store: ledger.Store{Dirs: dirs, Records: records}, Call: func(n string, c func() error) error { t.Log("CALL", n); return c() }}
	ops := volumesteps.New(volumesteps.Config{Cluster: "cluster-1", Objects: noObjects{}, Volume: noVolume})
	path, err := volpath.Parse("team-data-pvc-1")
	must(t, err)
	v := volume.Volume{Name: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "1"}, Path: path, Policy: class.Delete, Mode: 0o777}

	counted := func(what string, do func() error) (calls, syncs int) {
		before := s.Calls()
		must(t, do())
		for _, op := range slices.Sorted(maps.Keys(s.Calls())) {
			n := s.Calls()[op] - before[op]
			if n > 0 {
				t.Logf("%s: %v %d", what, op, n)
			}
			switch op {
			case Getattr:
			case Fsync:
				syncs += n
				calls += n
			default:
				calls += n
			}
		}
		t.Logf("%s: %d calls", what, calls)
		return calls, syncs
	}
	life := func() (calls, syncs int) {
		made, s1 := counted("provision", func() error {
			return ops.On(t.Context(), on, path, "provision", func(ctx context.Context, op volumesteps.Op) error {
				_, err := op.Create(ctx, v, volumesteps.Begin{Existing: class.Refuse})
				return err
			})
		})
		released, s2 := counted("release", func() error {
			return ops.On(t.Context(), on, path, "release", func(ctx context.Context, op volumesteps.Op) error { return op.Release(ctx, v) })
		})
		emptied, s3 := counted("empty", func() error {
			_, _, err := ops.EmptyTrash(t.Context(), t.Context(), on, volpath.Trash("pvc-1", "cluster-1", 1), share.NewRemover(0, 0))
			return err
		})
		return made + released + emptied, s1 + s2 + s3
	}
	life() // directories that are made when they are needed first
	if calls, syncs := life(); calls > mostCalls || syncs > mostSyncs {
		t.Errorf("%d calls, %d of them fsync; at most %d and %d", calls, syncs, mostCalls, mostSyncs)
	}
}
