package usage

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// figures are what is known of one directory.
type figures struct {
	ledger.Usage // zero if it was never measured

	state     ledger.State
	claim     ledger.Claim
	class     string // of the claim
	requested int64  // bytes
}

// read brings what is known up to date with the records, and returns the paths that were measured and have no
// record any more.
func (m *Measurer) read(ctx context.Context) (left []volpath.Path, err error) {
	var found map[string]figures
	err = m.config.Keeper.Background(ctx, "read what was measured", func(_ context.Context, store ledger.Store) error {
		recorded := map[string]bool{}
		found, left = map[string]figures{}, nil // the work runs again if a handle is stale
		whole := true
		for r, err := range store.Records.Records() {
			switch {
			case ctx.Err() != nil: // the process is stopping
				return ctx.Err()
			case errors.Is(err, ledger.ErrDamaged): // doctor reports it
				whole = false
				continue
			case err != nil:
				return err
			}
			path, err := volpath.ParseRecorded(r.Path)
			if err != nil {
				whole = false
				continue
			}
			recorded[ledger.FileOf(path)] = true
			if r.Cluster != m.config.Steps.Cluster() || r.State == ledger.Creating {
				continue
			}
			if found[r.Path], err = m.figuresOf(store.Records, path, r); err != nil {
				return err
			}
		}
		if !whole { // a record that cannot be read may be that of a path that was measured
			return nil
		}
		left, err = store.Records.LeftUsage(func(file string) bool { return recorded[file] })
		return err
	})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = found
	return left, nil
}

// figuresOf returns what is known of the directory of a record, from memory or from the share.
func (m *Measurer) figuresOf(records *ledger.Ledger, path volpath.Path, r ledger.Record) (figures, error) {
	m.mu.Lock()
	f, known := m.known[r.Path]
	m.mu.Unlock()
	if !known || !f.OfVolume(r) {
		u, _, err := records.Usage(path, r)
		if err != nil {
			return figures{}, err
		}
		u.PV, u.Cluster, u.Path = r.PV, r.Cluster, r.Path
		f = figures{Usage: u}
	}
	f.state, f.claim, f.class, f.requested = r.State, r.Claim, r.Class, sizeOf(r)
	return f, nil
}

// Used returns how many bytes the directory of a volume held, by its path and its PersistentVolume, and when it began
// to be measured, or false if that is not known. It asks nobody.
func (m *Measurer) Used(path, pv string) (bytes int64, at time.Time, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, found := m.known[path]
	if !found || f.PV != pv || f.Began.IsZero() {
		return 0, time.Time{}, false
	}
	return f.Bytes, f.Began, true
}

// sizeOf returns the size in a record, in bytes, or 0 if it cannot be read.
func sizeOf(r ledger.Record) int64 {
	size, err := resource.ParseQuantity(r.Size)
	if err != nil {
		return 0
	}
	return size.Value()
}
