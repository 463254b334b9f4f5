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
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// pass removes the orphans that may be removed, and then finds and reports the others.
func (s *Sweeper) pass(ctx context.Context) error {
	records, err := s.read(ctx)
	if err != nil {
		return err
	}
	volumes, err := s.live.Volumes(ctx)
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	s.followAll(ctx, records.volumes, volumes)
	if s.passed { // what was there at start is for provisioner.Start, which knows whether the share is a new one
		s.takeOver(ctx, records.peers)
	}
	s.passed = true
	awaited := s.removeOrphans(ctx, records.volumes, volumes)
	if err := s.renew(ctx, records.moved, volumes); err != nil {
		return err
	}
	records = nil // a share may have very many
	first, err := s.look(ctx)
	if err != nil {
		return err
	}
	if len(first.Findings) > 0 {
		s.removeStray(ctx, first.Directories())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.settle):
		}
		again, err := s.look(ctx)
		if err != nil {
			return err
		}
		first = again.Confirm(first)
	}
	s.report(ctx, slices.DeleteFunc(first.Findings, func(f doctor.Finding) bool {
		return f.Kind != doctor.KindRecord && f.Kind != doctor.KindDirectory || awaited[f.Object]
	}))
	return nil
}

// records are those of a ledger that a pass works on.
type records struct {
	volumes []ledger.Record // of volumes, also unfinished ones
	moved   []moved         // whose directories are other ones than they say
	peers   map[string]volume.Volume
}

// read removes old temporary files and reads the records. It stops between two records if ctx ends.
func (s *Sweeper) read(ctx context.Context) (found *records, err error) {
	err = s.config.Keeper.Background(ctx, "read the records", func(_ context.Context, store ledger.Store) error {
		if err := store.Records.RemoveStale(); err != nil {
			return err
		}
		result := &records{peers: s.peers()}
		numbers := numbers{dirs: store.Dirs, known: map[volpath.Path]map[string]uint64{}}
		for r, err := range store.Records.Records() {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case share.IsStale(err):
				return err
			case err != nil:
				continue // doctor reports it
			case r.State == ledger.Creating || r.State == ledger.Active:
				result.volumes = append(result.volumes, r)
			}
			delete(result.peers, r.PV)
			m, changed, err := numbers.compare(r)
			if err != nil {
				return err
			}
			if changed && s.served(r) {
				result.moved = append(result.moved, m)
			}
		}
		found = result // only now: after a time-out the operation may still run
		return nil
	})
	return found, err
}

// look returns doctor's report. It reads the records before it lists the volumes, because a
// PersistentVolume is saved after its record.
func (s *Sweeper) look(ctx context.Context) (result doctor.Report, err error) {
	var site *doctor.Site
	err = s.config.Keeper.Background(ctx, "read the records for a look", func(_ context.Context, store ledger.Store) error {
		read := &doctor.Site{Name: s.config.Keeper.Name(), Source: s.config.Keeper.Source()}
		for r, err := range store.Records.Records() {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case share.IsStale(err):
				return err
			case err != nil:
				read.Damaged = append(read.Damaged, err)
			default:
				read.Add(r)
			}
		}
		site = read
		return nil
	})
	if err != nil {
		return doctor.Report{}, err
	}
	known := doctor.Cluster{Names: s.config.Names, ID: s.config.Steps.Cluster()}
	if known.Volumes, err = s.live.Volumes(ctx); err != nil {
		return doctor.Report{}, fmt.Errorf("list volumes: %w", err)
	}
	sites := []*doctor.Site{site}
	for _, source := range s.config.Others { // a volume of theirs is not one of this share with an earlier address
		sites = append(sites, &doctor.Site{Source: source})
	}
	err = s.config.Keeper.Background(ctx, "look for orphans", func(_ context.Context, store ledger.Store) error {
		dirs := &looking{ctx: ctx, view: store}
		site.Dirs, site.Lookup = dirs, dirs.lookup
		report := doctor.Diagnose(known, sites...)
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
func (s *Sweeper) removeOrphans(ctx context.Context, found []ledger.Record, volumes []v1.PersistentVolume) map[string]bool {
	present := make(map[string]bool, len(volumes))
	for i := range volumes {
		present[volumes[i].Name] = true
	}
	known, awaited := doctor.Cluster{Names: s.config.Names, Volumes: volumes}, map[string]bool{}
	for _, r := range found {
		if r.Cluster != s.config.Steps.Cluster() || present[r.PV] || r.State != ledger.Creating && r.State != ledger.Active || ctx.Err() != nil {
			continue
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			continue // doctor reports it
		}
		if user := known.Uses(s.config.Keeper.Source(), path); user != "" {
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
