package provisioner

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// begunSite returns, of several shares, the one where the claim's volume was begun
// or left, or nil. A share that does not answer is waited for if the volume may
// have been begun there: it would be begun a second time elsewhere, and the first
// one would be left over.
func (s *Shares) begunSite(ctx context.Context, o controller.ProvisionOptions, candidates []Site, path volpath.Path) (Site, error) {
	for _, site := range candidates {
		if err := site.Ready(); err != nil {
			if s.tried.perhaps(o.PVC, o.PVName, site) {
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

// roomiest returns the share with the most room among those that answer.
func (s *Shares) roomiest(o controller.ProvisionOptions, candidates []Site) (Site, error) {
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
