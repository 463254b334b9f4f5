package steps

import (
	"context"
	"errors"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// restore brings the archive that the record names to the path, and says which directory
// it is. The archive is set aside first, under the volume's own name: of two claims that
// want one archive, or a claim and its expiry, one gets it.
func (op Op) restore(r ledger.Record) (*share.Identity, error) {
	from, err := volpath.ParseRecorded(r.RestoredFrom)
	if err != nil {
		return nil, err
	}
	own := op.own(r)
	aside, err := op.aside(own)
	if err != nil {
		return nil, err
	}
	if aside == nil {
		there, err := op.identify(r.Directory)
		if err != nil {
			return nil, err
		}
		if there != nil {
			left, err := op.leftEmpty(from)
			if err != nil {
				return nil, err
			}
			if !left {
				return there, op.checkRestored(from, r, there)
			}
		}
		if err := op.takeArchive(from, own, r); err != nil {
			return nil, err
		}
	}
	err = op.bring(func() error { return op.Store.Dirs.BringBack(share.MovingDir, own, op.Path) })
	if errors.Is(err, fs.ErrExist) {
		return nil, errExists(op.Path.String(), r)
	}
	if err != nil {
		return nil, err
	}
	return op.identify(r.Directory)
}

// leftEmpty reports whether what is at the path is an empty directory that is marked as
// ours, and not the archive: a call that came late left it, or it is about to be a parent.
func (op Op) leftEmpty(from volpath.Path) (bool, error) {
	moved, err := op.archiveMoved(from)
	if err != nil || moved {
		return false, err
	}
	return op.Store.Dirs.IsMarked(op.Path)
}

// checkRestored refuses what is at the path if it is not the archive, which an earlier
// call brought there.
func (op Op) checkRestored(from volpath.Path, r ledger.Record, there *share.Identity) error {
	moved, err := op.archiveMoved(from)
	if err != nil {
		return err
	}
	archive, found, err := op.Store.Records.Lookup(from)
	if err != nil {
		return err
	}
	if !moved || found && archive.Directory.Match(there) == share.Different { // somebody made it since take looked
		return errExists(op.Path.String(), r)
	}
	return nil
}

// takeArchive sets the archive aside.
func (op Op) takeArchive(from volpath.Path, own string, r ledger.Record) error {
	if err := op.checkVolumes(from, r.PV); err != nil {
		return err
	}
	// A volume that is just being made below path would find its directory in the
	// archive. As with one that is adopted: see existing.place.
	if err := op.Store.Records.CheckBelow(op.Path, r); err != nil {
		return err
	}
	archive, found, err := op.Store.Records.Lookup(from)
	if err != nil {
		return err
	}
	if found && archive.State == ledger.Archived {
		err = op.Store.Dirs.SetAside(from, share.MovingDir, own, archive.Directory)
	}
	if !found || errors.Is(err, fs.ErrNotExist) {
		return refusal.Postpone(refusal.ReasonArchive, "archive %s is not there any more: another claim got it, or it was removed", from)
	}
	return err
}

// endRestored removes the record of an archive that became a volume.
func (op Op) endRestored(r ledger.Record) error {
	archive, err := volpath.ParseRecorded(r.RestoredFrom)
	if err != nil {
		return err
	}
	record, found, err := op.Store.Records.Lookup(archive)
	if err != nil || !found || record.State != ledger.Archived {
		return err
	}
	present, err := op.Store.Dirs.Exists(archive)
	if err != nil || present { // a later one of the same name
		return err
	}
	return op.Store.Records.Remove(archive, record)
}

// abandoned reports whether owner is what an earlier claim of the same name left that asked for an archive or a copy
// and went before it had it; or what asking's own claim left at another path, which it had before its labels or
// annotations changed.
func abandoned(owner, asking ledger.Record) bool {
	return (owner.Restoring() || owner.Copying()) && (owner.PV != asking.PV || owner.Path != asking.Path) &&
		owner.Cluster == asking.Cluster && owner.Claim.Namespace == asking.Claim.Namespace && owner.Claim.Name == asking.Claim.Name
}

// giveBackAbandoned brings an archive back that an earlier claim of the name, or this one,
// began to restore to another path and never had. Without such a claim the sweep does it.
func (op Op) giveBackAbandoned(ctx context.Context, archive, asking ledger.Record) error {
	p, err := volpath.ParseRecorded(archive.Path)
	if err != nil {
		return err
	}
	if present, err := op.Store.Dirs.Exists(p); err != nil || present {
		return err
	}
	getting, restoring, err := op.Store.Records.Restoring(p)
	if err != nil || !restoring || !abandoned(getting, asking) || getting.Path == op.Path.String() { // take does that one
		return err
	}
	there, err := volpath.ParseRecorded(getting.Path)
	if err != nil {
		return err
	}
	unlock, err := op.locks.lock(ctx, lockKey{op.id, there})
	if err != nil {
		return err
	}
	defer unlock()
	other := op
	other.Path = there
	return other.undoRestore(ctx, getting)
}

// undoRestore makes an archive again of the volume of r, and frees its path, unless
// that is complete by now, as it may be if an answer was lost: then a repeat goes on.
func (op Op) undoRestore(ctx context.Context, r ledger.Record) error {
	now, found, err := op.Store.Records.Own(op.Path, r.PV, r.Cluster)
	if err != nil || !found || !now.Restoring() {
		return err
	}
	held, err := op.holdForReturn(now)
	if err != nil {
		return err
	}
	returned, err := op.returnArchive(now)
	if err != nil {
		return err
	}
	if err := op.Store.Records.Remove(op.Path, held); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Gave up a volume that was to be made from an archive", "path", op.Path, "PV", now.PV, "archive", now.RestoredFrom, "returned", returned)
	op.tidyParents(ctx)
	return nil
}

// holdForReturn takes the record from the volume that is given up, in the name of the one
// that the archive was: a process that still makes the volume can complete it no more.
func (op Op) holdForReturn(now ledger.Record) (ledger.Record, error) {
	archive, err := volpath.ParseRecorded(now.RestoredFrom)
	if err != nil {
		return now, err
	}
	record, found, err := op.Store.Records.Lookup(archive)
	if err != nil || !found || record.PV == now.PV {
		return now, err
	}
	held := now
	held.PV = record.PV
	return op.Store.Records.TakeOver(op.Path, now, held)
}

// returnArchive brings the archive back to its place, if it has left it.
func (op Op) returnArchive(r ledger.Record) (returned bool, err error) {
	archive, err := volpath.ParseRecorded(r.RestoredFrom)
	if err != nil {
		return false, err
	}
	own := op.own(r)
	// A call that is still on its way to set the archive aside fails from here on.
	if err := op.Store.Dirs.RemoveEmptyDirectory(share.MovingDir, own); err != nil {
		return false, err
	}
	aside, err := op.aside(own)
	if err != nil {
		return false, err
	}
	if aside == nil {
		moved, err := op.archiveMoved(archive)
		if err != nil || !moved {
			return false, err
		}
		there, err := op.identify(r.Directory)
		if err != nil || there == nil {
			return false, err
		}
		record, _, err := op.Store.Records.Lookup(archive)
		if err != nil || record.Directory.Match(there) == share.Different { // somebody made it
			return false, err
		}
		if err := op.Store.Dirs.SetAside(op.Path, share.MovingDir, own, there); err != nil {
			return false, err
		}
	}
	return true, op.Store.Dirs.BringBack(share.MovingDir, own, archive)
}

// archiveMoved reports whether an archive has left its place for an unfinished restore.
// Until that is complete its record stays: nobody removes it, and one that went
// otherwise took its record along.
func (op Op) archiveMoved(archive volpath.Path) (bool, error) {
	there, err := op.Store.Dirs.Exists(archive)
	if err != nil || there {
		return false, err
	}
	record, found, err := op.Store.Records.Lookup(archive)
	return found && record.State == ledger.Archived, err
}
