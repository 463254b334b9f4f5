package steps

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// An orphan is a path whose record says that it is a volume's, or is to become
// one, while neither its claim nor its PersistentVolume is there any more: the
// claim went while the volume was being made, or somebody removed both by force.
// No call of the library comes for it; the sweep and claimdir doctor do.

var (
	// ErrNoOrphan says that a path is that of no orphan, or of none any more.
	ErrNoOrphan = errors.New("there is no such orphan")
	// ErrOrphanKept says that the directory of an orphan may not be removed.
	ErrOrphanKept = errors.New("the directory stays")
)

// Check asks, now, whether anybody may still need what a record names, and
// returns why it is not to be touched.
type Check func(ctx context.Context, r ledger.Record) error

// RemoveOrphan removes the record of a volume that is gone, and its directory if
// that is empty. One with something in it, and one that was there before the
// volume, stays, and is an ErrOrphanKept. One that a claim was about to adopt is left as
// it was. An archive that a claim was about to get is one again. Of a volume that was
// never completed inside of a later one only the record goes: what is there is that
// one's.
//
// It may run beside another process that leads: the record that it removes is the
// orphan's own, and a directory that is not empty by then, or is another volume's, stays.
func (op Op) RemoveOrphan(ctx context.Context, check Check) error {
	record, err := op.orphan(ctx, check)
	if err != nil {
		return err
	}
	if record.State != ledger.Creating {
		err = op.checkAlone(record)
	} else {
		err = op.checkNoneInside(record)
	}
	if err != nil {
		return err
	}
	return noneAnyMore(op.giveUp(ctx, record))
}

// noneAnyMore: what has lost its record meanwhile is no orphan.
func noneAnyMore(err error) error {
	if errors.Is(err, ledger.ErrLost) {
		return fmt.Errorf("%w: %w", ErrNoOrphan, err)
	}
	return err
}

// giveUp undoes what was done for a volume that will not be, as far as nothing is lost,
// and frees its path.
func (op Op) giveUp(ctx context.Context, r ledger.Record) error {
	switch {
	case r.Restoring():
		return op.undoRestore(ctx, r)
	case r.Copying():
		return op.discardCopy(ctx, r)
	}
	return op.removeUnused(ctx, r)
}

func (op Op) orphan(ctx context.Context, check Check) (ledger.Record, error) {
	record, found, err := op.Store.Records.Lookup(op.Path)
	switch {
	case err != nil:
		return record, err
	case !found || record.State != ledger.Creating && record.State != ledger.Active:
		return record, fmt.Errorf("look at what is left of %s: %w", op.Path, ErrNoOrphan)
	}
	return record, check(ctx, record)
}

// removeUnused removes a record and its directory, if that is empty, and then the empty
// parents. The record goes last: as long as it is there, nobody else has the path.
func (op Op) removeUnused(ctx context.Context, r ledger.Record) error {
	id, err := op.removeEmpty(ctx, r)
	if err != nil {
		return err
	}
	if err := op.Store.Records.Remove(op.Path, r); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Removed what was left of a volume", "path", op.Path, "PV", r.PV,
		"PVC", klog.KRef(r.Claim.Namespace, r.Claim.Name), "state", r.State, "directory", id != nil)
	op.tidyParents(ctx)
	return nil
}

// removeEmpty removes the volume's directory, which is returned if there was one. One
// inside of a later volume is that one's, unless it is known to be what was made for r.
func (op Op) removeEmpty(ctx context.Context, r ledger.Record) (*share.Identity, error) {
	if r.State == ledger.Creating && r.Directory == nil {
		var taken *ledger.TakenError
		if err := op.Store.Records.CheckAbove(op.Path, r); errors.As(err, &taken) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	id, err := op.directory(ctx, r)
	if err == nil && id == nil { // a removal that was cut off has set it aside, where only its name says whose it is
		id, err = op.aside(op.own(r))
	}
	if err != nil || id == nil {
		return nil, err
	}
	if r.Adopted {
		if r.State == ledger.Creating { // a claim was about to adopt it, and never did
			return nil, nil
		}
		return nil, fmt.Errorf("%w: it was there before the volume", ErrOrphanKept)
	}
	if r.Directory.Match(id) == share.Different {
		return nil, fmt.Errorf("%w: it is another one than the volume had", ErrOrphanKept)
	}
	err = op.Store.Dirs.RemoveEmpty(op.Path, op.own(r), id, func() error { return op.Store.Records.Ours(op.Path, r) })
	if errors.Is(err, share.ErrOccupied) {
		return nil, fmt.Errorf("%w: there is something in it", ErrOrphanKept)
	}
	return id, err
}

// ignoreKept: a volume whose directory is kept keeps its record too, for the next try.
func ignoreKept(err error) error {
	if errors.Is(err, ErrOrphanKept) {
		return nil
	}
	return err
}

// ArchiveOrphan makes the directory of an orphan an archive, as a release with that
// policy does, step by step, but one that does not expire: nobody released it. Nothing
// is lost, and a repeat goes on where it was cut off. One that a claim was about to
// adopt was never a volume's, and is refused. An orphan whose directory is gone meanwhile
// loses its record.
func (op Op) ArchiveOrphan(ctx context.Context, check Check) (archive string, err error) {
	record, err := op.orphan(ctx, check)
	if err != nil {
		return "", err
	}
	if record.Adopted && record.State == ledger.Creating {
		return "", fmt.Errorf("archive what is left of %s: it was never a volume's: %w", op.Path, ErrNoOrphan)
	}
	record.ArchiveRetention = ""
	path, err := op.archive(ctx, record)
	return path.String(), noneAnyMore(err)
}

// RemoveMissing removes the record of a retained directory or an archive that is
// not there, or is an error. A claim that takes a retained one over meanwhile has a
// record of its own then, which stays.
func (op Op) RemoveMissing(ctx context.Context, check Check) error {
	record, found, err := op.Store.Records.Lookup(op.Path)
	switch {
	case err != nil:
		return fmt.Errorf("remove the record of %s: %w", op.Path, err)
	case !found || record.State != ledger.Retained && record.State != ledger.Archived:
		return fmt.Errorf("remove the record of %s: %w", op.Path, ErrNoOrphan)
	}
	if err := check(ctx, record); err != nil {
		return err
	}
	id, err := op.directory(ctx, record)
	if err != nil {
		return noneAnyMore(err)
	}
	if id != nil {
		return fmt.Errorf("remove the record of %s: its directory is there again: %w", op.Path, ErrNoOrphan)
	}
	if record.State == ledger.Archived { // a retained directory never moves
		if err := op.checkRestoring(); err != nil {
			return fmt.Errorf("remove the record of %s: %w", op.Path, err)
		}
	}
	return op.Store.Records.Remove(op.Path, record)
}

// RemoveStrayParents removes the path if it is an empty directory that is marked as ours
// and that no record names, and then its empty parents. A call that came late may have
// left it.
func (op Op) RemoveStrayParents(ctx context.Context) (gone bool, err error) {
	_, found, err := op.Store.Records.Lookup(op.Path)
	if err != nil || found {
		return false, err
	}
	left, err := op.Store.Dirs.IsMarked(op.Path)
	if err != nil || !left {
		return false, err
	}
	gone, err = op.Store.Dirs.RemoveMarked(op.Path)
	if err == nil && gone {
		op.tidyParents(ctx)
	}
	return gone, err
}
