package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// pass removes the orphans that may be removed, and then finds and reports the others. It reads each
// record once if all is as it should be.
func (s *Sweeper) pass(ctx context.Context) error {
	records, err := s.read(ctx)
	if err != nil {
		return err
	}
	s.followAll(ctx, records.follow)
	first := !s.passed // what was there at start is for provisioner.Start, which knows whether the share is a new one
	if !first {
		s.takeOver(ctx, records.peers)
	}
	s.passed = true
	live, err := s.ask(ctx, records)
	if err != nil {
		return err
	}
	awaited := s.removeOrphans(ctx, records.orphans, live)
	s.removeElsewhere(ctx, records.begun)
	s.removeStrayCopies(ctx, records)
	if err := s.renew(ctx, records.moved, live); err != nil {
		return err
	}
	if records.changes(first) {
		if records.site, err = s.readSite(ctx); err != nil {
			return err
		}
	}
	report, err := s.look(ctx, records.site)
	if err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		s.removeStray(ctx, report.Directories())
		if report, err = s.confirm(ctx, report); err != nil {
			return err
		}
	}
	s.report(ctx, slices.DeleteFunc(report.Findings, func(f doctor.Finding) bool { return awaited[f.Object] }), records.counts)
	return nil
}

// confirm looks again, a little later, and returns what was found both times.
func (s *Sweeper) confirm(ctx context.Context, first doctor.Report) (again doctor.Report, err error) {
	select {
	case <-ctx.Done():
		return again, ctx.Err()
	case <-time.After(s.settle):
	}
	site, err := s.readSite(ctx)
	if err != nil {
		return again, err
	}
	if again, err = s.look(ctx, site); err != nil {
		return again, err
	}
	return again.Confirm(first), nil
}

// look returns doctor's report on the site, whose records were read. It lists the volumes after the
// records, because a PersistentVolume is saved after its record.
func (s *Sweeper) look(ctx context.Context, site *doctor.Site) (result doctor.Report, err error) {
	known := doctor.Cluster{Names: s.config.Names, ID: s.config.Steps.Cluster(), Overlapping: s.config.Objects.Overlapping}
	needed := site.Needs()
	err = s.live.EachVolume(ctx, func(pv *v1.PersistentVolume) {
		path, here := pvs.On(site.Source, pv)
		switch {
		case needed(pv.Name) || here && needed(path):
			pv.ManagedFields = nil
			known.Volumes = append(known.Volumes, *pv)
		case here:
			site.AddPath(path)
		}
	})
	if err != nil {
		return doctor.Report{}, fmt.Errorf("list volumes: %w", err)
	}
	known.Contents = s.config.Contents()
	err = s.config.Keeper.Background(ctx, "look for orphans", func(_ context.Context, store ledger.Store) error {
		dirs := &looking{ctx: ctx, view: store}
		site.Dirs, site.Lookup = dirs, dirs.lookup
		report := doctor.Orphans(known, site, s.config.Others...)
		if dirs.failed != nil {
			return dirs.failed
		}
		result = report
		return ctx.Err()
	})
	if err != nil {
		return doctor.Report{}, err
	}
	return result, nil
}

// looking is the share as doctor reads it. Its calls fail when ctx has ended. It remembers
// an error of the whole share, which says nothing about a single directory.
type looking struct {
	ctx    context.Context //nolint:containedctx // the calls that doctor makes have none
	view   ledger.Store
	failed error
}

func (l *looking) note(err error) error {
	if share.IsStale(err) || errors.Is(err, share.ErrNotRecognised) {
		l.failed = err
	}
	return err
}

func (l *looking) Exists(p volpath.Path) (bool, error) {
	if l.ctx.Err() != nil {
		return false, l.ctx.Err()
	}
	present, err := l.view.Dirs.Exists(p)
	return present, l.note(err)
}

func (l *looking) List(p volpath.Path) ([]share.Entry, error) {
	if l.ctx.Err() != nil {
		return nil, l.ctx.Err()
	}
	entries, err := l.view.Dirs.List(p)
	return entries, l.note(err)
}

func (l *looking) lookup(p volpath.Path) (ledger.Record, bool, error) {
	if l.ctx.Err() != nil {
		return ledger.Record{}, false, l.ctx.Err()
	}
	r, known, err := l.view.Records.Lookup(p)
	return r, known, l.note(err)
}

// removeOrphans removes the orphaned records. It returns the paths of volumes that are still
// being created because their claims exist: these are no orphans, however old.
func (s *Sweeper) removeOrphans(ctx context.Context, found []ledger.Record, now live) map[string]bool {
	awaited := map[string]bool{}
	for _, r := range found {
		if _, present := now.phases[r.PV]; present || ctx.Err() != nil {
			continue
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil || now.users[r.Path] != "" {
			continue // doctor reports it
		}
		err = s.live.Gone(ctx, r)
		if err == nil && time.Since(r.Created) >= s.config.Grace {
			err = s.remove(ctx, path, r)
		}
		if errors.Is(err, cluster.ErrClaimed) && r.State == ledger.Creating {
			awaited[r.Path] = true
		}
		if err != nil {
			klog.FromContext(ctx).V(1).Info("Kept a record without a volume", "path", path, "PV", r.PV, "because", err.Error())
		}
	}
	return awaited
}

// remove checks the record again under the lock of the path, because it may belong to another
// volume now.
func (s *Sweeper) remove(ctx context.Context, path volpath.Path, listed ledger.Record) error {
	check := func(ctx context.Context, now ledger.Record) error {
		if now.PV != listed.PV || now.Cluster != listed.Cluster || time.Since(now.Created) < s.config.Grace {
			return fmt.Errorf("the record belongs to volume %s now: %w", now.PV, steps.ErrNoOrphan)
		}
		return s.live.Gone(ctx, now)
	}
	err := s.on(ctx, path, "remove what is left of "+path.String(), func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, check) })
	if err == nil {
		s.metrics.removed.Inc()
	}
	return err
}

// on runs an operation, and waits until it has really ended, even after a time-out.
func (s *Sweeper) on(ctx context.Context, path volpath.Path, name string, work func(context.Context, steps.Op) error) error {
	return s.config.Steps.On(ctx, access.Periodic{Keeper: s.config.Keeper}, path, name, work)
}
