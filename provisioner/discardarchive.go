package provisioner

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// ErrNoArchive says that a path is that of no archive, or of none any more.
var ErrNoArchive = errors.New("there is no such archive")

// DiscardArchive moves an archive and then its record into the trash, which
// package trash empties. One whose directory is gone, because it became a volume
// again or was removed by hand, is ErrNoArchive, and loses its record unless a claim
// is just getting it. Whoever renames the directory first has it, so it may run
// beside another process.
func DiscardArchive(dirs Directories, records Records, path volpath.Path) error {
	record, known, err := records.Lookup(path)
	if err != nil {
		return fmt.Errorf("discard archive %s: %w", path, err)
	}
	if !known || record.State != ledger.Archived {
		return fmt.Errorf("discard archive %s: %w", path, ErrNoArchive)
	}
	name, err := dirs.Discard(path, record.PV)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("discard archive %s: %w", path, ErrNoArchive), forgetAbsent(dirs, records, path, record))
	}
	if err != nil {
		return fmt.Errorf("discard archive: %w", err)
	}
	return records.Discard(path, name)
}

// forgetAbsent removes the record of an archive without directory, unless that is
// about to come: a release writes the record first, and has the volume's own one
// until the directory is there; and a restore that fails brings it back.
func forgetAbsent(dirs Directories, records Records, path volpath.Path, archive ledger.Record) error {
	origin, err := volpath.ParseRecorded(archive.Origin)
	if err != nil {
		return err
	}
	volume, known, err := records.Lookup(origin)
	if err != nil || known && volume.PV == archive.PV {
		return err
	}
	return forgetUnlessRestoring(dirs, records, path)
}

// ErrRestoring says that an archive is on its way to a claim.
var ErrRestoring = errors.New("a claim may be getting this archive")

// forgetUnlessRestoring removes the record of an archive whose directory is absent.
func forgetUnlessRestoring(dirs Directories, records Records, archive volpath.Path) error {
	err := checkRestoring(records, archive)
	if errors.Is(err, ErrRestoring) {
		return nil
	}
	if err != nil {
		return err
	}
	present, err := dirs.Exists(archive) // it may have come, or come back, since
	if err != nil || present {
		return err
	}
	return records.Forget(archive)
}

// checkRestoring returns ErrRestoring if a volume that is being made is to get the
// archive, whose directory is gone: should that fail, the archive comes back, and is
// nobody's without its record. A record that cannot be read may be that volume's.
func checkRestoring(records Records, archive volpath.Path) error {
	r, restoring, err := records.Restoring(archive)
	switch {
	case errors.Is(err, ledger.ErrDamaged):
		return fmt.Errorf("%w, for not all records can be read; mend those first: %w", ErrRestoring, err)
	case err == nil && restoring:
		return fmt.Errorf("%w: volume %s of claim %s/%s", ErrRestoring, r.PV, r.Claim.Namespace, r.Claim.Name)
	}
	return err
}
