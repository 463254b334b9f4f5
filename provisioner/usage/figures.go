package usage

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
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
// record any more. all reads every record; otherwise only those that are not known.
func (m *Measurer) read(ctx context.Context, all bool) (left []volpath.Path, err error) {
	var r reading
	var of []volpath.Path
	err = m.config.Keeper.Background(ctx, "read what was measured", func(_ context.Context, store ledger.Store) (err error) {
		r, of = reading{found: map[string]figures{}, recorded: map[string]bool{}}, nil // the work runs again if a handle is stale
		if err := m.readRecords(ctx, store.Records, all, &r); err != nil || !all || r.damaged {
			return err
		}
		of, err = store.Records.LeftUsage(func(file string) bool { return r.recorded[file] })
		return err
	})
	if err != nil { // if ctx has ended, the operation may still run
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = r.found
	return of, nil
}

// reading is what was read of the records.
type reading struct {
	found    map[string]figures // by path
	recorded map[string]bool    // files of records, as ledger.FileOf has them
	damaged  bool               // a record cannot be read, and may be that of a path that was measured
}

func (m *Measurer) readRecords(ctx context.Context, records *ledger.Ledger, all bool, to *reading) error {
	before := m.byFile()
	skip := func(file string) bool {
		to.recorded[file] = true
		f, known := before[file]
		if known && !all {
			to.found[f.Path] = f
		}
		return known && !all
	}
	for r, err := range records.RecordsBut(skip) {
		switch {
		case ctx.Err() != nil: // the process is stopping
			return ctx.Err()
		case errors.Is(err, ledger.ErrDamaged): // doctor reports it
			to.damaged = true
			continue
		case err != nil:
			return err
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			to.damaged = true
			continue
		}
		if r.Cluster != m.config.Steps.Cluster() || r.State == ledger.Creating {
			continue
		}
		f, known := before[ledger.FileOf(path)]
		if !known || !f.OfVolume(r) {
			if f.Usage, err = usageOf(records, path, r); err != nil {
				return err
			}
		}
		f.describe(r)
		to.found[r.Path] = f
	}
	return nil
}

// byFile returns what is known, by the files of the records.
func (m *Measurer) byFile() map[string]figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := make(map[string]figures, len(m.known))
	for name, f := range m.known {
		if path, err := volpath.ParseRecorded(name); err == nil {
			files[ledger.FileOf(path)] = f
		}
	}
	return files
}

// usageOf returns what the share says of the directory of a record. A file that cannot be read counts as none: the next
// measurement writes it anew.
func usageOf(records *ledger.Ledger, path volpath.Path, r ledger.Record) (ledger.Usage, error) {
	u, _, err := records.Usage(path, r)
	if share.IsStale(err) || errors.Is(err, share.ErrNotRecognised) {
		return u, err
	}
	u.PV, u.Cluster, u.Path = r.PV, r.Cluster, r.Path
	return u, nil
}

// describe takes over what a record says.
func (f *figures) describe(r ledger.Record) {
	f.state, f.claim, f.class, f.requested = r.State, r.Claim, r.Class, sizeOf(r)
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
