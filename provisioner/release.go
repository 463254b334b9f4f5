package provisioner

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Delete does with a released volume's directory what its PersistentVolume
// says. It returns nil when the PersistentVolume may go. Errors are *Refusal.
func (p *Provisioner) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	site, vol, err := p.find(pv)
	if err != nil {
		return err
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "path", vol.Path))
	return p.on(ctx, site, vol.Path, "release "+pv.Name, func(ctx context.Context, op operation) (takeBack func(), err error) {
		return nil, op.release(ctx, pv, vol) // what was begun of a release is what is to be done
	})
}

func (op operation) release(ctx context.Context, pv *v1.PersistentVolume, vol volume.Volume) error {
	record, ours, err := op.ownRecord(ctx, pv, vol)
	if err != nil {
		return err
	}
	if !ours { // an earlier call may have ended before it removed the parents
		op.tidyParents(ctx, vol.Path)
		return nil
	}
	policy, err := op.policy(vol, record)
	if err != nil {
		return err
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "policy", policy))
	if err := op.checkAlone(vol.Path, record); err != nil {
		return err
	}
	switch policy {
	case class.Delete:
		err = op.discard(ctx, vol.Path, record)
	case class.Archive:
		record.ArchiveRetention = retention(vol, record)
		_, err = op.archive(ctx, vol.Path, record)
	case class.Retain:
		err = op.retain(ctx, vol.Path, record)
	}
	if err != nil {
		return storageError(err)
	}
	op.tidyParents(ctx, vol.Path)
	return nil
}

// ownRecord returns the record that says that path is pv's. It reports false
// if nothing of pv's is left on the share, so that pv may go, and refuses what
// is not clear. A peer's volume gets its record here if it has none yet.
func (op operation) ownRecord(ctx context.Context, pv *v1.PersistentVolume, vol volume.Volume) (ledger.Record, bool, error) {
	logger, path := klog.FromContext(ctx), vol.Path
	record, known, err := op.ledger.Lookup(path)
	if err != nil {
		return record, false, storageError(err)
	}
	if known && op.owns(record, pv) {
		if record.Cluster != op.cluster {
			record = op.moved(record, pv)
			err = op.ledger.Activate(path, record)
		}
		return record, true, storageError(err)
	}
	if known && record.Created.After(pv.CreationTimestamp.Time) {
		// This volume's record went in an earlier call, whose end did not
		// reach the API server, and the path has a new owner since.
		logger.Info("Nothing is left of the volume, its path has a new owner", "owner", record.PV)
		return record, false, nil
	}
	if known {
		return record, false, refusal.Unchanged(refusal.Refuse(refusal.ReasonRecord, "path %q belongs to volume %s by its record", path, record.PV))
	}
	present, err := op.dirs.Exists(path)
	if err != nil {
		return record, false, storageError(err)
	}
	if present && vol.Peer {
		record, err = op.recordPeer(vol)
		return record, err == nil, err
	}
	if present {
		return record, false, op.unrecorded(pv, path)
	}
	logger.Info("Directory and record are already gone, the volume is let go")
	return record, false, nil
}

// unrecorded refuses a directory that no record names. It may hold volumes that
// were made since, or be part of one, so nobody is told to remove it before that
// is known.
func (op operation) unrecorded(pv *v1.PersistentVolume, path volpath.Path) error {
	asking := ledger.Record{PV: pv.Name, Cluster: op.cluster}
	err := op.ledger.CheckAbove(path, asking)
	if err == nil {
		err = op.ledger.CheckBelow(path, asking)
	}
	if err != nil {
		return refusal.Unchanged(storageError(fmt.Errorf("no record on the share says that directory %q is this volume's: %w", path, err)))
	}
	return refusal.Unchanged(refusal.Refuse(refusal.ReasonRecord, "no record on the share says that directory %q is this volume's. "+
		"Remove the directory by hand if it is no longer needed; the PersistentVolume then goes by itself", path))
}

// discard moves the directory and then its record into the trash: the path is
// free, and what empties the trash finds both.
func (op operation) discard(ctx context.Context, path volpath.Path, record ledger.Record) error {
	logger := klog.FromContext(ctx)
	present, err := op.dirs.Exists(path)
	if err != nil {
		return err
	}
	if !present {
		logger.Info("Directory is already gone, the volume is let go")
		return op.ledger.Forget(path)
	}
	name, err := op.dirs.Discard(path, record.PV)
	if share.CannotMove(err) {
		logger.Info("The directory cannot be moved into the trash, removing it where it is", "because", err.Error())
		if err := op.dirs.Remove(path); err != nil {
			return err
		}
		logger.Info("Removed directory")
		return op.ledger.Forget(path)
	}
	if err != nil {
		return err
	}
	logger.Info("Moved directory into the trash", "trash", name)
	return op.ledger.Discard(path, name)
}

func (op operation) retain(ctx context.Context, path volpath.Path, record ledger.Record) error {
	present, err := op.dirs.Exists(path)
	if err != nil {
		return err
	}
	if !present {
		klog.FromContext(ctx).Info("Directory is already gone, the volume is let go")
		return op.ledger.Forget(path)
	}
	if record.State != ledger.Retained {
		if err := op.ledger.Retain(path, record); err != nil {
			return err
		}
		klog.FromContext(ctx).Info("Kept directory")
	}
	return nil
}
