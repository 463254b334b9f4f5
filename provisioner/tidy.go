package provisioner

import (
	"context"

	"k8s.io/klog/v2"

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
func (p *Provisioner) parentsOnRecord(ctx context.Context) ([]volpath.Path, error) {
	// The zero path is no volume's, so nothing is kept off for it.
	return onceReady(ctx, p, volpath.Path{}, "list parents", func(ctx context.Context, op operation) (paths []volpath.Path, err error) {
		for path, err := range op.ledger.Parents() {
			if err != nil {
				klog.FromContext(ctx).Error(err, "Cannot read the record of a parent of volumes")
				continue
			}
			paths = append(paths, path)
		}
		return paths, nil
	})
}
