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
	"claimdir/provisioner/volume"
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
	s.report(ctx, slices.DeleteFunc(report.Findings, func(f doctor.Finding) bool { return awaited[f.Object] }))
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

// records are those of a ledger that a pass works on. A share has very many, and nearly all are as they
// should be: their volumes are bound to the claims that they name. Of those nothing is kept but the path.
type records struct {
	follow  []follow        // of volumes that may belong to another claim
	orphans []ledger.Record // of volumes, also unfinished ones, without a PersistentVolume
	moved   []moved         // whose directories are other ones than they say
	peers   map[string]volume.Volume
	site    *doctor.Site
}

// changes reports whether the pass has work on the records, so that they have to be read again.
func (r *records) changes(first bool) bool {
	return len(r.follow) > 0 || len(r.orphans) > 0 || len(r.moved) > 0 || len(r.peers) > 0 && !first
}

// read removes old temporary files and reads the records. It stops between two records if ctx ends.
func (s *Sweeper) read(ctx context.Context) (found *records, err error) {
	err = s.config.Keeper.Background(ctx, "read the records", func(_ context.Context, store ledger.Store) error {
		if err := store.Records.RemoveStale(); err != nil {
			return err
		}
		result := &records{peers: s.peers(), site: s.newSite()}
		numbers := numbers{dirs: store.Dirs, known: map[volpath.Path]map[string]uint64{}}
		err := s.each(ctx, store, result.site, func(r ledger.Record, pv *v1.PersistentVolume) error {
			s.sort(result, r, pv)
			m, changed, err := numbers.compare(r)
			if changed && s.served(r) {
				result.moved = append(result.moved, m)
			}
			return err
		})
		if err == nil {
			found = result // only now: after a time-out the operation may still run
		}
		return err
	})
	return found, err
}

// sort notes a record, and the PersistentVolume of its name as the cache has it, for the work of the
// pass that it may need.
func (s *Sweeper) sort(found *records, r ledger.Record, pv *v1.PersistentVolume) {
	delete(found.peers, r.PV)
	if r.Cluster != s.config.Steps.Cluster() || r.State != ledger.Creating && r.State != ledger.Active {
		return
	}
	if pv == nil {
		found.orphans = append(found.orphans, r)
		return
	}
	ref := pv.Spec.ClaimRef
	if r.State != ledger.Active || ref == nil || pv.Status.Phase != v1.VolumeBound {
		return
	}
	claim := ledger.Claim{Namespace: ref.Namespace, Name: ref.Name, UID: string(ref.UID)}
	if is := claim.Is(r.Claim); !is || r.Claim.NamespaceUID == "" {
		found.follow = append(found.follow, follow{r.PV, is})
	}
}

func (s *Sweeper) newSite() *doctor.Site {
	return &doctor.Site{Name: s.config.Keeper.Name(), Source: s.config.Keeper.Source()}
}

// readSite reads the records for a look.
func (s *Sweeper) readSite(ctx context.Context) (site *doctor.Site, err error) {
	err = s.config.Keeper.Background(ctx, "read the records for a look", func(_ context.Context, store ledger.Store) error {
		read := s.newSite()
		err := s.each(ctx, store, read, func(ledger.Record, *v1.PersistentVolume) error { return nil })
		if err == nil {
			site = read
		}
		return err
	})
	return site, err
}

// each reads the records, adds them to the site, and calls do with each and the PersistentVolume of its
// name as the cache has it, or nil. It stops between two records if ctx ends.
func (s *Sweeper) each(ctx context.Context, store ledger.Store, site *doctor.Site, do func(ledger.Record, *v1.PersistentVolume) error) error {
	for r, err := range store.Records.Records() {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case share.IsStale(err):
			return err
		case err != nil:
			site.Damaged = append(site.Damaged, err)
			continue
		}
		pv, _ := s.config.Volume(r.PV)
		if s.atRest(r, pv) {
			site.AddPath(r.Path)
		} else {
			site.Add(r)
		}
		if err := do(r, pv); err != nil {
			return err
		}
	}
	return nil
}

// atRest reports whether a look needs no more of a record than its path: its PersistentVolume has that
// path, or it is of a volume of another cluster.
func (s *Sweeper) atRest(r ledger.Record, pv *v1.PersistentVolume) bool {
	switch r.State {
	case ledger.Creating, ledger.Active:
	case ledger.Archived, ledger.Retained:
		return false
	}
	if r.Cluster != s.config.Steps.Cluster() {
		return true
	}
	if pv == nil {
		return false
	}
	v, err := volume.FromPV(s.config.Keeper.Source(), pv)
	return err == nil && v.Path.String() == r.Path
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
