package snapshot

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
)

// Source returns what a claim is to be a copy of whose data source is a VolumeSnapshot, and the share that has it. The Path of the copy is
// the snapshot's own name: see steps.SnapshotTree. An error is a *refusal.Refusal. The VolumeSnapshot must be in the claim's namespace,
// ready, and bound to a VolumeSnapshotContent of ours that is bound to it; and the claim must request as much as the volume had.
func (s *Snapshotter) Source(ctx context.Context, claim *v1.PersistentVolumeClaim) (on *access.Keeper, from ledger.Copy, err error) {
	name := pvs.DataSource(claim).Name
	content, err := s.contentOf(ctx, claim, name)
	if err != nil {
		return nil, from, err
	}
	lane := s.laneOf(content)
	if lane.keeper == nil {
		return nil, from, refusal.Postpone(refusal.ReasonSource, "spec.dataSource: the data of VolumeSnapshot %q is on a share that this claimdir does not serve now; this is retried automatically", name)
	}
	r, err := s.restorable(ctx, lane, content)
	if errors.Is(err, errRefused) || errors.Is(err, steps.ErrNoTree) {
		return nil, from, refusal.Postpone(refusal.ReasonSource, "spec.dataSource: VolumeSnapshot %q cannot be restored: %w; this is retried automatically", name, err)
	}
	if err != nil {
		return nil, from, err
	}
	if size, err := resource.ParseQuantity(r.Size); err == nil {
		if request := claim.Spec.Resources.Requests[v1.ResourceStorage]; request.Cmp(size) < 0 {
			return nil, from, refusal.Refuse(refusal.ReasonSource, "spec.resources.requests.storage %s: VolumeSnapshot %q has %s; a claim that is restored from it must request at least as much", request.String(), name, r.Size)
		}
	}
	return lane.keeper, ledger.Copy{Kind: ledger.CopySnapshot, Path: r.Own(), PV: r.PV, Cluster: r.Cluster, Claim: r.Claim}, nil
}

// lookingMost is how long a claim waits, just after the start, until it is known whether the cluster serves VolumeSnapshots.
const lookingMost = 10 * time.Second

// contentOf returns the VolumeSnapshotContent of a ready VolumeSnapshot. It asks the API server, because the caches may be behind.
func (s *Snapshotter) contentOf(ctx context.Context, claim *v1.PersistentVolumeClaim, name string) (*snapshots.VolumeSnapshotContent, error) {
	namespace := claim.Namespace
	postpone := func(format string, args ...any) error {
		return refusal.Postpone(refusal.ReasonSource, "spec.dataSource: VolumeSnapshot %q "+format+"; this is retried automatically", append([]any{name}, args...)...)
	}
	looking, cancel := context.WithTimeout(ctx, lookingMost)
	defer cancel()
	if err := s.config.Caches.Wait(looking); err != nil || !s.config.Caches.Ready() {
		return nil, postpone("cannot be read: the cluster does not serve VolumeSnapshots, or claimdir lacks the rights of manifests/components/snapshots")
	}
	snapshot, err := s.config.Client.Snapshot(ctx, namespace, name)
	switch {
	case err != nil:
		return nil, refusal.Postpone(refusal.ReasonCluster, "spec.dataSource: %w", err)
	case snapshot == nil:
		return nil, postpone("does not exist in namespace %q; create it, or delete this claim", namespace)
	case snapshot.DeletionTimestamp != nil && snapshot.DeletionTimestamp.Before(&claim.CreationTimestamp):
		return nil, postpone("is being deleted, and was when this claim was made; delete this claim")
	case snapshot.Status == nil || snapshot.Status.Content == nil || snapshot.Status.Ready == nil || !*snapshot.Status.Ready:
		return nil, postpone("is not ready to use yet")
	}
	return s.boundTo(ctx, snapshot)
}

// boundTo returns the VolumeSnapshotContent of ours that a ready VolumeSnapshot is bound to, and that is bound to it.
func (s *Snapshotter) boundTo(ctx context.Context, snapshot *snapshots.VolumeSnapshot) (*snapshots.VolumeSnapshotContent, error) {
	content, err := s.config.Client.Content(ctx, *snapshot.Status.Content)
	if err != nil {
		return nil, refusal.Postpone(refusal.ReasonCluster, "spec.dataSource: %w", err)
	}
	if content == nil || content.Spec.Snapshot.UID != snapshot.UID || content.Spec.Snapshot.Namespace != snapshot.Namespace || content.Spec.Snapshot.Name != snapshot.Name {
		return nil, refusal.Postpone(refusal.ReasonSource, "spec.dataSource: VolumeSnapshot %q is not bound to its VolumeSnapshotContent %s; this is retried automatically", snapshot.Name, *snapshot.Status.Content)
	}
	if !s.ours(content.Spec.Driver) {
		return nil, refusal.Refuse(refusal.ReasonSource, "spec.dataSource: VolumeSnapshot %q is one of driver %q, and claimdir restores its own alone", snapshot.Name, content.Spec.Driver)
	}
	return content, nil
}

// restorable returns the record of the whole snapshot of a VolumeSnapshotContent.
func (s *Snapshotter) restorable(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) (r ledger.Snapshot, err error) {
	if content.Spec.Source.VolumeHandle == nil {
		return s.named(ctx, on, content)
	}
	err = s.on(ctx, on, content.Name, "look for", func(ctx context.Context, op steps.SnapshotOp) error {
		var found bool
		if r, found, err = op.Find(ctx); err != nil {
			return err
		}
		if found {
			if err := fits(r, content); err != nil {
				return err
			}
		}
		return s.mayHave(ctx, r, found, content)
	})
	return r, err
}
