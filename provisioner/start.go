package provisioner

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Start takes over, once, the volumes on this Provisioner's share that have no
// record of this cluster: those that nfs-subdir-external-provisioner or its
// predecessor made and that are bound (on a share without records also those that are
// released), and those that were recovered from the records of a cluster that is lost.
// For that it writes records and touches no directory. What it cannot take over it
// logs; a release then says why, as an event. Then it converts the records that an
// older claimdir wrote. The Provisioner without a share only forgets which volumes were
// begun where.
func (p *Provisioner) Start(ctx context.Context) {
	if p.share == nil {
		p.startedOn.reset()
		return
	}
	hadNoRecords, err := p.hasNoRecords(ctx)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cannot see whether the share has records, released volumes of others are not taken over")
	}
	if taken := p.takeOver(ctx, hadNoRecords); taken > 0 {
		klog.FromContext(ctx).Info("Took over volumes that others made: wrote their records", "volumes", taken)
	}
	if ctx.Err() == nil {
		p.convert(ctx)
	}
}

// AtOnce is how many volumes Start takes over at once on a share: most of the time they wait for it.
const AtOnce = 4

// takeOver takes over the volumes that others made. It returns how many records it wrote.
func (p *Provisioner) takeOver(ctx context.Context, hadNoRecords bool) int {
	var workers sync.WaitGroup
	var taken atomic.Int64
	volumes := make(chan volume.Volume)
	for range AtOnce {
		workers.Go(func() {
			for v := range volumes {
				p.takeOverOne(ctx, v, hadNoRecords, &taken)
			}
		})
	}
	for pv := range p.objects.Volumes("") {
		if ctx.Err() != nil {
			break
		}
		v, err := volume.FromPV(p.share.Source(), pv)
		if err == nil && (v.Peer || v.RecoveredFrom != "") {
			volumes <- v
		}
		if err != nil && p.Owns(pv) { // the others say it of theirs
			klog.FromContext(ctx).Error(err, "Cannot take over the volume", "PV", pv.Name)
		}
	}
	close(volumes)
	workers.Wait()
	return int(taken.Load())
}

func (p *Provisioner) takeOverOne(ctx context.Context, v volume.Volume, hadNoRecords bool, taken *atomic.Int64) {
	err := p.onceReady(ctx, v.Path, "take over "+v.Name, func(_ context.Context, op steps.Op) error {
		wrote, err := op.TakeOver(v, hadNoRecords)
		if wrote {
			taken.Add(1)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cannot take over the volume", "PV", v.Name)
	}
}

// hasNoRecords reports whether the share has no records, which matters only if a peer's
// volume is not bound: see steps.Op.TakeOver.
func (p *Provisioner) hasNoRecords(ctx context.Context) (none bool, err error) {
	matters := false
	for pv := range p.objects.Volumes("") {
		if v, err := volume.FromPV(p.share.Source(), pv); err == nil && v.Peer && !p.objects.Bound(v.Name) {
			matters = true
			break
		}
	}
	if !matters {
		return false, nil
	}
	err = p.onceReady(ctx, volpath.Path{}, "look for records", func(_ context.Context, op steps.Op) (err error) {
		none, err = op.Store.Records.Empty()
		return err
	})
	return none && err == nil, err
}

// convert makes the records of layout 1 records of layout 2, one by one, so that no claim
// waits for it. What cannot be converted now is read as it is, and the next start tries
// again.
func (p *Provisioner) convert(ctx context.Context) {
	logger := klog.FromContext(ctx)
	var paths []volpath.Path
	err := p.onceReady(ctx, volpath.Path{}, "list the records of the older layout", func(opCtx context.Context, op steps.Op) error {
		paths = nil
		for path, err := range op.Store.Records.FirstPaths() {
			if ctx.Err() != nil { // the operation itself goes on to its end
				return ctx.Err()
			}
			if errors.Is(err, ledger.ErrDamaged) {
				klog.FromContext(opCtx).Error(err, "Cannot convert a record")
				continue
			}
			if err != nil {
				return err
			}
			paths = append(paths, path)
		}
		return nil
	})
	for _, path := range paths {
		if err == nil {
			err = p.onceReady(ctx, path, "convert the record of "+path.String(), func(_ context.Context, op steps.Op) error {
				return op.Store.Records.Convert(path)
			})
		}
	}
	if err == nil {
		err = p.onceReady(ctx, volpath.Path{}, "remove what the older layout left", func(_ context.Context, op steps.Op) error {
			return op.Store.Records.EndFirst()
		})
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		logger.Error(err, "Cannot convert all records of the older layout, the next start retries it")
	} else if len(paths) > 0 {
		logger.Info("Converted the records of the older layout", "records", len(paths))
	}
}

// onceReady runs work like steps.On, but waits until the share is ready and retries. It is
// for start-up tasks that no queue retries. If the path is busy it returns at once,
// because the running operation does the same work.
func (p *Provisioner) onceReady(ctx context.Context, path volpath.Path, name string, work func(context.Context, steps.Op) error) error {
	for {
		if err := p.share.WaitReady(ctx); err != nil {
			return err
		}
		err := p.steps.On(ctx, p.share, path, name, work)
		refused, ok := errors.AsType[*refusal.Refusal](err)
		switch {
		case err == nil, ok && refused.Reason() == refusal.ReasonBusy:
			return nil
		case !ok || !refused.Waits():
			return err
		}
	}
}
