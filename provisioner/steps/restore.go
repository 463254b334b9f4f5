package steps

import (
	"errors"
	"fmt"
	"io/fs"

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
	aside, err := op.archiveAside(from, own)
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

// archiveAside returns which directory an earlier call has set aside for the restore, or nil. It refuses another one than the
// archive: what an earlier restore left, or a call that came late, may be another archive. The sweep brings that back.
func (op Op) archiveAside(from volpath.Path, own string) (*share.Identity, error) {
	aside, err := op.aside(own)
	if err != nil || aside == nil {
		return nil, err
	}
	archive, found, err := op.Store.Records.Lookup(from)
	if err == nil && found && archive.Directory.Match(aside) == share.Different {
		err = fmt.Errorf("%w: what is set aside in .claimdir/%s/%s is not archive %s; the sweep brings it back to where it belongs",
			share.ErrChanged, share.MovingDir, own, from)
	}
	return aside, err
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
