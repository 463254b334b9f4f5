package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// chooseSite returns the share of a claim's volume.
func (s *Shares) chooseSite(ctx context.Context, o controller.ProvisionOptions, c class.Class, path volpath.Path) (Site, error) {
	candidates, err := s.candidates(c)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	begun, err := s.begunSite(ctx, o, candidates, path, c.OnDelete == class.Retain && !strings.Contains(path.String(), o.PVName))
	if begun != nil || err != nil {
		return begun, err
	}
	if vol := volume.FromClaim(o.PVName, o.PVC, o.StorageClass, c, path); vol.Restores {
		return s.archiveSite(ctx, o, candidates, s.newRecord(vol), wish{vol.Restore, c.OnExisting == class.Adopt})
	}
	return s.roomiestSite(o, candidates)
}

// candidates returns the shares that a class allows.
func (s *Shares) candidates(c class.Class) ([]Site, error) {
	if len(c.Shares) == 0 {
		if len(s.sites) == 1 {
			return s.sites, nil
		}
		return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\" is missing in the StorageClass, and there are several shares; allowed are %s, "+
			"or several of them separated by commas", siteNames(s.sites))
	}
	var found []Site
	for _, name := range c.Shares {
		i := slices.IndexFunc(s.sites, func(site Site) bool { return site.Name() == name })
		if i >= 0 {
			found = append(found, s.sites[i])
			continue
		}
		if names := strings.Trim(siteNames(s.sites), ", "); names != "" {
			return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\": there is no share %q; allowed are %s", name, names)
		}
		return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\": there is no share %q; the only one has no name: make the StorageClass without the parameter", name)
	}
	return found, nil
}

// begunSite returns, of several shares, the one where the claim's volume was begun
// or left, or nil. A share that does not answer is waited for if the volume may
// have been begun there: it would be begun a second time elsewhere, and the first
// one would be left over. So is one that may have kept the directory of an earlier
// claim at this path, if mayBeKept says that such are kept.
func (s *Shares) begunSite(ctx context.Context, o controller.ProvisionOptions, candidates []Site, path volpath.Path, mayBeKept bool) (Site, error) {
	for _, site := range candidates {
		if err := site.Ready(); err != nil {
			if mayBeKept || s.tried.perhaps(o.PVC, o.PVName, site) {
				return nil, storageError(err)
			}
			continue
		}
		here, err := s.begunOn(ctx, site, o, path)
		if err != nil {
			return nil, err
		}
		if here {
			return site, nil
		}
	}
	return nil, nil
}

// roomiestSite returns the share with the most room among those that answer.
func (s *Shares) roomiestSite(o controller.ProvisionOptions, candidates []Site) (Site, error) {
	var best Site
	var trouble error
	for _, site := range candidates {
		if err := site.Ready(); err != nil {
			trouble = err
		} else if best == nil || site.Room().Free > best.Room().Free {
			best = site
		}
	}
	if best == nil {
		return nil, storageError(trouble)
	}
	s.tried.begin(o.PVName, best)
	return best, nil
}

// begunOn reports whether the share has a record of the claim at the path: of an
// earlier try, or of a directory that an earlier claim of the name left.
func (s *Shares) begunOn(ctx context.Context, site Site, o controller.ProvisionOptions, path volpath.Path) (here bool, err error) {
	var record ledger.Record
	err = site.Do(ctx, "look for "+o.PVName, func(_ context.Context, do, _ Files) (func(bool), error) {
		r, known, err := do.Records.Lookup(path)
		if known {
			record = r
		}
		return nil, err
	})
	if err != nil {
		return false, storageError(err)
	}
	return record.Claim.Namespace == o.PVC.Namespace && record.Claim.Name == o.PVC.Name, nil
}

const (
	// clockSkew is by how much the API server's clock may differ from ours.
	clockSkew = 10 * time.Second
	// triedMost bounds what tried remembers.
	triedMost = 10_000
)

// tried remembers on which share a volume was begun, where several were
// allowed. What it does not remember may have been begun by an earlier process.
type tried struct {
	mu    sync.Mutex
	since time.Time // what was begun since then it knows
	sites map[string]Site
}

// forget makes all claims that exist by now such of which nothing is known.
func (t *tried) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.sites = time.Now(), map[string]Site{}
}

// perhaps reports whether the claim's volume may have been begun on site.
func (t *tried) perhaps(claim *v1.PersistentVolumeClaim, pv string, site Site) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if on, known := t.sites[pv]; known {
		return on == site
	}
	return t.since.IsZero() || claim.CreationTimestamp.Time.Before(t.since.Add(clockSkew))
}

func (t *tried) begin(pv string, site Site) {
	if t.full() {
		t.forget()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sites != nil {
		t.sites[pv] = site
	}
}

func (t *tried) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sites) >= triedMost
}

func (t *tried) succeeded(pv string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sites, pv)
}

// archiveSite returns, of several shares, the one with the archive that the claim
// asks for. One that is in trouble may have it, and is waited for only if no other
// has; but the latest is known only when all have answered.
func (s *Shares) archiveSite(ctx context.Context, o controller.ProvisionOptions, candidates []Site, asking ledger.Record, w wish) (Site, error) {
	var best Site
	var newest ledger.Record
	var missing, trouble error
	for _, site := range candidates {
		if err := site.Ready(); err != nil {
			trouble = err
			continue
		}
		var found ledger.Record
		err := site.Do(ctx, "look for the archive of "+o.PVName, func(_ context.Context, do, _ Files) (_ func(bool), err error) {
			op := operation{Shares: s, source: site.Source(), dirs: do.Dirs, ledger: do.Records}
			found, err = op.findArchive(asking, w)
			return nil, err
		})
		var refused *refusal.Refusal
		switch {
		case errors.As(err, &refused) && refused.Reason() == refusal.ReasonArchive:
			missing = err
		case err != nil:
			return nil, storageError(err)
		case best == nil || olderArchive(newest, found) < 0:
			best, newest = site, found
		}
	}
	switch {
	case trouble != nil && (best == nil || w.name == volume.RestoreLatest):
		return nil, storageError(trouble)
	case best == nil:
		return nil, missing
	}
	s.tried.begin(o.PVName, best)
	return best, nil
}
