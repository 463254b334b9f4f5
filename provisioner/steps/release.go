package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Release does with the directory of v, whose PersistentVolume was released, what that
// says. It returns nil when the PersistentVolume may go.
func (op Op) Release(ctx context.Context, v volume.Volume) error {
	record, ours, err := op.ownRecord(ctx, v)
	if err != nil {
		return err
	}
	if !ours { // an earlier call may have ended before it removed the parents
		op.tidyParents(ctx)
		return nil
	}
	policy, err := op.policy(v, record)
	if err != nil {
		return err
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "policy", policy))
	if err := op.checkAlone(record); err != nil {
		return err
	}
	if policy != class.Archive && record.Policy != string(policy) { // an earlier call may have begun to archive it
		if err := op.removeEmptyArchive(record); err != nil {
			return err
		}
	}
	switch policy {
	case class.Delete:
		err = op.discard(ctx, record)
	case class.Archive:
		record.ArchiveRetention = retention(v, record)
		_, err = op.archive(ctx, record)
	case class.Retain:
		err = op.retain(ctx, record)
	}
	if err != nil {
		return err
	}
	op.tidyParents(ctx)
	return nil
}

// ownRecord returns the record that says that the path is v's. It reports false
// if nothing of v's is left on the share, so that v may go, and refuses what
// is not clear. A peer's volume gets its record here if it has none yet.
func (op Op) ownRecord(ctx context.Context, v volume.Volume) (ledger.Record, bool, error) {
	record, found, err := op.owned(v)
	if err != nil || found {
		return record, found, err
	}
	other, taken, err := op.Store.Records.Lookup(op.Path)
	if err != nil {
		return record, false, err
	}
	if taken && !v.Peer && other.PV != v.Name {
		// The record of a volume of ours goes with its release and not before: this one
		// was released in an earlier call, whose end did not reach the API server.
		klog.FromContext(ctx).Info("Nothing is left of the volume, its path has a new owner", "owner", other.PV)
		return record, false, nil
	}
	if taken {
		of := ""
		if other.Cluster != op.config.Cluster {
			of = " of another cluster"
		}
		return record, false, refusal.Unchanged(refusal.Refuse(refusal.ReasonRecord, "path %q belongs to volume %s%s by its record", op.Path, other.PV, of))
	}
	present, err := op.Store.Dirs.Exists(op.Path)
	if err != nil {
		return record, false, err
	}
	if present && v.Peer {
		record, err = op.recordPeer(v)
		return record, err == nil, err
	}
	if present {
		return record, false, op.unrecorded(v)
	}
	klog.FromContext(ctx).Info("Directory and record are already gone, the volume is let go")
	return record, false, nil
}

// owned returns the volume's own record: of this cluster, or of the lost one that it was
// recovered from. Only an administrator can write that on a PersistentVolume. What was
// archived is nobody's any more.
func (op Op) owned(v volume.Volume) (ledger.Record, bool, error) {
	record, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || found {
		return record, found && record.State != ledger.Archived, err
	}
	lost, found, err := op.Store.Records.Own(op.Path, v.Name, v.RecoveredFrom)
	if err != nil || !found || lost.State == ledger.Archived {
		return record, false, err
	}
	moved := lost
	moved.Cluster, moved.State, moved.Released = op.config.Cluster, ledger.Active, nil
	if v.Claim.UID != "" {
		moved.Claim.UID = v.Claim.UID
	}
	record, err = op.Store.Records.TakeOver(op.Path, lost, moved)
	return record, err == nil, err
}

// TakeOver writes the record of this cluster for a volume that has none: one that
// nfs-subdir-external-provisioner or its predecessor made, or one that was recovered from
// the records of a cluster that is lost. It touches no directory, and reports whether it
// wrote a record.
func (op Op) TakeOver(v volume.Volume) (bool, error) {
	_, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || found {
		return false, err
	}
	if _, found, err := op.owned(v); err != nil || found {
		return found, err
	}
	_, taken, err := op.Store.Records.Lookup(op.Path)
	if err != nil || taken || !v.Peer {
		return false, err
	}
	present, err := op.Store.Dirs.Exists(op.Path)
	if err != nil || !present {
		return false, err
	}
	_, err = op.recordPeer(v)
	return err == nil, err
}

// recordPeer writes the record of a directory that a peer made. What else the
// ledger has below it is for its release to see: here that would be a listing of
// all records for each of the peer's volumes.
func (op Op) recordPeer(v volume.Volume) (ledger.Record, error) {
	if err := op.checkVolumes(op.Path, v.Name); err != nil {
		return ledger.Record{}, err
	}
	id, err := op.Store.Dirs.Identify(op.Path)
	if err != nil {
		return ledger.Record{}, err
	}
	record := v.Record()
	record.State, record.Cluster, record.Directory = ledger.Active, op.config.Cluster, id
	return op.Store.Records.Take(op.Path, record, false)
}

// unrecorded refuses a directory that no record names. It may hold volumes that
// were made since, or be part of one, so nobody is told to remove it before that
// is known.
func (op Op) unrecorded(v volume.Volume) error {
	asking := ledger.Record{PV: v.Name, Cluster: op.config.Cluster}
	err := op.Store.Records.CheckAbove(op.Path, asking)
	if err == nil {
		err = op.Store.Records.CheckBelow(op.Path, asking)
	}
	if err != nil {
		return refusal.Unchanged(Refused(fmt.Errorf("no record on the share says that directory %q is this volume's: %w", op.Path, err)))
	}
	return refusal.Unchanged(refusal.Refuse(refusal.ReasonRecord, "no record on the share says that directory %q is this volume's. "+
		"Remove the directory by hand if it is no longer needed; the PersistentVolume then goes by itself", op.Path))
}

// retention is how long the archive of a released volume is kept: what its
// PersistentVolume says. A volume of ours that lost its annotations has it on record.
func retention(v volume.Volume, record ledger.Record) string {
	if lost := v.Peer && record.Policy != ""; lost && v.Retention == 0 {
		return record.ArchiveRetention
	}
	return class.FormatRetention(v.Retention)
}

// policy is what becomes of a released volume: what its PersistentVolume says
// or, for a peer's, what its class says as the peer would read it. Without a
// class nothing is lost: the directory is archived. A volume of ours that lost
// its annotations has its policy on record.
func (op Op) policy(v volume.Volume, record ledger.Record) (class.Policy, error) {
	if !v.Peer {
		return v.Policy, nil
	}
	if record.Policy != "" {
		return class.ParsePolicy(record.Policy)
	}
	c, found := op.config.Objects.Class(record.Class)
	if !found {
		return class.Archive, nil
	}
	policy, err := class.PeerPolicy(c.Parameters)
	if err != nil {
		return "", refusal.Unchanged(refusal.Refuse(refusal.ReasonClass, "StorageClass %s: %w", record.Class, err))
	}
	return policy, nil
}

// discard moves the directory and then its record into the trash: the path is
// free, and what empties the trash finds both. A directory that is not the one on record
// is archived: it was put there by a copy, or a server that renumbers.
func (op Op) discard(ctx context.Context, r ledger.Record) error {
	logger := klog.FromContext(ctx)
	id, gone, err := op.present(ctx, r)
	if err != nil {
		return err
	}
	if id == nil && gone != nil && gone.in == share.TrashDir { // by an earlier call
		return op.Store.Records.Discard(op.Path, r, gone.own)
	}
	if id == nil {
		return op.letGo(ctx, r)
	}
	if r.Directory.Match(id) == share.Different {
		archive, err := op.archive(ctx, r)
		if err == nil {
			op.config.Report(ctx, r, EventArchived, fmt.Sprintf("the directory of the released volume %s (claim %s/%s) was to be deleted, and is another one than its record says: "+
				"it was copied, restored or renumbered. It is kept as archive %s; remove that if it is not needed: claimdir archive purge %s", r.PV, r.Claim.Namespace, r.Claim.Name, archive, r.PV))
		}
		return err
	}
	own, err := op.trash(r, op.Path, id)
	if share.CannotMove(err) {
		logger.Info("The directory cannot be moved into the trash, removing it where it is", "because", err.Error())
		if err := op.Store.Dirs.Remove(op.Path, id); err != nil {
			return err
		}
		logger.Info("Removed directory")
		return op.Store.Records.Remove(op.Path, r)
	}
	if err != nil {
		return err
	}
	logger.Info("Moved directory into the trash", "trash", own)
	return op.Store.Records.Discard(op.Path, r, own)
}

// trash sets a directory aside in the trash, under the first name of the volume's that is
// free, which it returns.
func (op Op) trash(r ledger.Record, path volpath.Path, id *share.Identity) (own string, err error) {
	for n := 1; ; n++ {
		own = volpath.Trash(r.PV, r.Cluster, n)
		err = op.Store.Dirs.SetAside(path, share.TrashDir, own, id)
		if !errors.Is(err, fs.ErrExist) {
			return own, err
		}
	}
}

// present returns which directory a released volume has at its path. If it has none,
// because this release has moved it into the trash or archived it, it returns where that
// is; one that is somewhere else comes back.
func (op Op) present(ctx context.Context, r ledger.Record) (id *share.Identity, gone *place, err error) {
	id, err = op.identifyOwn(r)
	if err != nil || id != nil || r.Directory == nil {
		return id, nil, err
	}
	found, err := op.findOwn(r)
	if err != nil || found == nil {
		return nil, nil, err
	}
	if found.ends(r) {
		return nil, found, nil
	}
	id, err = op.putBack(ctx, r, found)
	return id, nil, err
}

// ends reports whether the release of the volume ends with its directory there.
func (p *place) ends(r ledger.Record) bool {
	if p.in == "" {
		return volpath.IsArchiveOf(p.archive, r.Claim.Namespace, r.Claim.Name, r.PV)
	}
	return p.in == share.TrashDir && volpath.IsOwnOf(p.own, r.PV, r.Cluster)
}

// letGo ends the release of a volume whose directory is gone.
func (op Op) letGo(ctx context.Context, r ledger.Record) error {
	klog.FromContext(ctx).Info("Directory is already gone, the volume is let go")
	return op.Store.Records.Remove(op.Path, r)
}

func (op Op) retain(ctx context.Context, r ledger.Record) error {
	id, err := op.directory(ctx, r)
	if err != nil {
		return err
	}
	if id == nil {
		return op.letGo(ctx, r)
	}
	if r.State != ledger.Retained {
		if err := op.Store.Records.Retain(op.Path, r, id); err != nil {
			return err
		}
		klog.FromContext(ctx).Info("Kept directory")
	}
	return nil
}
