package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// archive makes an archive of the volume's directory. The order keeps a crash harmless:
// first the record of the archive, then the directory, then the volume's own record,
// which keeps its path from others until then.
func (op Op) archive(ctx context.Context, r ledger.Record) (archive volpath.Path, err error) {
	own := op.own(r)
	aside, err := op.aside(own) // by an earlier call
	if err != nil {
		return archive, err
	}
	if r.Directory.Match(aside) == share.Different {
		return archive, fmt.Errorf("%w: what is set aside in .claimdir/%s/%s is not the volume's; move it to where it belongs", share.ErrChanged, share.MovingDir, own)
	}
	id := aside
	if id == nil {
		if id, _, err = op.present(ctx, r); err != nil {
			return archive, err
		}
	}
	if id == nil {
		// An earlier call archived it, or somebody removed it by hand; the name of an
		// archive that never came to be is given back.
		// A late call could move something into the directory that it was set aside in.
		return archive, errors.Join(op.removeEmptyArchive(r), op.Store.Dirs.RemoveEmptyDirectory(share.MovingDir, own), op.letGo(ctx, r))
	}
	if archive, err = op.archiveName(r, id); err != nil {
		return archive, err
	}
	if aside == nil {
		err = op.setAsideOwn(r, own, id)
	}
	if share.CannotMove(err) { // it may still be renamed below the parent that it has
		err = op.Store.Dirs.Rename(op.Path, archive, id)
	} else if err == nil {
		err = op.Store.Dirs.BringBack(share.MovingDir, own, archive)
	}
	if err != nil {
		return archive, errors.Join(err, op.forgetArchive(archive, r))
	}
	klog.FromContext(ctx).Info("Archived directory", "archive", archive)
	return archive, op.Store.Records.Remove(op.Path, r)
}

// setAsideOwn sets the volume's directory aside, and puts it back if it is another
// volume's by now, which has taken it over.
func (op Op) setAsideOwn(r ledger.Record, own string, id *share.Identity) error {
	err := op.Store.Dirs.SetAside(op.Path, share.MovingDir, own, id)
	if err != nil || !op.comesAgain(r) {
		return err
	}
	if err = op.Store.Records.Ours(op.Path, r); errors.Is(err, ledger.ErrLost) {
		err = errors.Join(err, op.Store.Dirs.BringBack(share.MovingDir, own, op.Path))
	}
	return err
}

// forgetArchive removes the record of an archive that will not come to be, because the
// volume has lost its path meanwhile. As long as it has that, a repeat needs the record.
func (op Op) forgetArchive(archive volpath.Path, r ledger.Record) error {
	if err := op.Store.Records.Ours(op.Path, r); !errors.Is(err, ledger.ErrLost) {
		return err
	}
	there := op
	there.Path, r.Path = archive, archive.String()
	return there.removeUnlessRestoring(r)
}

// archiveName takes the first name that is free, or this volume's own from a
// call that was cut off. A name contains the PersistentVolume's; if another volume has
// it, that was made by hand or restored.
func (op Op) archiveName(r ledger.Record, id *share.Identity) (volpath.Path, error) {
	for n := 1; ; n++ {
		name := volpath.Archive(r.Claim.Namespace, r.Claim.Name, r.PV, n)
		present, err := op.Store.Dirs.Exists(name)
		if err != nil {
			return volpath.Path{}, err
		}
		if present {
			continue
		}
		var taken *ledger.TakenError
		if err := op.Store.Records.Archive(name, r, id); !errors.As(err, &taken) {
			return name, err
		}
	}
}

// removeEmptyArchive removes the record of the archive that an earlier call was
// about to make, if there is no such directory. It passes over the names that
// archiveName does, and ends with the first that was free or this volume's.
func (op Op) removeEmptyArchive(r ledger.Record) error {
	for n := 1; ; n++ {
		name := volpath.Archive(r.Claim.Namespace, r.Claim.Name, r.PV, n)
		present, err := op.Store.Dirs.Exists(name)
		if err != nil {
			return err
		}
		if present {
			continue
		}
		archived, found, err := op.Store.Records.Lookup(name)
		if err != nil || !found {
			return err
		}
		if archived.PV == r.PV && archived.Cluster == r.Cluster {
			there := op
			there.Path = name
			return there.removeUnlessRestoring(archived)
		}
	}
}

// ErrNoArchive says that a path is that of no archive, or of none any more.
var ErrNoArchive = errors.New("there is no such archive")

// ErrRestoring says that an archive is on its way to a claim.
var ErrRestoring = errors.New("a claim may be getting this archive")

// DiscardArchive moves the archive at the operation's path and then its record into the
// trash. One whose directory is gone, because it became a volume again or was removed by
// hand, is an ErrNoArchive, and loses its record unless a claim is just getting it. May,
// if not nil, is asked for the record as it is now, and its error ends it. Whoever renames
// the directory first has it, so it may run beside another process.
func (op Op) DiscardArchive(ctx context.Context, may Check) (ledger.Record, error) {
	record, found, err := op.Store.Records.Lookup(op.Path)
	if err != nil {
		return record, fmt.Errorf("discard archive %s: %w", op.Path, err)
	}
	if !found || record.State != ledger.Archived {
		return record, fmt.Errorf("discard archive %s: %w", op.Path, ErrNoArchive)
	}
	if may != nil {
		if err := may(ctx, record); err != nil {
			return record, err
		}
	}
	id, gone, err := op.present(ctx, record)
	if errors.Is(err, ledger.ErrLost) {
		return record, fmt.Errorf("discard archive %s: %w", op.Path, ErrNoArchive)
	}
	if err != nil {
		return record, err
	}
	if id == nil && gone != nil && gone.in == share.TrashDir { // by an earlier call
		return record, op.Store.Records.Discard(op.Path, record, gone.own)
	}
	own := ""
	if id == nil {
		err = fs.ErrNotExist
	} else {
		own, err = op.trash(record, op.Path, known(record.Directory, id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return record, errors.Join(fmt.Errorf("discard archive %s: %w", op.Path, ErrNoArchive), op.removeAbsent(record))
	}
	if err != nil {
		return record, fmt.Errorf("discard archive: %w", err)
	}
	return record, op.Store.Records.Discard(op.Path, record, own)
}

// DiscardRetained moves the retained directory of r, at the operation's path, and then its
// record into the trash. One that a claim got meanwhile is an ErrNoArchive. If it is
// another directory than r says, it becomes an archive. May is asked as DiscardArchive's is.
func (op Op) DiscardRetained(ctx context.Context, r ledger.Record, may Check) error {
	record, found, err := op.Store.Records.Own(op.Path, r.PV, r.Cluster)
	if err != nil {
		return fmt.Errorf("discard the retained directory %s: %w", op.Path, err)
	}
	if !found || record.State != ledger.Retained {
		return fmt.Errorf("discard the retained directory %s: %w", op.Path, ErrNoArchive)
	}
	if may != nil {
		if err := may(ctx, record); err != nil {
			return err
		}
	}
	if err := op.Store.Records.CheckBelow(op.Path, record); err != nil {
		return err
	}
	if err := op.discard(ctx, record); err != nil {
		return fmt.Errorf("discard the retained directory: %w", err)
	}
	op.tidyParents(ctx)
	return nil
}

// known is the identity on record, or the one that was seen where the record says none.
func known(recorded, seen *share.Identity) *share.Identity {
	if recorded.Match(seen) == share.Unknown {
		return seen
	}
	return recorded
}

// removeAbsent removes the record of an archive without directory, unless that is
// about to come: a release writes the record first, and has the volume's own one
// until the directory is there; and a restore that fails brings it back.
func (op Op) removeAbsent(archive ledger.Record) error {
	origin, err := volpath.ParseRecorded(archive.Origin)
	if err != nil {
		return err
	}
	_, found, err := op.Store.Records.Own(origin, archive.PV, archive.Cluster)
	if err != nil || found {
		return err
	}
	return op.removeUnlessRestoring(archive)
}

// removeUnlessRestoring removes the record of an archive whose directory is absent.
func (op Op) removeUnlessRestoring(archive ledger.Record) error {
	err := op.checkRestoring()
	if errors.Is(err, ErrRestoring) {
		return nil
	}
	if err != nil {
		return err
	}
	present, err := op.Store.Dirs.Exists(op.Path) // it may have come, or come back, since
	if err != nil || present {
		return err
	}
	return op.Store.Records.Remove(op.Path, archive)
}

// checkRestoring returns ErrRestoring if a volume that is being made is to get the
// archive, whose directory is gone: should that fail, the archive comes back, and is
// nobody's without its record. A record that cannot be read may be that volume's.
func (op Op) checkRestoring() error {
	r, restoring, err := op.Store.Records.Restoring(op.Path)
	switch {
	case errors.Is(err, ledger.ErrDamaged):
		return fmt.Errorf("%w, for not all records can be read; fix those first: %w", ErrRestoring, err)
	case err == nil && restoring:
		return fmt.Errorf("%w: volume %s of claim %s/%s", ErrRestoring, r.PV, r.Claim.Namespace, r.Claim.Name)
	}
	return err
}

// Expire moves the archive at the operation's path into the trash if its time is over. One
// that a PersistentVolume of an administrator shows is in use, one whose own
// PersistentVolume exists again may be its data, and one that a claim got, or is just
// getting, is none any more.
func (op Op) Expire(ctx context.Context, over func(ctx context.Context, r ledger.Record) bool) error {
	errNotDue := errors.New("not due")
	record, err := op.DiscardArchive(ctx, func(ctx context.Context, r ledger.Record) error {
		if r.Cluster != op.config.Cluster || !over(ctx, r) {
			return errNotDue
		}
		if err := op.CheckNotBack(ctx, r); err != nil {
			return err
		}
		return op.checkVolumes(op.Path, "")
	})
	if errors.Is(err, ErrNoArchive) || errors.Is(err, errNotDue) {
		return nil
	}
	if err == nil {
		klog.FromContext(ctx).Info("Archive expired, moved it into the trash", "archive", op.Path, "PV", record.PV, "until", klog.SafePtr(record.Until))
	}
	return err
}
