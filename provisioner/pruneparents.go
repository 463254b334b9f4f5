package provisioner

import (
	"context"
	"errors"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// tidyParents removes the empty parents of a volume that is released. The volume
// may go even if that fails; what is left the next start finds.
func (op operation) tidyParents(ctx context.Context, path volpath.Path) {
	if err := op.pruneParents(path); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot remove the empty parents of the volume, will be tried again at the next start", "path", path)
	}
}

// tidyAllParents removes, once, the empty parents that releases and provisions
// have left which were cut off.
func (p *Provisioner) tidyAllParents(ctx context.Context) {
	logger := klog.FromContext(ctx)
	paths, err := p.parentsOnRecord(ctx)
	if err != nil && ctx.Err() == nil {
		logger.Error(err, "Cannot list the parents of volumes, will be tried again at the next start")
	}
	for _, path := range paths {
		_, err := onceReady(ctx, p, path, "tidy parent "+path.String(), func(_ context.Context, op operation) (gone bool, err error) {
			if gone, err = op.pruneParent(path); gone && err == nil {
				err = op.pruneParents(path)
			}
			return gone, err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			logger.Error(err, "Cannot remove the empty parent of volumes, will be tried again at the next start", "path", path)
		}
	}
}

// parentsOnRecord waits for the share. Records that it cannot read it logs.
func (p *Provisioner) parentsOnRecord(stop context.Context) ([]volpath.Path, error) {
	// The zero path is no volume's, so nothing is kept off for it.
	return onceReady(stop, p, volpath.Path{}, "list parents", func(ctx context.Context, op operation) (paths []volpath.Path, err error) {
		for path, err := range op.ledger.Parents() {
			if stop.Err() != nil { // the operation itself goes on to its end
				return nil, stop.Err()
			}
			if err != nil {
				klog.FromContext(ctx).Error(err, "Cannot read the record of a parent of volumes")
				continue
			}
			paths = append(paths, path)
		}
		return paths, nil
	})
}

// pruneParents removes the parents of path that claimdir made and that are
// empty, nearest first, up to the first one that is not. path's directory and
// record must be gone.
func (op operation) pruneParents(path volpath.Path) error {
	for _, parent := range path.Ancestors() {
		if gone, err := op.pruneParent(parent); err != nil || !gone {
			return err
		}
	}
	return nil
}

// pruneParent reports whether a parent on record is gone. Most have other
// volumes in them: that is seen without the lock, so releases below one parent
// do not wait for each other.
func (op operation) pruneParent(path volpath.Path) (gone bool, err error) {
	record, known, err := op.ledger.Parent(path)
	if err != nil || !known {
		return false, err
	}
	found, err := op.dirs.LookParent(path)
	if err == nil && found.Occupied && isOurs(record, found) {
		return false, nil
	}
	unlock, err := op.lockParents()
	if err != nil {
		return false, err
	}
	defer unlock()
	return op.removeParent(path)
}

// removeParent removes a parent if it is ours and empty, and drops its record
// when it is gone or not ours. The caller holds the lock, so nobody of this
// process is making it.
func (op operation) removeParent(path volpath.Path) (gone bool, err error) {
	record, known, err := op.ledger.Parent(path)
	if err != nil || !known {
		return false, err
	}
	// A volume may have become what was a parent: adopted, or made where somebody
	// had removed the parent by hand.
	if _, volume, err := op.ledger.Lookup(path); err != nil {
		return false, err
	} else if volume {
		return false, op.ledger.ForgetParent(path)
	}
	found, err := op.dirs.LookParent(path)
	if err == nil {
		if !isOurs(record, found) {
			return false, op.ledger.ForgetParent(path)
		}
		err = op.dirs.RemoveParent(path, found.ID)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return true, op.ledger.ForgetParent(path)
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case errors.Is(err, share.ErrNotDirectory), errors.Is(err, share.ErrChanged):
		return false, op.ledger.ForgetParent(path)
	}
	return false, err
}
