package snapshot

import (
	"context"
	"fmt"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

// find finds the snapshot that a VolumeSnapshotContent names by its handle: one that was kept. It is given only to the namespace of
// the claim that it is of, in the cluster that made it.
func (s *Snapshotter) find(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) error {
	r, err := s.named(ctx, on, content)
	if err != nil {
		return s.failed(ctx, content, err)
	}
	return s.publish(ctx, on, content, r)
}

// named returns the record of the snapshot that a VolumeSnapshotContent names by its handle, and records that an object names it.
func (s *Snapshotter) named(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) (r ledger.Snapshot, err error) {
	handle, err := parseDataHandle(content.DataHandle())
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	err = s.on(ctx, on, handle.content, "find", func(ctx context.Context, op steps.SnapshotOp) error {
		var found bool
		if r, found, err = op.Find(ctx); err != nil {
			return err
		}
		if err := s.mayHave(ctx, r, found, content); err != nil {
			return err
		}
		if content.DeletionTimestamp != nil {
			return nil
		}
		return op.Found(r)
	})
	return r, err
}

// mayHave returns an errRefused if a VolumeSnapshotContent may not have the snapshot of a record. It says the same whether there is such
// a snapshot or not: whose snapshots there are is nobody else's business.
func (s *Snapshotter) mayHave(ctx context.Context, r ledger.Snapshot, found bool, content *snapshots.VolumeSnapshotContent) error {
	namespace := content.Spec.Snapshot.Namespace
	uid, err := s.config.Cluster.Namespace(ctx, namespace)
	if err != nil {
		return err
	}
	if !found || !r.Whole() || !r.Claim.LeavesTo(ledger.Claim{Namespace: namespace, NamespaceUID: uid}) {
		return fmt.Errorf("%w: namespace %s has no snapshot of handle %.300q; claimdir snapshot list has those that there are", errRefused, namespace, content.DataHandle())
	}
	return nil
}
