package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// choose returns the share of a claim's volume. from is nil if that is to be no copy.
func (p *Pool) choose(ctx context.Context, claim *v1.PersistentVolumeClaim, v volume.Volume, c class.Class, from *wantedSource) (*access.Keeper, error) {
	candidates, err := p.candidates(c)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	begun, err := p.begun(ctx, claim, v, candidates)
	if begun != nil || err != nil {
		return begun, err
	}
	if v.Restores {
		return p.withArchive(ctx, v, c, candidates)
	}
	if from != nil {
		return p.besideSource(ctx, from, v, c, candidates)
	}
	return p.roomiest(v, c, candidates)
}

// candidates returns the shares that a class allows.
func (p *Pool) candidates(c class.Class) ([]*access.Keeper, error) {
	if len(c.Shares) == 0 {
		if len(p.shares) == 1 {
			return p.shares, nil
		}
		return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\" is missing in the StorageClass, and there are several shares; allowed are %s, "+
			"or several of them separated by commas", names(p.shares))
	}
	var found []*access.Keeper
	for _, name := range c.Shares {
		i := slices.IndexFunc(p.shares, func(on *access.Keeper) bool { return on.Name() == name })
		if i >= 0 {
			found = append(found, p.shares[i])
			continue
		}
		if all := strings.Trim(names(p.shares), ", "); all != "" {
			return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\": there is no share %q; allowed are %s", name, all)
		}
		return nil, refusal.Refuse(refusal.ReasonClass, "parameter \"share\": there is no share %q; only one share is mounted, and it has no name: remove \"share\" from the StorageClass", name)
	}
	return found, nil
}

// begun returns, of several shares, the one where the claim's volume was begun
// or left, or nil. If a share is not ready, the claim waits for it in two cases: an
// earlier attempt may have started there, and would be left over, or it may hold the
// retained directory of an earlier claim at this path.
func (p *Pool) begun(ctx context.Context, claim *v1.PersistentVolumeClaim, v volume.Volume, candidates []*access.Keeper) (*access.Keeper, error) {
	mayBeKept := v.Policy == class.Retain && !strings.Contains(v.Path.String(), v.Name)
	for _, on := range candidates {
		if err := on.Ready(); err != nil {
			if mayBeKept || p.startedOn.perhaps(claim, v.Name, on) {
				return nil, steps.Refused(err)
			}
			continue
		}
		here, err := begunOn(ctx, on, v)
		if err != nil {
			return nil, err
		}
		if here {
			return on, nil
		}
	}
	return nil, nil
}

// roomiest returns the share with the most room among those that answer and have as much as the class asks.
func (p *Pool) roomiest(v volume.Volume, c class.Class, candidates []*access.Keeper) (*access.Keeper, error) {
	var best *access.Keeper
	var trouble, full error
	for _, on := range candidates {
		if err := on.Ready(); err != nil {
			trouble = err
		} else if err := p.ask(on, c, requestOf(v)); err != nil {
			full = err
		} else if best == nil || p.room(on).Free > p.room(best).Free {
			best = on
		}
	}
	switch {
	case best == nil && full != nil:
		return nil, full
	case best == nil:
		return nil, steps.Refused(trouble)
	}
	p.startedOn.begin(v.Name, best)
	return best, nil
}

// begunOn reports whether the share has a record of the claim at the path: of an
// earlier try, or of a directory that an earlier claim of the name left.
func begunOn(ctx context.Context, on *access.Keeper, v volume.Volume) (here bool, err error) {
	err = on.Do(ctx, "look for "+v.Name, func(_ context.Context, store ledger.Store) error {
		r, found, err := store.Records.Lookup(v.Path)
		here = found && r.Claim.Namespace == v.Claim.Namespace && r.Claim.Name == v.Claim.Name
		return err
	})
	if err != nil {
		return false, steps.Refused(err)
	}
	return here, nil
}

// withArchive returns, of several shares, the one with the archive that the claim
// asks for.
func (p *Pool) withArchive(ctx context.Context, v volume.Volume, c class.Class, candidates []*access.Keeper) (*access.Keeper, error) {
	w := steps.Wanted{Name: v.Restore, Adopts: c.OnExisting == class.Adopt}
	on, _, err := p.findArchive(ctx, v, w, candidates)
	switch {
	case err != nil:
		return nil, err
	case on == nil:
		return p.roomiest(v, c, candidates)
	}
	p.startedOn.begin(v.Name, on)
	return on, nil
}

// findArchive returns, of several shares, the one with the archive that is wanted, and its record; or no share, if an empty
// volume will do. A share that is in trouble may have it, and is waited for only if no other
// has; but the latest is known only when all have answered.
func (p *Pool) findArchive(ctx context.Context, v volume.Volume, w steps.Wanted, shares []*access.Keeper) (best *access.Keeper, newest ledger.Record, err error) {
	var missing, trouble error
	for _, on := range shares {
		if err := on.Ready(); err != nil {
			trouble = err
			continue
		}
		found, err := p.steps.LookForArchive(ctx, on, v, w)
		refused, _ := errors.AsType[*refusal.Refusal](err)
		switch {
		case refused != nil && refused.Reason() == refusal.ReasonArchive:
			missing = err
		case err != nil:
			return nil, newest, err
		case best == nil || steps.Older(newest, found) < 0:
			best, newest = on, found
		}
	}
	switch {
	case trouble != nil && (best == nil || w.Latest()):
		return nil, newest, steps.Refused(trouble)
	case best == nil && !w.OrEmpty():
		return nil, newest, missing
	}
	return best, newest, nil
}

const (
	// clockSkew is by how much the API server's clock may differ from ours.
	clockSkew = 10 * time.Second
	// startedMost bounds what startedOn remembers.
	startedMost = 10_000
)

// startedOn remembers on which share a volume was begun, where several were
// allowed. What it does not remember may have been begun by an earlier process.
type startedOn struct {
	mu     sync.Mutex
	since  time.Time // what was begun since then it knows
	shares map[string]*access.Keeper
}

// reset forgets all attempts: every existing claim may have been started anywhere.
func (t *startedOn) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.shares = time.Now(), map[string]*access.Keeper{}
}

// perhaps reports whether the claim's volume may have been begun on a share.
func (t *startedOn) perhaps(claim *v1.PersistentVolumeClaim, pv string, on *access.Keeper) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if where, known := t.shares[pv]; known {
		return where == on
	}
	return t.since.IsZero() || claim.CreationTimestamp.Time.Before(t.since.Add(clockSkew))
}

func (t *startedOn) begin(pv string, on *access.Keeper) {
	if t.full() {
		t.reset()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shares != nil {
		t.shares[pv] = on
	}
}

func (t *startedOn) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.shares) >= startedMost
}

func (t *startedOn) succeeded(pv string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.shares, pv)
}
