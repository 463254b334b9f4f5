package steps

import (
	"context"
	"fmt"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// A restored etcd, Velero or GitOps may bring a PersistentVolume back after its release.
// Its directory is an archive by then, which may be all the data that it has.

// checkNotBack refuses to expire an archive whose PersistentVolume exists again.
func (op Op) checkNotBack(archive ledger.Record) error {
	for _, pv := range op.config.Objects.Volumes() {
		if pv.Name == archive.PV {
			return refusal.Postpone(refusal.ReasonArchive, "the PersistentVolume exists again, and the archive may be all its data: "+
				"claimdir doctor --fix puts it back to %q; if it is not needed, delete the claim or the PersistentVolume first", archive.Origin)
		}
	}
	return nil
}

// PutArchiveBack makes the archive of v's PersistentVolume, which exists again, its
// directory again. It does what a claim's restore does, step by step, so a repeat goes on
// where it was cut off.
func (op Op) PutArchiveBack(ctx context.Context, v volume.Volume, archive ledger.Record) error {
	if archive.State != ledger.Archived || archive.PV != v.Name || archive.Cluster != op.config.Cluster || archive.Origin != v.Path.String() {
		return fmt.Errorf("put archive %s back: %w", archive.Path, ErrNoArchive)
	}
	back, err := volume.FromRecord(archive)
	if err != nil {
		return fmt.Errorf("put archive %s back: %w", archive.Path, err)
	}
	back.Path, back.Claim, back.ReclaimPolicy = v.Path, v.Claim, v.ReclaimPolicy
	back.Restores, back.Restore, back.RestoredFrom = true, v.Name, ""
	if archive.Claim.Namespace != v.Claim.Namespace {
		return fmt.Errorf("put archive %s back: it is of namespace %q, and the PersistentVolume of namespace %q", archive.Path, archive.Claim.Namespace, v.Claim.Namespace)
	}
	return op.Create(ctx, back, class.Refuse)
}
