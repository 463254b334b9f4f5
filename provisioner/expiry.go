package provisioner

import (
	"context"
	"errors"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const (
	// expireEvery is the pause between two looks for archives that end.
	expireEvery = time.Minute
	// expireAgain is the pause before an archive is tried again that could not be
	// moved.
	expireAgain = 10 * time.Minute
	// rereadEvery is how often all records of archives are read again: what they say
	// of their end is remembered until then.
	rereadEvery = time.Hour
)

// Expirer moves those archives of this cluster, on one share, into the trash whose
// time is over.
type Expirer struct {
	shares *Shares
	site   Site
	// report is told of each archive that ends and cannot be moved, for an event on
	// its class.
	report func(ctx context.Context, archive ledger.Record, err error)

	ends  map[string]*time.Time // when to read again, by record's file; nil is not before all are
	since time.Time             // when all were read
}

// Expirers returns one for each share. Run them while this process leads.
func (s *Shares) Expirers(report func(ctx context.Context, archive ledger.Record, err error)) []*Expirer {
	var all []*Expirer
	for _, site := range s.sites {
		all = append(all, &Expirer{shares: s, site: site, report: report})
	}
	return all
}

// Run ends archives until ctx ends.
func (e *Expirer) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", e.site.Name()))
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if e.site.WaitReady(ctx) != nil {
			return
		}
		if err := e.expire(ctx); err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot look for archives that end now", "because", err.Error())
		}
	}, expireEvery)
}

// expire is one look. What cannot be moved now is told, and tried again later.
func (e *Expirer) expire(ctx context.Context) error {
	due, err := e.due(ctx)
	for _, archive := range due {
		path, parseErr := volpath.ParseRecorded(archive.Path)
		if parseErr != nil || ctx.Err() != nil {
			continue
		}
		expireErr := e.shares.on(ctx, background{e.site}, path, "expire "+archive.PV, func(ctx context.Context, op operation) (takeBack func(), err error) {
			return nil, op.expire(ctx, path)
		})
		var refused *Refusal
		if errors.As(expireErr, &refused) && refused.Waits() { // for the share: the others wait too
			break
		}
		if expireErr == nil || refused != nil && refused.Reason() == ReasonBusy {
			continue
		}
		e.ends[ledger.FileOf(path)] = new(time.Now().Add(expireAgain))
		e.report(ctx, archive, expireErr)
	}
	return err
}

// due returns the archives whose end has come, also with an error of others.
func (e *Expirer) due(ctx context.Context) (due []ledger.Record, err error) {
	if time.Since(e.since) > rereadEvery {
		e.ends, e.since = map[string]*time.Time{}, time.Now()
	}
	known := func(file string) bool {
		end, read := e.ends[file]
		return read && !ended(end)
	}
	var found []ledger.Record
	var ends map[string]*time.Time
	var damaged error
	err = e.site.Background(ctx, "look for archives that end", func(_ context.Context, do, _ Files) (func(bool), error) {
		found, ends, damaged = nil, map[string]*time.Time{}, nil // stale handles make the work run again
		for r, err := range do.Records.Archives(known) {
			if ctx.Err() != nil { // the process is to end
				return nil, ctx.Err()
			}
			if share.IsStale(err) {
				return nil, err
			}
			if err != nil { // doctor tells of it
				damaged = errors.Join(damaged, err)
				continue
			}
			path, err := volpath.ParseRecorded(r.Path)
			if err != nil {
				continue
			}
			if r.Cluster != e.shares.cluster { // its PersistentVolumes may show it, which cannot be seen here
				ends[ledger.FileOf(path)] = nil
			} else if ends[ledger.FileOf(path)] = r.Until; ended(r.Until) {
				found = append(found, r)
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(e.ends, ends)
	return found, damaged
}

func ended(end *time.Time) bool { return end != nil && !end.After(time.Now()) }

// expire looks again, now that the path is locked, and moves the archive into the
// trash. One that a PersistentVolume of an administrator shows is in use.
func (op operation) expire(ctx context.Context, path volpath.Path) error {
	record, known, err := op.ledger.Lookup(path)
	if err != nil || !known || record.State != ledger.Archived || record.Cluster != op.cluster || !ended(record.Until) {
		return err
	}
	if err := op.checkVolumes(path, ""); err != nil {
		return err
	}
	err = DiscardArchive(op.dirs, op.ledger, path)
	if errors.Is(err, ErrNoArchive) {
		return nil // a claim got it before, or is just getting it
	}
	if err == nil {
		klog.FromContext(ctx).Info("Moved archive into the trash: its time is over", "archive", path, "PV", record.PV, "until", klog.SafePtr(record.Until))
	}
	return err
}
