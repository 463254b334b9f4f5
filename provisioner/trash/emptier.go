package trash

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
)

const (
	// AtOnce is how many directories of one share's trash are removed at once, so that a
	// large one does not delay small ones.
	AtOnce = 4
	// Hands is how many goroutines remove files from one share. There are many because
	// calls mostly wait for the network.
	Hands = 32
	// lookEvery is the pause between two listings.
	lookEvery = 5 * time.Second
	// postponeMost is how long new directories wait for a moment in which no claim or released
	// volume is worked on.
	postponeMost = time.Minute
	// turn is how long one directory is removed before others get a turn, because somebody
	// may be filling it as fast as it is emptied.
	turn = 10 * time.Minute
	// retryFirst and retryMost are the first and the longest wait before a failed removal is
	// retried; the wait doubles each time.
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
)

// Config is what an Emptier needs. All fields but Busy are required.
type Config struct {
	Keeper *access.Keeper
	// Steps decide what may be removed.
	Steps *steps.Steps
	// Remover removes, and limits the rate. Several shares may have the same one.
	Remover *share.Remover
	// Busy reports whether claims or released volumes are worked on, which is more urgent.
	Busy func() bool
	// Report is called for each failed removal.
	Report func(ctx context.Context, f Failure)
}

// Failure says that a directory in the trash could not be removed.
type Failure struct {
	Name   string        // in the trash
	Record ledger.Record // its record; zero if it has none
	Reason string        // as metrics label it: see share.RemovalReason
	Err    error
	Retry  time.Duration // the wait until it is retried
}

// Emptier empties the trash of one share.
type Emptier struct {
	config  Config
	metrics *metrics
	every   time.Duration // lookEvery
	turn    time.Duration // turn
	first   time.Duration // retryFirst
	since   time.Time     // when Busy became true; zero if it is not
	queue   atomic.Pointer[queue]
}

// New makes the Emptier of a share. Nothing is removed before Run.
func New(config Config) *Emptier {
	return &Emptier{config: config, metrics: newMetrics(config.Keeper.Name()), every: lookEvery, turn: turn, first: retryFirst}
}

// Run lists the trash periodically and removes AtOnce directories at a time, until ctx ends.
// It returns when all its operations have ended.
func (e *Emptier) Run(ctx context.Context) {
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "share", e.config.Keeper.Name())
	ctx = klog.NewContext(ctx, logger)
	q := newQueue(logger, e.first, e.metrics)
	e.queue.Store(q)
	var workers sync.WaitGroup
	for range AtOnce {
		workers.Go(func() { e.work(ctx, q) })
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) { e.list(ctx, q) }, e.every)
	q.ShutDown()
	workers.Wait()
}

// Waiting is how many directories are in the trash and, by the reasons of share.RemovalReason, how many of them
// could not be removed so far. known is false until the trash has been listed. It calls nobody.
func (e *Emptier) Waiting() (directories int, failing map[string]int, known bool) {
	q := e.queue.Load()
	if q == nil {
		return 0, nil, false
	}
	return q.counts()
}

// postponed reports whether new directories in the trash have to wait.
func (e *Emptier) postponed(now time.Time) bool {
	if e.config.Busy == nil || !e.config.Busy() {
		e.since = time.Time{}
		return false
	}
	if e.since.IsZero() {
		e.since = now
	}
	return now.Sub(e.since) < postponeMost
}

// list queues the new directories in the trash. It waits until the share is ready.
func (e *Emptier) list(ctx context.Context, q *queue) {
	if e.postponed(time.Now()) || e.config.Keeper.WaitReady(ctx) != nil {
		return
	}
	q.beginListing()
	var found []string
	var since map[string]time.Time
	err := e.config.Keeper.Background(ctx, "list the trash", func(_ context.Context, store ledger.Store) (err error) {
		if found, err = store.Records.ListTrash(); err == nil {
			since, err = times(ctx, store, q.unknown(found))
		}
		return err
	})
	if err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot list the trash now", "because", err.Error())
		return
	}
	q.listed(found, since)
}

// times returns when directories came into the trash. It leaves out those that do not say, such as one that is gone by
// now: no directory holds up the others.
func times(ctx context.Context, store ledger.Store, names []string) (map[string]time.Time, error) {
	since := make(map[string]time.Time, len(names))
	for _, name := range names {
		at, err := store.Records.TrashedAt(name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case share.IsStale(err):
			return nil, err
		case err == nil:
			since[name] = at
		}
	}
	return since, nil
}

// work takes one directory after the other until the queue is shut down.
func (e *Emptier) work(ctx context.Context, q *queue) {
	for {
		name, shutdown := q.Get()
		if shutdown {
			return
		}
		if ctx.Err() == nil && e.config.Keeper.WaitReady(ctx) == nil && q.begin(name) {
			e.try(ctx, q, name)
		}
		q.Done(name)
	}
}

// try removes a directory for one turn, and queues it again if it still exists.
func (e *Emptier) try(ctx context.Context, q *queue, name string) {
	record, err := e.empty(ctx, name)
	var trouble *access.Trouble
	var refused *refusal.Refusal
	switch {
	case err == nil:
		q.done(name)
	case ctx.Err() != nil: // the next start finds it
	case errors.Is(err, errTurnOver):
		q.Add(name)
		klog.FromContext(ctx).Info("Removing a directory from the trash takes long, others are removed meanwhile", "trash", name, "after", e.turn)
	case errors.As(err, &trouble): // the share may be the cause, not the directory: it waits behind the others, without a pause
		q.Add(name)
	case errors.As(err, &refused) && refused.Reason() == refusal.ReasonBusy: // its release is under way
		q.AddAfter(name, e.first)
	case errors.Is(err, steps.ErrNotAsked): // the API server may be the cause, not the directory
		q.AddAfter(name, e.first)
		klog.FromContext(ctx).V(1).Info("A directory stays in the trash for now", "trash", name, "because", err.Error())
	default:
		reason := share.RemovalReason(err)
		e.config.Report(ctx, Failure{Name: name, Record: record, Reason: reason, Err: err, Retry: q.retry(name, reason)})
	}
}

// errTurnOver ends a turn.
var errTurnOver = errors.New("others are waiting")

// empty removes one directory of the trash and then its record, or as much of the directory
// as it can in one turn. steps.EmptyTrash checks first whether it may be removed.
func (e *Emptier) empty(ctx context.Context, name string) (ledger.Record, error) {
	turn, end := context.WithCancelCause(ctx) // not a deadline: the rate limiter would fail in advance of one
	defer time.AfterFunc(e.turn, func() { end(errTurnOver) }).Stop()
	defer end(nil)
	began := time.Now()
	removed, record, err := e.config.Steps.EmptyTrash(ctx, turn, access.Periodic{Keeper: e.config.Keeper}, name, e.config.Remover)
	e.metrics.files.Add(float64(removed.Files))
	e.metrics.directories.Add(float64(removed.Directories))
	if err == nil && removed != (share.Removed{}) {
		klog.FromContext(ctx).Info("Removed directory from the trash", "trash", name, "path", record.Path, "PV", record.PV,
			"PVC", klog.KRef(record.Claim.Namespace, record.Claim.Name), "after", time.Since(began).Round(time.Millisecond))
	}
	return record, err
}
