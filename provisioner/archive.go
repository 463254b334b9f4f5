package provisioner

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// archive renames the directory aside. The order keeps a crash harmless: first
// the record of the archive, then the directory, then the volume's own record,
// which keeps its path from others until then.
func (op operation) archive(ctx context.Context, path volpath.Path, record ledger.Record) (archive volpath.Path, err error) {
	logger := klog.FromContext(ctx)
	present, err := op.dirs.Exists(path)
	if err != nil {
		return archive, err
	}
	if !present {
		// An earlier call archived it, or somebody removed it by hand; the
		// name of an archive that never came to be is given back.
		logger.Info("Directory is already gone, the volume is let go")
		return archive, errors.Join(op.forgetEmptyArchive(record), op.ledger.Forget(path))
	}
	if archive, err = op.archiveName(record); err != nil {
		return archive, err
	}
	if err := op.dirs.Rename(path, archive); err != nil {
		return archive, err
	}
	logger.Info("Archived directory", "archive", archive)
	return archive, op.ledger.Forget(path)
}

// archiveName takes the first name that is free, or this volume's own from a
// call that was cut off. A name holds the PersistentVolume's, so that another
// owner means a hand-made or a restored one.
func (op operation) archiveName(record ledger.Record) (volpath.Path, error) {
	for n := 1; ; n++ {
		name := volpath.Archive(record.Claim.Namespace, record.Claim.Name, record.PV, n)
		present, err := op.dirs.Exists(name)
		if err != nil {
			return volpath.Path{}, err
		}
		if present {
			continue
		}
		var taken *ledger.TakenError
		if err := op.ledger.Archive(name, record); !errors.As(err, &taken) {
			return name, err
		}
	}
}

// forgetEmptyArchive removes the record of the archive that an earlier call was
// about to make, if there is no such directory. It passes over the names that
// archiveName does, and ends with the first that was free or this volume's.
func (op operation) forgetEmptyArchive(record ledger.Record) error {
	for n := 1; ; n++ {
		name := volpath.Archive(record.Claim.Namespace, record.Claim.Name, record.PV, n)
		present, err := op.dirs.Exists(name)
		if err != nil {
			return err
		}
		if present {
			continue
		}
		archived, known, err := op.ledger.Lookup(name)
		if err != nil || !known {
			return err
		}
		if archived.PV == record.PV && archived.Cluster == record.Cluster {
			return forgetUnlessRestoring(op.dirs, op.ledger, name)
		}
	}
}
