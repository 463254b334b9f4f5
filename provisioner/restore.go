package provisioner

import (
	"context"
	"errors"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// restore makes the volume of a claim that asks for an archive: it takes the path
// with a record that names the archive, and then renames the archive there. A
// repeat goes on with what the record names, whatever the claim says by then. Nothing
// is taken back after a late answer: the repeat finds a complete volume.
func (op operation) restore(ctx context.Context, path volpath.Path, record ledger.Record, w wish) error {
	own, known, err := op.ledger.Lookup(path)
	switch {
	case err != nil:
		return storageError(err)
	case known && own.PV == record.PV && own.Cluster == record.Cluster && own.RestoredFrom != "":
		return op.bringBack(ctx, path, own)
	case known && own.PV == record.PV && own.Cluster == record.Cluster:
		return refusal.Refuse(refusal.ReasonArchive, "annotation %s came after the volume was begun, without anything restored; delete the claim and make it anew with the annotation", volume.AnnotationRestore)
	case known && own.State != ledger.Creating: // a retained one, too: it is not to be mixed up with what is restored
		return storageError(ledger.Taken(path, own, record))
	}
	archive, err := op.findArchive(record, w)
	if err != nil {
		return err
	}
	if err := op.giveBackAbandoned(path, archive, record); err != nil {
		return storageError(err)
	}
	record.RestoredFrom = archive.Path
	record, err = op.takePath(path, record, class.Refuse)
	if err != nil {
		return err
	}
	return op.bringBack(ctx, path, record)
}

// bringBack renames the archive that the record names to path and completes the
// record. The record of the archive goes last, so that the archive can be given
// back until then.
func (op operation) bringBack(ctx context.Context, path volpath.Path, record ledger.Record) error {
	archive, err := volpath.ParseRecorded(record.RestoredFrom)
	if err != nil {
		return storageError(err)
	}
	if record.State == ledger.Active {
		return op.completeRestore(path, archive)
	}
	err = op.moveBack(path, archive, record)
	if err == nil { // as for a directory that is made: a volume above may have come meanwhile
		err = op.ledger.CheckAbove(path, record)
	}
	if err == nil {
		err = op.ledger.Activate(path, record)
	}
	if err != nil {
		return storageError(errors.Join(err, op.undoing().giveBack(path, record)))
	}
	klog.FromContext(ctx).Info("Restored archive", "path", path, "archive", archive)
	return storageError(op.forgetRestored(archive))
}

// completeRestore is a repeat for a record that is complete already.
func (op operation) completeRestore(path, archive volpath.Path) error {
	present, err := op.dirs.Exists(path)
	if err == nil && !present {
		return refusal.Postpone(refusal.ReasonRecord, "directory %q of the volume, restored from %s, is missing; put it back from a copy, or delete the claim", path, archive)
	}
	if err == nil {
		err = op.forgetRestored(archive)
	}
	return storageError(err)
}

// moveBack renames the archive to path, unless an earlier call did.
func (op operation) moveBack(path, archive volpath.Path, record ledger.Record) error {
	present, err := op.dirs.Exists(path)
	if err != nil {
		return err
	}
	if present {
		moved, err := op.archiveMoved(archive)
		if err == nil && !moved { // somebody made it since takePath looked
			err = errExists(path, record)
		}
		return err
	}
	if err := op.checkVolumes(archive, record.PV); err != nil {
		return err
	}
	// A volume that is just being made below path would find its directory in the
	// archive. As with one that is adopted: see adopt.
	if err := op.ledger.CheckBelow(path, record); err != nil {
		return err
	}
	err = op.withParents(path, func() error { return op.dirs.Rename(archive, path) })
	if errors.Is(err, fs.ErrExist) {
		return errExists(path, record)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if there, lookErr := op.dirs.Exists(archive); lookErr != nil || !there {
			return errors.Join(lookErr, refusal.Postpone(refusal.ReasonArchive, "archive %s is not there any more: another claim got it, or it was removed", archive))
		}
	}
	return err
}

// forgetRestored removes the record of an archive that became a volume.
func (op operation) forgetRestored(archive volpath.Path) error {
	record, known, err := op.ledger.Lookup(archive)
	if err != nil || !known || record.State != ledger.Archived {
		return err
	}
	present, err := op.dirs.Exists(archive)
	if err != nil || present { // a later one of the same name
		return err
	}
	return op.ledger.Forget(archive)
}

// abandonedRestore reports whether owner is what an earlier claim of the same name
// left that asked for an archive and went before it had it.
func (op operation) abandonedRestore(owner, asking ledger.Record) bool {
	return owner.Restoring() && owner.PV != asking.PV &&
		owner.Cluster == asking.Cluster && owner.Claim.Namespace == asking.Claim.Namespace && owner.Claim.Name == asking.Claim.Name
}

// giveBackAbandoned brings an archive back that an earlier claim of the name began to
// restore to another path and never had. Without such a claim the sweep does it.
func (op operation) giveBackAbandoned(path volpath.Path, archive, asking ledger.Record) error {
	p, err := volpath.ParseRecorded(archive.Path)
	if err != nil {
		return err
	}
	if present, err := op.dirs.Exists(p); err != nil || present {
		return err
	}
	getting, restoring, err := op.ledger.Restoring(p)
	if err != nil || !restoring || !op.abandonedRestore(getting, asking) || getting.Path == path.String() { // takePath does that one
		return err
	}
	there, err := volpath.ParseRecorded(getting.Path)
	if err != nil {
		return err
	}
	unlock, err := op.lock(op.site, there)
	if err != nil {
		return err
	}
	defer unlock()
	return op.giveBack(there, getting)
}

// giveBack makes an archive again of the volume of record, and frees its path, unless
// that is complete by now, as it may be if an answer was lost: then a repeat goes on.
func (op operation) giveBack(path volpath.Path, record ledger.Record) error {
	now, known, err := op.ledger.Lookup(path)
	if err != nil || !known || now.PV != record.PV || !now.Restoring() {
		return err
	}
	if _, err := op.returnArchive(path, now); err != nil {
		return err
	}
	return op.pruneParents(path)
}

// returnArchive renames what was renamed for a volume that was not completed, if
// anything was, and removes the volume's record.
func (op operation) returnArchive(path volpath.Path, record ledger.Record) (returned bool, err error) {
	archive, err := volpath.ParseRecorded(record.RestoredFrom)
	if err != nil {
		return false, err
	}
	moved, err := op.archiveMoved(archive)
	if err != nil {
		return false, err
	}
	if moved {
		err := op.dirs.Rename(path, archive)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		returned = err == nil
	}
	return returned, op.ledger.Forget(path)
}

// archiveMoved reports whether an archive has left its place for an unfinished restore.
// Until that is complete its record stays: nobody forgets it, and one that went
// otherwise took its record along.
func (op operation) archiveMoved(archive volpath.Path) (bool, error) {
	there, err := op.dirs.Exists(archive)
	if err != nil || there {
		return false, err
	}
	record, known, err := op.ledger.Lookup(archive)
	return known && record.State == ledger.Archived, err
}
