// Package expiry moves the archives of a share into the trash when they expire.
//
// It checks once a minute. It remembers when each archive expires, so that a check lists the
// records and reads only those of new archives; once an hour it reads all records again. It
// never touches an archive of another cluster, because a PersistentVolume of that cluster
// may use it, and this cluster cannot see that. What clocks alone say, it doubts: see held.go.
package expiry

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

const (
	// every is the pause between two checks.
	every = time.Minute
	// again is the wait before an archive that could not be moved is retried.
	again = 10 * time.Minute
	// rereadEvery is how often all records of archives are read again.
	rereadEvery = time.Hour
)

// Config is what an Expirer needs. All fields are required.
type Config struct {
	Keeper *access.Keeper
	Steps  *steps.Steps
	// Report is called for each archive that has expired and cannot be moved.
	Report func(ctx context.Context, archive ledger.Record, err error)
	// Held is called, at most once a day for each reason, if archives that seem to have expired are
	// kept for now. first is one of them.
	Held func(ctx context.Context, first ledger.Record, text string)
	// Copied returns the name of a claim that is to be a copy of an archive and has not got it yet, or an empty name. The archive is
	// kept until it has.
	Copied func(ctx context.Context, archive ledger.Record) (claim string)
}

// Expirer expires the archives of this cluster on one share.
type Expirer struct {
	config Config

	ends  map[string]*time.Time // when each archive expires or is retried, by the file of its record; nil means never
	since time.Time             // when all records were read

	seen      map[string]sighting // archives that have expired by our clock, by the file of the record
	day       time.Time           // when endedLate began to be counted
	endedLate int                 // how many archives that were found late have ended since
	told      map[reason]time.Time
	held      *prometheus.GaugeVec
	now       func() time.Time // tests exchange it

	soonest soonest
	found   atomic.Pointer[Archives]
}

// New makes the Expirer of a share. Nothing expires before Run.
func New(config Config) *Expirer {
	return &Expirer{config: config, seen: map[string]sighting{}, told: map[reason]time.Time{}, held: newHeld(config.Keeper.Name()), now: time.Now}
}

// Run expires archives until ctx ends. It returns when its operations have ended.
func (e *Expirer) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", e.config.Keeper.Name()))
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if e.config.Keeper.WaitReady(ctx) != nil {
			return
		}
		if err := e.expire(ctx); err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot check for expired archives", "because", err.Error())
		}
	}, every)
}

// expire makes one check. It reports an archive that cannot be moved, and retries it later.
func (e *Expirer) expire(ctx context.Context) error {
	expired, check, err := e.expired(ctx)
	due, heldErr := e.holdBack(ctx, expired)
	err = errors.Join(err, heldErr)
	if check != nil {
		e.end(check)
	}
	for _, archive := range due {
		path, parseErr := volpath.ParseRecorded(archive.Path)
		if parseErr != nil || ctx.Err() != nil {
			continue
		}
		claim := ""
		expireErr := e.config.Steps.On(ctx, access.Periodic{Keeper: e.config.Keeper}, path, "expire "+archive.PV, func(ctx context.Context, op steps.Op) error {
			return op.Expire(ctx, func(ctx context.Context, r ledger.Record) bool {
				if !e.over(r.Until) {
					return false
				}
				claim = e.config.Copied(ctx, r)
				return claim == ""
			})
		})
		if expireErr == nil && claim != "" {
			e.keepForCopy(ctx, archive, ledger.FileOf(path), claim)
			continue
		}
		var refused *refusal.Refusal
		if errors.As(expireErr, &refused) && refused.Waits() { // the share is in trouble: all archives must wait
			break
		}
		if expireErr == nil || refused != nil && refused.Reason() == refusal.ReasonBusy {
			continue
		}
		e.ends[ledger.FileOf(path)] = new(e.now().Add(again))
		e.config.Report(ctx, archive, expireErr)
	}
	return err
}

// expired returns the archives that have expired by our clock, and the check; that is nil if the share could not
// be read. If some records cannot be read, it returns an error too.
func (e *Expirer) expired(ctx context.Context) (expired []ledger.Record, looked *check, err error) {
	all := e.now().Sub(e.since) > rereadEvery
	if all {
		e.ends, e.since = map[string]*time.Time{}, e.now()
	}
	var found []ledger.Record
	var ends map[string]*time.Time
	var damaged error
	known := func(file string) bool {
		end, read := e.ends[file]
		if !read || e.over(end) {
			return false
		}
		looked.list(file, end)
		return true
	}
	err = e.config.Keeper.Background(ctx, "find expired archives", func(_ context.Context, store ledger.Store) error {
		found, ends, damaged, looked = nil, map[string]*time.Time{}, nil, e.newCheck(all) // the work runs again if a handle is stale
		for r, err := range store.Records.Archives(known) {
			if ctx.Err() != nil { // the process is stopping
				return ctx.Err()
			}
			if share.IsStale(err) {
				return err
			}
			if err != nil { // doctor reports it
				damaged = errors.Join(damaged, err)
				continue
			}
			path, err := volpath.ParseRecorded(r.Path)
			if err != nil {
				continue
			}
			file, ours := ledger.FileOf(path), r.Cluster == e.config.Steps.Cluster()
			looked.read(file, r, ours)
			if !ours { // a PersistentVolume of that cluster may use it
				ends[file] = nil
			} else if ends[file] = r.Until; e.over(r.Until) {
				found = append(found, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(e.ends, ends)
	maps.DeleteFunc(e.seen, func(file string, _ sighting) bool {
		end, read := ends[file]
		return read && !e.over(end) || all && !read // our clock was set back, or the archive is gone
	})
	return found, looked, damaged
}

func (e *Expirer) over(end *time.Time) bool { return end != nil && !end.After(e.now()) }
