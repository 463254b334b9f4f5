package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// An orphan is a path whose record says that it is a volume's, or is to become
// one, while neither its claim nor its PersistentVolume is there any more: the
// claim went while the volume was being made, or somebody removed both by force.
// No call of the library comes for it.

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
// volume, stays, and is ErrOrphanKept. One that a claim was about to adopt is left as
// it was.
//
// A claim that is gone never comes back, for check compares UIDs, and a record
// that is Active or Creating for it becomes nobody else's under the lock. What may
// still come is its PersistentVolume: the library tries for ever to save one whose
// claim went meanwhile, and a saved one is Released at once. Its release finds
// neither record nor directory, and lets it go. If the path has a new owner by
// then, it is refused and told, for the new owner's record may be the older one of
// the two: that costs an administrator a look, and nobody data.
//
// An archive that the claim was about to get is one again. Of a volume that was never
// completed inside of a later one only the record goes: what is there is that one's.
func (s *Shares) RemoveOrphan(ctx context.Context, site Site, path volpath.Path, check Check) error {
	return s.on(ctx, background{site}, path, "remove what is left of "+path.String(), func(ctx context.Context, op operation) (takeBack func(), err error) {
		return nil, op.removeOrphan(ctx, path, check)
	})
}

func (op operation) removeOrphan(ctx context.Context, path volpath.Path, check Check) error {
	files := Files{op.dirs, op.ledger}
	record, err := lookupOrphan(ctx, files, path, func(ctx context.Context, r ledger.Record) error {
		if r.Cluster != op.cluster {
			return fmt.Errorf("it is another cluster's: %w", ErrNoOrphan)
		}
		return check(ctx, r)
	})
	if err != nil {
		return err
	}
	if err := op.checkOrphan(path, record); err != nil {
		return err
	}
	if record.Restoring() {
		err = op.giveBackOrphan(ctx, path, record)
	} else {
		err = removeOrphan(ctx, files, path, record)
	}
	if err != nil {
		return err
	}
	op.tidyParents(ctx, path)
	return nil
}

// checkOrphan is checkAlone, but lets what was never completed lie inside a later
// volume: its directory is left alone there, and as long as its record is there that
// volume cannot be released.
func (op operation) checkOrphan(path volpath.Path, record ledger.Record) error {
	if record.State != ledger.Creating {
		return op.checkAlone(path, record)
	}
	return op.checkNoneInside(path, record)
}

// giveBackOrphan makes an archive again of what a claim was about to get.
func (op operation) giveBackOrphan(ctx context.Context, path volpath.Path, record ledger.Record) error {
	returned, err := op.returnArchive(path, record)
	if err == nil {
		klog.FromContext(ctx).Info("Removed the record of a volume that was to be made from an archive", "path", path, "PV", record.PV, "archive", record.RestoredFrom, "returned", returned)
	}
	return err
}

// RemoveOrphan is Shares.RemoveOrphan for a process that holds neither the lease
// nor the lock of a path, beside a controller that does. check must refuse, beside
// all else, records of other clusters and claims of the same name, whatever their
// UID: such a claim may take a Creating record up.
//
// Should one come right after check, then of the two steps here
//
//   - the removal of the directory, which is empty, may hit one that the controller
//     has just made. The record is the new volume's then, for it comes first; that
//     is seen below, and the directory made again, with the same attributes;
//   - the removal of the record takes the old one or none.
//
// Whoever creates the path in between finds a record without a directory, which is
// what any repeat may find.
func RemoveOrphan(ctx context.Context, files Files, path volpath.Path, check Check) error {
	record, err := lookupOrphan(ctx, files, path, check)
	if err != nil {
		return err
	}
	return removeOrphan(ctx, files, path, record)
}

func removeOrphan(ctx context.Context, files Files, path volpath.Path, record ledger.Record) error {
	if record.State == ledger.Creating {
		var taken *ledger.TakenError
		if err := files.Records.CheckAbove(path, record); errors.As(err, &taken) {
			return forgetInside(ctx, files, path, record)
		} else if err != nil {
			return err
		}
	}
	present, err := files.Dirs.Exists(path)
	if err != nil {
		return err
	}
	removing := present && !neverAdopted(record)
	if removing && record.Adopted {
		return fmt.Errorf("%w: it was there before the volume", ErrOrphanKept)
	}
	if removing {
		err := files.Dirs.RemoveEmpty(path)
		if errors.Is(err, fs.ErrExist) { // what the system says of one with something in it
			return fmt.Errorf("%w: there is something in it", ErrOrphanKept)
		}
		if err != nil {
			return err
		}
	}
	forgotten, err := files.Records.ForgetIf(path, record)
	if err != nil {
		return err
	}
	if !forgotten {
		err := errTakenUp(path)
		if !removing {
			return err
		}
		return errors.Join(err, makeAgain(files, path))
	}
	klog.FromContext(ctx).Info("Removed what was left of a volume", "path", path, "PV", record.PV, "PVC", klog.KRef(record.Claim.Namespace, record.Claim.Name), "state", record.State, "directory", present)
	return nil
}

func errTakenUp(path volpath.Path) error {
	return fmt.Errorf("remove what is left of %s: a new volume took it up: %w", path, ErrNoOrphan)
}

// forgetInside removes the record of a volume that was never completed and lies inside
// a later one: what is there is that one's.
func forgetInside(ctx context.Context, files Files, path volpath.Path, record ledger.Record) error {
	forgotten, err := files.Records.ForgetIf(path, record)
	if err == nil && !forgotten {
		err = errTakenUp(path)
	}
	if err == nil {
		klog.FromContext(ctx).Info("Removed the record of a volume that was never completed, inside of a later one", "path", path, "PV", record.PV)
	}
	return err
}

// ArchiveOrphan makes the directory of an orphan an archive, as a release with that
// policy does, step by step, but one that does not end: nobody released it. Nothing
// is lost, and a repeat goes on where it was cut off. One that a claim was about to
// adopt was never a volume's, and is refused. It too may run beside a controller:
// only a Creating record is ever taken up by another claim, and that one refuses a
// directory with something in it until it has moved; from then on only the record is
// removed, if it is still the old one. An orphan whose directory is gone meanwhile
// loses its record.
func ArchiveOrphan(ctx context.Context, files Files, path volpath.Path, check Check) (archive volpath.Path, err error) {
	record, err := lookupOrphan(ctx, files, path, check)
	if err != nil {
		return archive, err
	}
	if neverAdopted(record) {
		return archive, fmt.Errorf("archive what is left of %s: it was never a volume's: %w", path, ErrNoOrphan)
	}
	record.ArchiveRetention = ""
	// Without Shares: archive asks neither the cluster nor a lock.
	op := operation{dirs: files.Dirs, ledger: forgetting{files.Records, path, record}, undo: files}
	return op.archive(ctx, path, record)
}

// neverAdopted reports whether a claim was about to adopt the directory, which was
// there before, and never did.
func neverAdopted(r ledger.Record) bool { return r.Adopted && r.State == ledger.Creating }

// forgetting are Records that forget that of a path only if it is still this one.
type forgetting struct {
	Records

	path   volpath.Path
	record ledger.Record
}

func (f forgetting) Forget(path volpath.Path) error {
	if path != f.path {
		return f.Records.Forget(path)
	}
	_, err := f.ForgetIf(path, f.record)
	return err
}

// ForgetMissing removes the record of a retained directory or an archive that is
// not there, or is an error. A claim that takes a retained one up meanwhile has a
// record of its own then, which stays.
func ForgetMissing(ctx context.Context, files Files, path volpath.Path, check Check) error {
	record, known, err := files.Records.Lookup(path)
	switch {
	case err != nil:
		return fmt.Errorf("forget %s: %w", path, err)
	case !known || record.State != ledger.Retained && record.State != ledger.Archived:
		return fmt.Errorf("forget %s: %w", path, ErrNoOrphan)
	}
	if err := check(ctx, record); err != nil {
		return err
	}
	present, err := files.Dirs.Exists(path)
	if err != nil {
		return err
	}
	if present {
		return fmt.Errorf("forget %s: its directory is there again: %w", path, ErrNoOrphan)
	}
	if record.State == ledger.Archived { // a retained directory never moves
		if err := checkRestoring(files.Records, path); err != nil {
			return fmt.Errorf("forget %s: %w", path, err)
		}
	}
	_, err = files.Records.ForgetIf(path, record)
	return err
}

func lookupOrphan(ctx context.Context, files Files, path volpath.Path, check Check) (ledger.Record, error) {
	record, known, err := files.Records.Lookup(path)
	switch {
	case err != nil:
		return record, err
	case !known || record.State != ledger.Creating && record.State != ledger.Active:
		return record, fmt.Errorf("look at what is left of %s: %w", path, ErrNoOrphan)
	}
	return record, check(ctx, record)
}

// makeAgain makes the directory of the volume that a path has now.
func makeAgain(files Files, path volpath.Path) error {
	record, known, err := files.Records.Lookup(path)
	if err != nil || !known || record.RestoredFrom != "" { // an archive is to be renamed there
		return err
	}
	mode, err := strconv.ParseUint(record.Mode, 8, 32)
	if err != nil {
		return fmt.Errorf("mode of %s by its record: %w", path, err)
	}
	_, err = files.Dirs.Create(path, share.Attributes{Mode: uint32(mode), UID: record.UID, GID: record.GID})
	if errors.Is(err, share.ErrOccupied) { // it is there, and in use
		return nil
	}
	return err
}
