package snapshot

import (
	"cmp"
	"context"
	"fmt"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

// find finds the snapshot that a VolumeSnapshotContent names by its handle: one that was kept, or one of a cluster that is lost. It is
// given only to the namespace of the claim that it is of.
func (s *Snapshotter) find(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) error {
	r, err := s.named(ctx, on, content)
	if err != nil {
		return s.failed(ctx, content, err)
	}
	return s.publish(ctx, on, content, r)
}

// named returns the record of the snapshot that a VolumeSnapshotContent names by its handle, and records that an object names it. What
// is another cluster's is only read: that cluster may be there.
func (s *Snapshotter) named(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) (r ledger.Snapshot, err error) {
	handle, err := parseDataHandle(content.DataHandle())
	if err == nil && handle.cluster == s.cluster() {
		err = fmt.Errorf("snapshotHandle %.300q: the snapshot is of this cluster, so leave out @%s", content.DataHandle(), handle.cluster)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	of := steps.SnapshotOf{Content: handle.content, Cluster: cmp.Or(handle.cluster, s.cluster())}
	err = s.onOf(ctx, on, of, "find", func(ctx context.Context, op steps.SnapshotOp) error {
		var found bool
		if content.DeletionTimestamp != nil { // also one whose tree is gone may go
			r, found, err = op.Record()
		} else {
			r, found, err = op.Find(ctx)
		}
		if err != nil {
			return err
		}
		if err := s.mayHave(ctx, r, found, content); err != nil {
			return err
		}
		if content.DeletionTimestamp != nil || s.isOthers(r) {
			return nil
		}
		return op.Found(r)
	})
	return r, err
}

// isOthers reports whether a snapshot is of another cluster.
func (s *Snapshotter) isOthers(r ledger.Snapshot) bool { return r.Cluster != s.cluster() }

// mayHave returns an errRefused if a VolumeSnapshotContent may not have the snapshot of a record. It says the same whether there is such
// a snapshot or not: whose snapshots there are is nobody else's business. Of another cluster the namespace's name decides, because its
// UID is that cluster's; who names such a snapshot knows the UID that is in its name, so it had access to it there.
func (s *Snapshotter) mayHave(ctx context.Context, r ledger.Snapshot, found bool, content *snapshots.VolumeSnapshotContent) error {
	namespace := content.Spec.Snapshot.Namespace
	uid, err := s.config.Cluster.Namespace(ctx, namespace)
	if err != nil {
		return err
	}
	of := r.Claim
	if s.isOthers(r) {
		of.NamespaceUID = ""
	}
	if !found || !r.Whole() || !of.LeavesTo(ledger.Claim{Namespace: namespace, NamespaceUID: uid}) {
		return fmt.Errorf("%w: namespace %s has no snapshot of handle %.300q; claimdir snapshot list has those that there are", errRefused, namespace, content.DataHandle())
	}
	return nil
}
