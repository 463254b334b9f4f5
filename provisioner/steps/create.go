package steps

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volume"
)

// Begin says how a volume is begun that has no record yet.
type Begin struct {
	// Existing says what becomes of a directory that is there already.
	Existing class.Existing
	// Room, if not nil, is asked before a new directory is begun, and may refuse it.
	Room func() error
	// CopyOf, if not nil, returns what the volume is to be a copy of, or nil if it is none.
	CopyOf func(ctx context.Context) (*ledger.Copy, error)
}

// Create makes the volume v at the operation's path, or completes what an earlier call
// began, and returns its record: it takes the path, brings the directory there from its origin, and records that
// it is complete and which directory it is. The error is a *CopyingError if the volume is a copy that is not whole yet.
func (op Op) Create(ctx context.Context, v volume.Volume, begin Begin) (ledger.Record, error) {
	record, err := op.take(ctx, v, begin)
	if err != nil {
		return record, err
	}
	from := originOf(record)
	if record.State == ledger.Active {
		return record, op.complete(ctx, record, from)
	}
	directory, err := from.place(op, record)
	if err == nil {
		// A volume above may have been made since take looked; then its directory came
		// first and its record is there now.
		err = op.Store.Records.CheckAbove(op.Path, record)
	}
	if err == nil {
		err = op.Store.Records.Activate(op.Path, record, directory)
	}
	if err != nil {
		return record, op.failed(ctx, record, directory, err)
	}
	klog.FromContext(ctx).Info(from.done(), "path", op.Path, "mode", record.Mode)
	return record, from.finish(op, record)
}

// failed undoes what was done for a volume that cannot be completed, and returns err. What was copied stays for the next
// try, unless another volume has the path.
func (op Op) failed(ctx context.Context, r ledger.Record, directory *share.Identity, err error) error {
	if r.CopyOf != nil {
		if _, taken := errors.AsType[*ledger.TakenError](err); !taken {
			return err
		}
	} else {
		r.Directory = directory // what this call made is known, and goes also inside of a volume that came meanwhile
	}
	return errors.Join(err, ignoreKept(op.giveUp(ctx, r)))
}

// take makes the path this volume's, or says whose it is. What the record of an earlier
// call says of the origin holds, whatever the claim says by now.
func (op Op) take(ctx context.Context, v volume.Volume, begin Begin) (ledger.Record, error) {
	record := v.Record()
	record.State, record.Cluster = ledger.Creating, op.config.Cluster
	known, found, err := op.lookAtPath(ctx, record)
	own := found && known.PV == record.PV && known.Cluster == record.Cluster
	switch {
	case err != nil:
		return record, err
	case own && known.State != ledger.Retained: // Take knows what a retained one becomes
		return known, checkRestoresToo(v, known)
	case v.Restores:
		var archive ledger.Record
		archive, err = op.wanted(ctx, known, record, Wanted{v.Restore, begin.Existing == class.Adopt})
		if archive.Path != "" {
			record.RestoredFrom, record.Owners = archive.Path, archive.Owners+1
			begin.Existing = class.Refuse
		}
	case begin.CopyOf != nil:
		record.CopyOf, err = op.copyOf(ctx, known, record, begin.CopyOf)
		begin.Existing = class.Refuse
	}
	if err == nil && !found {
		record.Adopted, err = op.lookForDirectory(record, begin.Existing, begin.Room)
	}
	if err != nil {
		return record, err
	}
	halfMade := found && known.State == ledger.Creating && !known.Adopted
	return op.takeRecord(record, halfMade, begin.Existing == class.Adopt)
}

// copyOf returns what the volume is to be a copy of. known is the record of the path, if it has one: a directory that
// somebody has is not mixed up with a copy.
func (op Op) copyOf(ctx context.Context, known, asking ledger.Record, find func(context.Context) (*ledger.Copy, error)) (*ledger.Copy, error) {
	if known.State != "" && known.State != ledger.Creating {
		return nil, ledger.Taken(op.Path, known, asking)
	}
	return find(ctx)
}

// wanted returns the archive that becomes the directory, or none if an empty one does too. known
// is the record of the path, if it has one.
func (op Op) wanted(ctx context.Context, known, asking ledger.Record, w Wanted) (archive ledger.Record, err error) {
	switch known.State {
	case "", ledger.Creating:
	case ledger.Retained:
		if w.OrEmpty() { // it is the claim's, if it is anybody's
			return ledger.Record{}, nil
		}
		return ledger.Record{}, ledger.Taken(op.Path, known, asking) // it is not mixed up with an archive
	case ledger.Active, ledger.Archived:
		return ledger.Record{}, ledger.Taken(op.Path, known, asking)
	}
	archive, err = op.archiveFor(ctx, asking, w)
	if errors.Is(err, errNoArchive) {
		return ledger.Record{}, nil
	}
	return archive, err
}

// takeRecord takes the path with the record, from an earlier claim of the name if halfMade.
func (op Op) takeRecord(record ledger.Record, halfMade, adopt bool) (ledger.Record, error) {
	taken, err := op.Store.Records.Take(op.Path, record, adopt)
	if other, ok := errors.AsType[*ledger.TakenError](err); ok && other.LeftByNamesake(record) {
		lost := "if that cluster is lost, "
		if other.EarlierNamespace {
			lost = ""
		}
		err = fmt.Errorf("%w; %sa class with onExisting: adopt takes it over", err, lost)
	}
	if err == nil && halfMade {
		err = op.removeHalfMade(record)
	}
	return taken, err
}

// removeHalfMade removes the empty directory that an earlier claim's process may have made
// whose path was taken over: what that still does to it is done to nobody's. One with
// something in it stays, and is refused later.
func (op Op) removeHalfMade(record ledger.Record) error {
	id, err := op.identify(nil)
	if err != nil || id == nil {
		return err
	}
	err = op.Store.Dirs.RemoveEmpty(op.Path, op.own(record), id, func() error { return op.Store.Records.Ours(op.Path, record) })
	if errors.Is(err, share.ErrOccupied) {
		return nil
	}
	return err
}

func checkRestoresToo(v volume.Volume, known ledger.Record) error {
	if !v.Restores || known.RestoredFrom != "" || v.Restore == volume.RestoreLatestOrEmpty {
		return nil
	}
	return refusal.Refuse(refusal.ReasonArchive,
		"annotation %s came after the volume was begun, without anything restored; delete the claim and make it anew with the annotation", volume.AnnotationRestore)
}

// lookAtPath returns the record of the path, also this volume's own, and refuses one
// that another PersistentVolume is in the way of. What an earlier claim of the name began
// to restore it gives back.
func (op Op) lookAtPath(ctx context.Context, asking ledger.Record) (known ledger.Record, found bool, err error) {
	known, found, err = op.Store.Records.Lookup(op.Path)
	if err != nil {
		return known, false, err
	}
	if err := op.checkVolumesFor(ctx, asking); err != nil {
		return known, found, op.knownOwner(known, asking, err)
	}
	if found && abandoned(known, asking) {
		return ledger.Record{}, false, op.giveUp(ctx, known)
	}
	if found && isLostNamesakes(known, asking) && op.config.Gone != nil && op.config.Gone(ctx, known) == nil {
		return op.endLost(ctx, known)
	}
	return known, found, nil
}

// knownOwner prefers what the ledger says of a path that is taken: it knows the
// claim too.
func (op Op) knownOwner(known, asking ledger.Record, err error) error {
	if known.State == ledger.Active && known.PV != asking.PV {
		return ledger.Taken(op.Path, known, asking)
	}
	if above := op.Store.Records.CheckAbove(op.Path, asking); above != nil {
		return above
	}
	return err
}

// lookForDirectory reports whether a directory is there to be adopted. It looks before
// the record is made: a repeat could not tell a directory that was there from one that it
// made itself. One that is empty and marked as ours is what a call left that came late. Where
// there is none, and no archive comes there, room is asked.
func (op Op) lookForDirectory(record ledger.Record, existing class.Existing, room func() error) (adopted bool, err error) {
	present, err := op.Store.Dirs.Exists(op.Path)
	if err != nil || present {
		// Inside another volume nothing may be said of what is there.
		if above := op.Store.Records.CheckAbove(op.Path, record); above != nil {
			return false, above
		}
	}
	if err == nil && !present && record.RestoredFrom == "" && room != nil {
		err = room()
	}
	if err != nil || !present {
		return false, err
	}
	if left, err := op.Store.Dirs.IsMarked(op.Path); err != nil || left {
		return false, err
	}
	if existing != class.Adopt {
		return false, errExists(op.Path.String(), record)
	}
	if op.volumeAbove() != nil {
		return false, refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "path %q exists inside the directory of a PersistentVolume that claimdir did not make, so it is not adopted; "+
			"give the claim another path", op.Path))
	}
	return true, op.Store.Records.CheckBelow(op.Path, record)
}

func errExists(path string, asking ledger.Record) error {
	if archive := asking.RestoredFrom; archive != "" {
		return refusal.Postpone(refusal.ReasonTaken, "path %q exists on the share and no record says whose it is, so archive %s cannot be renamed there; "+
			"remove the directory, or give the claim another path", path, archive)
	}
	if from := asking.CopyOf; from != nil {
		return refusal.Postpone(refusal.ReasonTaken, "path %q exists on the share and no record says whose it is, so the copy of %s %s cannot be brought there; "+
			"remove the directory, or give the claim another path", path, from.Kind, from.Claim.Name)
	}
	return refusal.Postpone(refusal.ReasonTaken, "path %q exists on the share and no record says whose it is; "+
		"give the claim another path, or use a class with onExisting: adopt to take it as it is", path)
}

// complete is a repeat for a record that is complete already. A directory that is not
// there was moved away by a call that came late, and comes back, or was removed.
func (op Op) complete(ctx context.Context, record ledger.Record, from origin) error {
	id, err := op.directory(ctx, record)
	if err != nil {
		return err
	}
	if id == nil {
		if id, err = from.missing(op, record); err != nil {
			return err
		}
	}
	if record.Directory == nil || record.Directory.Match(id) == share.Unknown {
		if err := op.Store.Records.Activate(op.Path, record, id); err != nil {
			return err
		}
	}
	return from.finish(op, record)
}
