package provisioner

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Provisioner makes and releases volumes for one controller of the library. Each
// share has one, so that one that hangs holds the workers of no other; where
// there are several, one more serves what is no single share's: classes that
// name several shares, and what is to be refused.
type Provisioner struct {
	*Shares

	site Site // nil for that one
}

var (
	_ controller.Provisioner   = &Provisioner{}
	_ controller.Qualifier     = &Provisioner{}
	_ controller.DeletionGuard = &Provisioner{}
)

// Provision makes the directory of a claim and returns its PersistentVolume.
// Errors are *Refusal. The state is always Finished: nothing goes on in the
// background, and what a failed call leaves its repeat finds.
func (p *Provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	pv, err := p.provision(ctx, o)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return pv, controller.ProvisioningFinished, nil
}

func (p *Provisioner) provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, error) {
	c, err := p.classes.Parse(string(o.StorageClass.UID), o.StorageClass.Parameters)
	if err != nil {
		return nil, refusal.Refuse(refusal.ReasonClass, "StorageClass %s: %w", o.StorageClass.Name, err)
	}
	if err := volume.Check(o.PVC); err != nil {
		return nil, err
	}
	path, err := c.Pattern.Expand(volume.Vars(o.PVName, o.PVC))
	if err != nil {
		return nil, refusal.Refuse(refusal.ReasonPath, "%w", err)
	}
	site, err := p.chooseSite(ctx, o, c, path)
	if err != nil {
		return nil, err
	}
	vol := volume.FromClaim(o.PVName, o.PVC, o.StorageClass, c, path)
	pv, err := vol.PV(site.Source())
	if err != nil {
		return nil, err
	}
	err = p.on(ctx, site, path, "provision "+o.PVName, func(ctx context.Context, op operation) (takeBack func(), err error) {
		record := p.newRecord(vol)
		if vol.Restores {
			return nil, op.restore(ctx, path, record, wish{vol.Restore, c.OnExisting == class.Adopt})
		}
		record, err = op.takePath(path, record, c.OnExisting)
		if err != nil {
			return nil, err
		}
		if record.RestoredFrom != "" { // begun when the claim asked for it, which it may not do any more
			return nil, op.bringBack(ctx, path, record)
		}
		return op.makeDirectory(ctx, path, record, c)
	})
	if err != nil {
		return nil, err
	}
	p.tried.succeeded(o.PVName)
	return pv, nil
}

// newRecord is the record of a volume that is being made.
func (s *Shares) newRecord(vol volume.Volume) ledger.Record {
	vol.Cluster = s.cluster
	record := vol.Record()
	record.State = ledger.Creating
	return record
}

// takePath makes the path this volume's, or says whose it is.
func (op operation) takePath(path volpath.Path, record ledger.Record, existing class.Existing) (ledger.Record, error) {
	known, err := op.lookAtPath(path, record)
	if err != nil {
		return ledger.Record{}, err
	}
	if !known {
		// Looked at before the record is made: a repeat could not tell a
		// directory that was there from one that it made itself.
		present, err := op.dirs.Exists(path)
		if err != nil || present {
			// Inside another volume nothing may be said of what is there.
			if above := op.ledger.CheckAbove(path, record); above != nil {
				return ledger.Record{}, storageError(above)
			}
		}
		if err != nil {
			return ledger.Record{}, storageError(err)
		}
		if present && existing != class.Adopt {
			return ledger.Record{}, errExists(path, record)
		}
		if present {
			if err := op.ledger.CheckBelow(path, record); err != nil {
				return ledger.Record{}, storageError(err)
			}
			record.Adopted = true
		}
	}
	claimed, err := op.ledger.Claim(path, record, existing == class.Adopt)
	if taken, ok := errors.AsType[*ledger.TakenError](err); ok && taken.LeftByNamesake(record) {
		err = fmt.Errorf("%w; if that cluster is lost, a class with onExisting: adopt takes it up", err)
	}
	return claimed, storageError(err)
}

// lookAtPath reports whether the path has a record, also this volume's own, and
// refuses one that another PersistentVolume is in the way of. What an earlier claim
// of the name began to restore it gives back.
func (op operation) lookAtPath(path volpath.Path, record ledger.Record) (known bool, err error) {
	owner, known, err := op.ledger.Lookup(path)
	if err != nil {
		return false, storageError(err)
	}
	if err := op.checkVolumes(path, record.PV); err != nil {
		return false, op.knownOwner(path, owner, record, err)
	}
	if known && op.abandonedRestore(owner, record) {
		return false, storageError(op.giveBack(path, owner))
	}
	return known, nil
}

// knownOwner prefers what the ledger says of a path that is taken: it knows the
// claim too.
func (op operation) knownOwner(path volpath.Path, owner, asking ledger.Record, err error) error {
	if owner.State == ledger.Active && owner.PV != asking.PV {
		return storageError(ledger.Taken(path, owner, asking))
	}
	if above := op.ledger.CheckAbove(path, asking); above != nil {
		return storageError(above)
	}
	return err
}

// makeDirectory makes the directory of a record that is not complete yet, and
// takes back what it made if that fails.
func (op operation) makeDirectory(ctx context.Context, path volpath.Path, record ledger.Record, c class.Class) (takeBack func(), err error) {
	present, err := op.presentAlready(path, record)
	switch {
	case err != nil:
		return nil, storageError(err)
	case present && record.State == ledger.Active:
		return nil, nil
	case present:
		return op.adopt(ctx, path, record)
	}
	created := false
	err = op.withParents(path, func() (err error) {
		attributes := share.Attributes{Mode: c.Mode, UID: c.UID, GID: c.GID}
		if created, err = op.dirs.Create(path, attributes); err != nil || created {
			return err
		}
		// It may have been made as a parent, since takePath looked, and be about to go
		// as one.
		if err = op.disownParent(path); err == nil {
			created, err = op.dirs.Create(path, attributes)
		}
		return err
	})
	if err == nil {
		// A volume above may have been made since takePath looked; then its
		// directory came first and its record is there now.
		err = op.ledger.CheckAbove(path, record)
	}
	if err == nil {
		err = op.ledger.Activate(path, record)
	}
	if errors.Is(err, share.ErrOccupied) && record.State == ledger.Creating { // somebody made it since takePath looked
		return nil, storageError(errors.Join(errExists(path, record), op.undo.Records.Forget(path)))
	}
	if err != nil {
		return nil, storageError(errors.Join(err, op.takeBack(path, created, record)))
	}
	klog.FromContext(ctx).Info("Created directory", "path", path, "mode", record.Mode)
	return func() {
		if err := op.takeBack(path, created, record); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot take the directory back that was made too late", "path", path)
		}
	}, nil
}

// presentAlready reports whether the directory is there that the record says to be
// there: a complete volume's, or one to be adopted.
func (op operation) presentAlready(path volpath.Path, record ledger.Record) (bool, error) {
	if record.State == ledger.Active {
		return op.dirs.Exists(path)
	}
	if !record.Adopted {
		return false, nil
	}
	present := false
	err := op.disownParent(path)
	if err == nil {
		present, err = op.dirs.Exists(path)
	}
	if err != nil { // nothing is made yet
		err = errors.Join(err, op.undo.Records.Forget(path))
	}
	return present, err
}

// adopt completes the record of a directory that was there before. Looking
// for volumes above and below comes after the record is made, as it does for
// directories that are made: of two volumes one of which lies inside the
// other, at least one then sees the other.
func (op operation) adopt(ctx context.Context, path volpath.Path, record ledger.Record) (takeBack func(), err error) {
	err = op.ledger.CheckAbove(path, record)
	if err == nil {
		err = op.ledger.CheckBelow(path, record)
	}
	if err == nil {
		err = op.ledger.Activate(path, record)
	}
	if err != nil {
		return nil, storageError(errors.Join(err, op.undo.Records.Forget(path)))
	}
	klog.FromContext(ctx).Info("Adopted directory", "path", path)
	return func() {
		if err := op.undo.Records.Forget(path); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot take the record back that was made too late", "path", path)
		}
	}, nil
}

// takeBack undoes takePath and Create after a later step failed, or came too
// late. Only an empty directory made by this very call goes; the record goes
// with it, and then what parents have become empty.
func (op operation) takeBack(path volpath.Path, created bool, record ledger.Record) error {
	if record.State != ledger.Creating {
		return nil
	}
	if created {
		if err := op.undo.Dirs.RemoveEmpty(path); err != nil {
			return fmt.Errorf("take back: %w", err)
		}
	}
	present, err := op.undo.Dirs.Exists(path)
	if err != nil || present {
		return err // the record keeps the path for the next try
	}
	if err := op.undo.Records.Forget(path); err != nil {
		return err
	}
	return op.undoing().pruneParents(path)
}

func errExists(path volpath.Path, asking ledger.Record) error {
	if archive := asking.RestoredFrom; archive != "" {
		return refusal.Postpone(refusal.ReasonTaken, "path %q exists on the share and no record says whose it is, so archive %s cannot be renamed there; "+
			"remove the directory, or give the claim another path", path, archive)
	}
	return refusal.Postpone(refusal.ReasonTaken, "path %q exists on the share and no record says whose it is; "+
		"give the claim another path, or use a class with onExisting: adopt to take it as it is", path)
}
