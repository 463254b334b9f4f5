package steps

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// A restored etcd, Velero or GitOps may bring a PersistentVolume back after its release.
// Its directory is an archive by then, or retained, or in the trash, and may be all the data
// that it has.

// CheckNotBack is a Check for the record of an archive or a retained directory. It refuses if the
// PersistentVolume exists again, or if that cannot be asked.
func (op Op) CheckNotBack(ctx context.Context, r ledger.Record) error {
	origin := r.Origin
	if r.State == ledger.Retained {
		origin = r.Path
	}
	back, err := op.isBack(ctx, op.Store, r, origin)
	switch {
	case err != nil:
		return refusal.Postpone(refusal.ReasonArchive, "%w; nothing is removed before that is known", err)
	case back && r.State == ledger.Retained:
		return refusal.Postpone(refusal.ReasonVolume, "PersistentVolume %s exists again, and directory %q is its data; if it is not needed, delete the claim or the PersistentVolume first", r.PV, r.Path)
	case back:
		return refusal.Postpone(refusal.ReasonArchive, "PersistentVolume %[1]s exists again, and archive %[2]s may be all its data: claimdir doctor --fix puts it back to %[3]q; "+
			"if it is not needed, delete the claim or the PersistentVolume first, or run claimdir archive purge --force %[1]s", r.PV, r.Path, r.Origin)
	}
	return nil
}

// isBack reports whether the PersistentVolume of a released volume exists again and may need
// the directory of r, which had the path origin: no record gives it another directory there.
func (s *Steps) isBack(ctx context.Context, store ledger.Store, r ledger.Record, origin string) (bool, error) {
	if s.config.Volume == nil {
		return false, fmt.Errorf("%w: there is no cluster to ask", ErrNotAsked)
	}
	pv, err := s.config.Volume(ctx, r.PV)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	if pv == nil || isGoing(pv) {
		return false, nil
	}
	path, err := volpath.ParseRecorded(origin)
	if err != nil {
		return true, nil //nolint:nilerr // it lies nowhere on the share, and has no other directory
	}
	now, found, err := store.Records.Own(path, r.PV, r.Cluster)
	if err != nil {
		return false, err
	}
	return !found || now.Directory.Match(r.Directory) != share.Different, nil
}

// ErrNotAsked says that the API server did not say whether a PersistentVolume exists.
var ErrNotAsked = errors.New("cannot ask whether the PersistentVolume exists again")

// isGoing reports whether a PersistentVolume is on its way out: its release goes on or is to come,
// or it is being deleted and no claim holds it.
func isGoing(pv *v1.PersistentVolume) bool {
	released := pv.Status.Phase == v1.VolumeReleased || pv.Status.Phase == v1.VolumeFailed
	return released && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete ||
		pv.DeletionTimestamp != nil && pv.Status.Phase != v1.VolumeBound
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
