package steps

import (
	"context"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

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
	record, _, err := op.Store.Records.Lookup(archive)
	if err != nil {
		return false, err
	}
	aside, err := op.asideToReturn(own, r, record)
	if err != nil {
		return false, err
	}
	if aside == "" {
		moved, err := op.archiveMoved(archive)
		if err != nil || !moved {
			return false, err
		}
		there, err := op.identify(r.Directory)
		if err != nil || there == nil || record.Directory.Match(there) == share.Different { // somebody made it
			return false, err
		}
		if err := op.Store.Dirs.SetAside(op.Path, share.MovingDir, own, there); err != nil {
			return false, err
		}
		aside = own
	}
	return true, op.Store.Dirs.BringBack(share.MovingDir, aside, archive)
}

// asideToReturn returns the name under which an archive is set aside for the volume of r, or none. It is the volume's own name, or, if an
// earlier call was cut off after holdForReturn, that of the volume which the record named before.
func (op Op) asideToReturn(own string, r, archive ledger.Record) (string, error) {
	aside, err := op.aside(own)
	if err != nil || aside != nil && archive.Directory.Match(aside) != share.Different {
		return own, err
	}
	if archive.Directory == nil {
		return "", nil
	}
	found, err := findAside(op.Store.Dirs, share.MovingDir, archive.Directory)
	if err != nil || found == nil || !volpath.IsOwnAt(found.own, r.Cluster, op.Path) {
		return "", err
	}
	return found.own, nil
}
