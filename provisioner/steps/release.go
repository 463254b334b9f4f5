package steps

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Release does with the directory of v, whose PersistentVolume was released, what that
// says. It returns nil when the PersistentVolume may go.
func (op Op) Release(ctx context.Context, v volume.Volume) error {
	if err := op.config.Released(ctx, v); err != nil {
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonVolume, "release volume %s: %w", v.Name, err))
	}
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
	if err := op.checkAlone(record); err != nil {
		return err
	}
	if record, err = op.follow(ctx, v, record); err != nil {
		return err
	}
	if err := op.carryOut(ctx, v, record, policy); err != nil {
		return err
	}
	op.tidyParents(ctx)
	return nil
}

// carryOut does with the directory of a released volume what the policy says.
func (op Op) carryOut(ctx context.Context, v volume.Volume, record ledger.Record, policy class.Policy) (err error) {
	inside := op.keepsAdopted(policy, record)
	if inside != nil {
		policy = class.Archive
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "policy", policy))
	if policy != class.Archive && (record.Policy != string(policy) || record.Adopted) { // an earlier call may have begun to archive it
		if err := op.removeEmptyArchive(record); err != nil {
			return err
		}
	}
	switch policy {
	case class.Delete:
		return op.discard(ctx, record)
	case class.Retain:
		return op.retain(ctx, record)
	case class.Archive:
	}
	record.ArchiveRetention = retention(v, record)
	archive, err := op.archive(ctx, record)
	if err == nil && inside != nil && archive != (volpath.Path{}) {
		op.config.Report(ctx, record, EventArchived, fmt.Sprintf("the directory of the released volume %[1]s was to be deleted, and was adopted inside the directory of PersistentVolume %[2]s, "+
			"which claimdir did not make. It is kept as archive %[3]s; remove that if it is not needed: claimdir archive purge %[1]s", record.PV, inside.Name, archive))
	}
	return err
}

// keepsAdopted returns the PersistentVolume of somebody else because of which the directory
// is archived although it is to be deleted: claimdir adopted it inside that one's
// directory. What claimdir made there, or a peer, is its own.
func (op Op) keepsAdopted(policy class.Policy, record ledger.Record) *v1.PersistentVolume {
	if policy != class.Delete || !record.Adopted || record.Policy == "" {
		return nil
	}
	return op.volumeAbove()
}

// ownRecord returns the record that says that the path is v's. It reports false
// if nothing of v's is left on the share, so that v may go, and refuses what
// is not clear.
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
		return op.decidedPeer(ctx, v)
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
	moved.Claim.NamespaceUID = "" // that of a namespace of the lost cluster
	if v.Claim.UID != "" {
		moved.Claim.UID = v.Claim.UID
	}
	record, err = op.Store.Records.TakeOver(op.Path, lost, moved)
	return record, err == nil, err
}

// decidedPeer is ownRecord for a peer's volume whose directory no record names. A
// PersistentVolume alone does not prove that the directory is its volume's: the objects of
// another cluster, restored here, name directories that are in use there. So an
// administrator decides, by an annotation, and nothing is deleted.
func (op Op) decidedPeer(ctx context.Context, v volume.Volume) (record ledger.Record, found bool, err error) {
	if v.Policy == class.Retain {
		klog.FromContext(ctx).Info("Kept directory without a record, the volume is let go", "policy", v.Policy)
		return record, false, nil
	}
	if v.Policy == class.Archive {
		record, err = op.recordPeer(v)
		return record, err == nil, err
	}
	if err := op.checkVolumes(op.Path, v.Name); err != nil {
		return record, false, err
	}
	return record, false, refusal.Unchanged(refusal.Refuse(refusal.ReasonRecord, "no record on the share says that directory %[1]q is this volume's, and another cluster may use it. Decide: "+
		"kubectl annotate --overwrite pv %[2]s %[3]s=retain keeps the directory and lets the PersistentVolume go; with %[3]s=archive it becomes an archive, which claimdir archive purge removes",
		op.Path, v.Name, volume.AnnotationOnDelete))
}

// TakeOver writes the record of this cluster for a volume that has none: one that
// nfs-subdir-external-provisioner or its predecessor made, or one that was recovered from
// the records of a cluster that is lost. A peer's volume must be bound to a claim, unless
// the share had no records before: see decidedPeer. TakeOver touches no directory, and
// reports whether it wrote a record.
func (op Op) TakeOver(v volume.Volume, hadNoRecords bool) (bool, error) {
	_, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || found {
		return false, err
	}
	if _, found, err := op.owned(v); err != nil || found {
		return found, err
	}
	_, taken, err := op.Store.Records.Lookup(op.Path)
	if err != nil || taken || !v.Peer || !hadNoRecords && !op.config.Objects.Bound(v.Name) {
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
	if v.Policy != "" {
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
