package usage

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// measure measures the directory of a path that has a record of this cluster. What was measured counts, even if it
// cannot be written to the share: that may be full.
func (m *Measurer) measure(ctx context.Context, path volpath.Path) error {
	f, err := m.look(ctx, path)
	if err != nil {
		return err
	}
	m.mu.Lock()
	before := m.known[path.String()]
	m.mu.Unlock()
	if before.OfVolume(ledger.Record{PV: f.PV, Cluster: f.Cluster}) {
		f.Told, f.ToldOf = before.Told, before.ToldOf
	}
	m.tell(ctx, &f)
	m.mu.Lock()
	m.known[path.String()] = f
	m.mu.Unlock()
	err = m.on(ctx, path, "write the usage of "+path.String(), func(op steps.Op) error { return op.RecordUsage(f.Usage) })
	if err != nil {
		m.say(ctx, "Cannot keep on the share what was measured", err)
	}
	return err
}

// look measures the directory that a path's record says is its volume's.
func (m *Measurer) look(ctx context.Context, path volpath.Path) (figures, error) {
	var f figures
	err := m.config.Keeper.Background(ctx, "measure "+path.String(), func(_ context.Context, store ledger.Store) error {
		r, found, err := store.Records.Lookup(path)
		if err != nil {
			return err
		}
		if !found || r.Cluster != m.config.Steps.Cluster() {
			return fs.ErrNotExist
		}
		f.describe(r)
		f.Usage, err = m.within(ctx, func(ctx context.Context) (share.Usage, error) {
			return store.Dirs.Measure(ctx, m.meter, path, r.Directory)
		})
		f.PV, f.Cluster, f.Path = r.PV, r.Cluster, r.Path
		return err
	})
	if err != nil { // if ctx has ended, the operation may still run
		return figures{}, err
	}
	return f, nil
}

// within measures something until its turn is over.
func (m *Measurer) within(ctx context.Context, measure func(ctx context.Context) (share.Usage, error)) (u ledger.Usage, err error) {
	turn, end := context.WithCancelCause(ctx) // not a deadline: the rate limiter would fail in advance of one
	defer time.AfterFunc(m.config.Interval/turns, func() { end(errTurnOver) }).Stop()
	defer end(nil)
	u.Began = m.time()
	u.Usage, err = measure(turn)
	u.Ended = m.time()
	if errors.Is(err, errTurnOver) {
		u.Partial, err = true, nil
	}
	return u, err
}

// measureTrash measures what the trash holds, once an interval.
func (m *Measurer) measureTrash(ctx context.Context) error {
	now := m.now()
	recent := func(t time.Time) bool { return !t.IsZero() && !t.After(now) && now.Sub(t) < m.config.Interval }
	if recent(m.trash) {
		return nil
	}
	var u ledger.Usage
	err := m.config.Keeper.Background(ctx, "measure the trash", func(_ context.Context, store ledger.Store) (err error) {
		u = ledger.Usage{}
		if last, found, err := store.Records.TrashUsage(); err == nil && found && recent(last.Began) {
			return nil
		}
		u, err = m.within(ctx, func(ctx context.Context) (share.Usage, error) { return store.Dirs.MeasureTrash(ctx, m.meter) })
		return err
	})
	if err != nil {
		return err
	}
	m.trash = now
	if u.Began.IsZero() {
		return nil
	}
	return m.config.Steps.RecordTrashUsage(ctx, access.Periodic{Keeper: m.config.Keeper}, u)
}

// time is now, as people read it.
func (m *Measurer) time() time.Time { return m.now().UTC().Truncate(time.Second) }
