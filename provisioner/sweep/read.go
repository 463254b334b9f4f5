package sweep

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// records are those of a ledger that a pass works on. A share has very many, and nearly all are as they
// should be: their volumes are bound to the claims that they name. Of those nothing is kept but the path.
type records struct {
	follow  []follow        // of volumes that may belong to another claim, or have outgrown their size
	orphans []ledger.Record // of volumes, also unfinished ones, without a PersistentVolume
	moved   []moved         // whose directories are other ones than they say
	peers   map[string]volume.Volume
	copies  strayCopies
	begun   []ledger.Record // of which begunElsewhere is true
	counts  counts
	site    *doctor.Site
}

// changes reports whether the pass has work on the records, so that they have to be read again.
func (r *records) changes(first bool) bool {
	return len(r.follow) > 0 || len(r.orphans) > 0 || len(r.begun) > 0 || len(r.moved) > 0 || len(r.peers) > 0 && !first
}

// read removes old temporary files and reads the records. It stops between two records if ctx ends.
func (s *Sweeper) read(ctx context.Context) (found *records, err error) {
	err = s.config.Keeper.Background(ctx, "read the records", func(_ context.Context, store ledger.Store) error {
		if err := store.Records.RemoveStale(); err != nil {
			return err
		}
		copies, err := listCopies(store)
		if err != nil {
			return err
		}
		result := &records{peers: s.peers(), copies: copies, counts: newCounts(), site: s.newSite()}
		numbers := numbers{dirs: store.Dirs, known: map[volpath.Path]map[string]uint64{}}
		err = s.each(ctx, store, result.site, func(r ledger.Record, pv *v1.PersistentVolume) error {
			copies.known(r)
			if r.Cluster == s.config.Steps.Cluster() {
				result.counts.add(r)
			}
			s.sort(result, r, pv)
			m, changed, err := numbers.compare(r)
			if changed && s.served(r) {
				result.moved = append(result.moved, m)
			}
			return err
		})
		if err == nil {
			copies.knownSnapshots(result.site)
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
	if s.begunElsewhere(r) {
		found.begun = append(found.begun, r)
	}
	ref := pv.Spec.ClaimRef
	if r.State != ledger.Active || ref == nil || pv.Status.Phase != v1.VolumeBound {
		return
	}
	claim := ledger.Claim{Namespace: ref.Namespace, Name: ref.Name, UID: string(ref.UID)}
	is, outgrown := claim.Is(r.Claim), steps.Outgrown(r, pv.Spec.Capacity[v1.ResourceStorage])
	if !is || outgrown || r.Claim.NamespaceUID == "" {
		found.follow = append(found.follow, follow{r.PV, is && !outgrown})
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

// each reads the records, also those of snapshots, adds them to the site, and calls do with each of a volume and the PersistentVolume
// of its name as the cache has it, or nil. It removes the empty directories of records that are gone. It stops
// between two records if ctx ends.
func (s *Sweeper) each(ctx context.Context, store ledger.Store, site *doctor.Site, do func(ledger.Record, *v1.PersistentVolume) error) error {
	for r, err := range store.Records.Sweep() {
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
	return site.ReadSnapshots(ctx, store)
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
