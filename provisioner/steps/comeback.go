package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

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
// the directory of r, which had the path origin: it lies there, and no record gives it another
// directory there.
func (s *Steps) isBack(ctx context.Context, store ledger.Store, r ledger.Record, origin string) (bool, error) {
	if s.config.Volume == nil {
		return false, fmt.Errorf("%w: there is no cluster to ask", ErrNotAsked)
	}
	pv, err := s.config.Volume(ctx, r.PV)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	if pv == nil || isGoing(pv) || !liesAt(pv, origin) {
		return false, nil
	}
	at, err := volpath.ParseRecorded(origin)
	if err != nil {
		return false, err
	}
	now, found, err := store.Records.Own(at, r.PV, r.Cluster)
	if err != nil {
		return false, err
	}
	return !found || now.Directory.Match(r.Directory) != share.Different, nil
}

// ErrNotAsked says that the API server did not say whether a PersistentVolume exists.
var ErrNotAsked = errors.New("cannot ask whether the PersistentVolume exists again")

// liesAt reports whether a PersistentVolume may lie at a path of the share. Server and export may be
// called otherwise by now.
func liesAt(pv *v1.PersistentVolume, relative string) bool {
	return pv.Spec.NFS != nil && strings.HasSuffix(path.Clean(pv.Spec.NFS.Path), "/"+relative)
}

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
	_, err = op.Create(ctx, back, Begin{Existing: class.Refuse})
	return err
}

// ErrNoTrash says that the trash does not have the directory of a volume, or not any more.
var ErrNoTrash = errors.New("the trash does not have its directory")

// PutTrashBack makes the directory that the trash has of v that of v again, whose PersistentVolume
// exists again. The path must be free. First the record comes back, which takes the
// path and says which directory is v's, and then the directory: a repeat, or whoever looks after the
// volume's directory, goes on where it was cut off. Whoever renames the directory in the trash first,
// to empty it or to put it back, has it.
func (op Op) PutTrashBack(ctx context.Context, v volume.Volume) error {
	err := op.putTrashBack(ctx, v)
	if err != nil {
		return fmt.Errorf("put the directory of volume %s back from the trash: %w", v.Name, err)
	}
	return nil
}

func (op Op) putTrashBack(ctx context.Context, v volume.Volume) error {
	r, own, err := op.ownTrash(ctx, v)
	if err != nil {
		return err
	}
	if err := op.checkFree(r); err != nil {
		return err
	}
	if r, err = op.Store.Records.Take(op.Path, r, false); err != nil {
		return err
	}
	if err = op.Store.Records.CheckBelow(op.Path, r); err == nil {
		err = op.bringFromTrash(r, own)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*ledger.TakenError)) {
		return errors.Join(err, op.Store.Records.Remove(op.Path, r)) // the record in the trash still says whose it is
	}
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Put directory back from the trash", "path", op.Path, "PV", r.PV, "trash", own)
	return op.Store.Records.RemoveDiscarded(own)
}

// ownTrash returns the record of v as it is to be again, with the identity of the directory that the
// trash has of v, and the name that this has there.
func (op Op) ownTrash(ctx context.Context, v volume.Volume) (r ledger.Record, own string, err error) {
	trashed, found, err := op.Store.Records.TrashOf(v.Name, op.config.Cluster, op.Path)
	if err == nil && (!found || trashed.Begun) {
		err = ErrNoTrash
	}
	if err != nil {
		return r, "", err
	}
	r, own = trashed.Record, trashed.Own
	if r.Claim.Namespace != v.Claim.Namespace {
		return r, own, fmt.Errorf("it is of namespace %q, and the PersistentVolume of namespace %q", r.Claim.Namespace, v.Claim.Namespace)
	}
	id, err := op.Store.Dirs.Aside(share.TrashDir, own)
	if errors.Is(err, fs.ErrNotExist) { // somebody was faster
		return r, own, ErrNoTrash
	}
	if err != nil {
		return r, own, err
	}
	if r.Directory.Match(id) == share.Different {
		return r, own, fmt.Errorf("%w: it is another directory than the one that was released", share.ErrChanged)
	}
	r.Claim, r.ReclaimPolicy, r.Directory = v.Claim, string(v.ReclaimPolicy), id
	back, err := op.isBack(ctx, op.Store, r, r.Path)
	if err == nil && !back {
		err = fmt.Errorf("PersistentVolume %s is on its way out, or has another directory", r.PV)
	}
	return r, own, err
}

// checkFree returns an error if the path of r has another owner or a directory. An empty one that is
// marked as ours is what a call left that came late, and goes.
func (op Op) checkFree(r ledger.Record) error {
	if err := op.checkVolumes(op.Path, r.PV); err != nil {
		return err
	}
	known, found, err := op.Store.Records.Lookup(op.Path)
	if err != nil {
		return err
	}
	if found && (known.PV != r.PV || known.Cluster != r.Cluster) {
		return ledger.Taken(op.Path, known, r)
	}
	if _, err := op.Store.Dirs.RemoveMarked(op.Path); err != nil {
		return err
	}
	present, err := op.Store.Dirs.Exists(op.Path)
	if err == nil && present {
		err = fmt.Errorf("path %q exists on the share; move that away first", op.Path)
	}
	return err
}

// bringFromTrash moves the directory of r to the path, from where it is in the trash.
func (op Op) bringFromTrash(r ledger.Record, own string) error {
	err := op.Store.Dirs.WithParents(op.Path, func() error { return op.Store.Dirs.BringBack(share.TrashDir, own, op.Path) })
	there, lookErr := op.identify(r.Directory)
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case r.Directory.Match(there) == share.Same: // also if only the answer got lost
		return nil
	case err == nil:
		return fmt.Errorf("%w: %q is another directory than the one that was released", share.ErrChanged, op.Path)
	}
	return err
}
