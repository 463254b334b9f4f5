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
// again or was removed by hand, loses its record and is ErrNoArchive. Whoever
// renames the directory first has it, so it may run beside another process.
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
// until the directory is there.
func forgetAbsent(dirs Directories, records Records, path volpath.Path, archive ledger.Record) error {
	origin, err := volpath.ParseRecorded(archive.Origin)
	if err != nil {
		return err
	}
	volume, known, err := records.Lookup(origin)
	if err != nil || known && volume.PV == archive.PV {
		return err
	}
	present, err := dirs.Exists(path) // it may have come between the two looks
	if err != nil || present {
		return err
	}
	return records.Forget(path)
}
