package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// strayCopies are the own names under which a share has something of copies, as far as no record accounts for them.
type strayCopies map[string]bool

// listCopies must be called before the records are read: what a copy writes has a record before.
func listCopies(store ledger.Store) (strayCopies, error) {
	names, err := store.Dirs.ListCopies()
	if err != nil {
		return nil, fmt.Errorf("list the copies: %w", err)
	}
	stray := strayCopies{}
	for _, name := range names {
		if volpath.IsOwn(name) {
			stray[name] = true
		}
	}
	return stray, nil
}

// knownSnapshots drops the copies of snapshots that have a record.
func (c strayCopies) knownSnapshots(site *doctor.Site) {
	for own := range c {
		if site.HasSnapshot(own) {
			delete(c, own)
		}
	}
}

// known drops the copy of a record, if it is of one.
func (c strayCopies) known(r ledger.Record) {
	if p, err := volpath.ParseRecorded(r.Path); err == nil && r.Copying() {
		delete(c, volpath.OwnAt(r.PV, r.Cluster, p))
	}
}

// removeStrayCopies moves what this pass and the one before it have found into the trash. A record that could not be read may
// be that of any of it.
func (s *Sweeper) removeStrayCopies(ctx context.Context, found *records) {
	before := s.strays
	s.strays = nil
	if len(found.site.Damaged)+len(found.site.DamagedSnapshots) > 0 {
		return
	}
	s.strays = found.copies
	for name := range found.copies {
		if !before[name] {
			continue
		}
		err := s.config.Keeper.Background(ctx, "discard the copy "+name, func(_ context.Context, store ledger.Store) error {
			_, err := store.Dirs.DiscardCopy(name, name)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, fs.ErrExist): // the trash still has an earlier one
		case err != nil:
			klog.FromContext(ctx).Info("Cannot move a copy without a record into the trash", "copy", name, "because", err.Error())
		default:
			klog.FromContext(ctx).Info("Moved a copy without a record into the trash", "copy", name)
		}
	}
}

// begunElsewhere reports whether a record is of a copy that was begun for a volume which got another path in the end, because
// its claim's labels or annotations changed meanwhile. Nobody completes it.
func (s *Sweeper) begunElsewhere(r ledger.Record) bool {
	if r.Cluster != s.config.Steps.Cluster() || !r.Copying() {
		return false
	}
	pv, found := s.config.Volume(r.PV)
	if !found {
		return false
	}
	v, err := volume.FromPV(s.config.Keeper.Source(), pv)
	return err != nil || v.Path.String() != r.Path
}

// removeElsewhere gives up the copies of which begunElsewhere is true.
func (s *Sweeper) removeElsewhere(ctx context.Context, found []ledger.Record) {
	for _, r := range found {
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			continue // doctor reports it
		}
		check := func(_ context.Context, now ledger.Record) error {
			if now.PV != r.PV || !s.begunElsewhere(now) {
				return steps.ErrNoOrphan
			}
			return nil
		}
		err = s.on(ctx, path, "remove the copy that was begun for "+r.PV, func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, check) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.metrics.removed.Inc()
		} else if !errors.Is(err, steps.ErrNoOrphan) {
			klog.FromContext(ctx).V(1).Info("Kept a copy that was begun at another path", "path", path, "PV", r.PV, "because", err.Error())
		}
	}
}
