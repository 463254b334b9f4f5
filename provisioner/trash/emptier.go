package trash

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

const (
	// AtOnce is how many directories of one share's trash are removed at once: a
	// large one does not hold up the small ones behind it.
	AtOnce = 4
	// Hands is how many goroutines remove from one share: a call over a network is
	// mostly waiting.
	Hands = 32
	// lookEvery is the pause between two listings of a trash where nothing is left to
	// do.
	lookEvery = 5 * time.Second
	// turn is how long one directory is removed at a stretch. After that it waits for
	// the others: somebody may be filling it as fast as it is emptied.
	turn = 10 * time.Minute
	// retryFirst and retryMost bound the wait before a directory is tried again that
	// could not be removed; it doubles from one to the other.
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
)

// Config is what an Emptier needs. All fields are required.
type Config struct {
	Keeper Keeper
	// Remover is how fast the trash is emptied. Several shares may have one.
	Remover *share.Remover
	// Report is told of each try that failed.
	Report func(ctx context.Context, f Failure)
}

// Keeper is what this package needs of a *keeper.Keeper.
type Keeper interface {
	Name() string
	WaitReady(ctx context.Context) error
	Background(ctx context.Context, name string, work keeper.Work) error
}

// Failure says that a directory in the trash could not be removed.
type Failure struct {
	Name   string        // in the trash
	Record ledger.Record // whose it was; zero where that is not known
	Reason string        // as metrics label it: see share.RemovalReason
	Err    error
	Retry  time.Duration // when it is tried again
}

// Emptier empties the trash of one share.
type Emptier struct {
	config Config
	every  time.Duration // lookEvery
	turn   time.Duration // turn
	first  time.Duration // retryFirst

	mu       sync.Mutex
	waiting  int            // directories of the last listing that are still there
	turns    map[string]int // how many a directory has had that is not empty yet, also those that failed
	failing  map[string]*failing
	failures map[string]int64 // by reason
	removed  share.Removed
}

// failing is a directory that could not be removed.
type failing struct {
	reason string
	wait   time.Duration
	next   time.Time
}

// New makes the Emptier of a share. Nothing is removed before Run.
func New(config Config) *Emptier {
	return &Emptier{config: config, every: lookEvery, turn: turn, first: retryFirst, turns: map[string]int{}, failing: map[string]*failing{}, failures: map[string]int64{}}
}

// Run empties the trash until ctx ends, and what is under way with it.
func (e *Emptier) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", e.config.Keeper.Name()))
	ended := make(chan string)
	busy := map[string]bool{}
	var queue []string
	for {
		if len(queue) == 0 && ctx.Err() == nil {
			queue = slices.DeleteFunc(e.list(ctx), func(name string) bool { return busy[name] })
		}
		for len(queue) > 0 && len(busy) < AtOnce && ctx.Err() == nil {
			name := queue[0]
			queue, busy[name] = queue[1:], true
			go func() {
				e.empty(ctx, name)
				ended <- name
			}()
		}
		stop := ctx.Done()
		if ctx.Err() != nil {
			if len(busy) == 0 {
				return
			}
			stop = nil // only what is under way is waited for
		}
		select {
		case name := <-ended:
			delete(busy, name)
		case <-time.After(e.every):
			queue = nil // new ones come before those that failed
		case <-stop:
		}
	}
}

// list returns what is in the trash and is due, and ends the records of what is
// not there any more. It waits for a share that is not ready.
func (e *Emptier) list(ctx context.Context) (due []string) {
	if e.config.Keeper.WaitReady(ctx) != nil {
		return nil
	}
	var directories []string
	err := e.config.Keeper.Background(ctx, "list the trash", func(_ context.Context, do, _ keeper.View) (func(bool), error) {
		found, recorded, err := do.Dirs.Trash()
		for _, name := range recorded {
			if err == nil && !has(found, name) {
				if forgetErr := do.Records.ForgetDiscarded(name); forgetErr != nil { // it holds nothing else up
					klog.FromContext(ctx).Error(forgetErr, "Cannot remove the record of a directory that is gone from the trash", "trash", name)
				}
			}
		}
		directories = found
		return nil, err
	})
	if err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot look into the trash now", "because", err.Error())
		return nil
	}
	return e.due(directories)
}

// has reports whether a listing, which is sorted and may be long, has the name.
func has(directories []string, name string) bool {
	_, found := slices.BinarySearch(directories, name)
	return found
}

// due takes a listing and returns what is not to wait.
func (e *Emptier) due(directories []string) (due []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = len(directories)
	// Somebody else may have removed some.
	maps.DeleteFunc(e.failing, func(name string, _ *failing) bool { return !has(directories, name) })
	maps.DeleteFunc(e.turns, func(name string, _ int) bool { return !has(directories, name) })
	now := time.Now()
	for _, name := range directories {
		if f := e.failing[name]; f == nil || !f.next.After(now) {
			due = append(due, name)
		}
	}
	slices.SortStableFunc(due, func(a, b string) int { return cmp.Compare(e.turns[a], e.turns[b]) })
	return due
}

// errTurnOver ends a turn.
var errTurnOver = errors.New("others are waiting")

// empty removes one directory of the trash, and its record, or as much of it as a
// turn allows.
func (e *Emptier) empty(ctx context.Context, name string) {
	turn, end := context.WithCancelCause(ctx) // no deadline, at which the pace would fail before
	defer time.AfterFunc(e.turn, func() { end(errTurnOver) }).Stop()
	defer end(nil)
	var record ledger.Record
	began := time.Now()
	err := e.config.Keeper.Background(ctx, "empty the trash of "+name, func(_ context.Context, do, _ keeper.View) (func(bool), error) {
		record, _ = do.Records.Discarded(name)
		removed, err := do.Dirs.EmptyTrash(turn, name, e.config.Remover)
		e.count(removed)
		if err == nil {
			err = do.Records.ForgetDiscarded(name)
		}
		return nil, err
	})
	var trouble *keeper.Trouble
	switch {
	case errors.Is(err, errTurnOver):
		e.hadTurn(name)
		klog.FromContext(ctx).Info("Still removing directory from the trash, in turn with others", "trash", name, "after", e.turn)
	case err == nil:
		e.succeeded(name)
		klog.FromContext(ctx).Info("Removed directory from the trash", "trash", name, "path", record.Path, "PV", record.PV,
			"PVC", klog.KRef(record.Claim.Namespace, record.Claim.Name), "after", time.Since(began).Round(time.Millisecond))
	case ctx.Err() != nil:
	case errors.As(err, &trouble): // perhaps not the directory's fault; the others come first now
		e.hadTurn(name)
	default:
		e.config.Report(ctx, e.failed(name, record, err))
	}
}

func (e *Emptier) count(removed share.Removed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed.Files += removed.Files
	e.removed.Directories += removed.Directories
}

func (e *Emptier) hadTurn(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.turns[name]++
}

func (e *Emptier) succeeded(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failing, name)
	delete(e.turns, name)
	e.waiting = max(0, e.waiting-1)
}

func (e *Emptier) failed(name string, record ledger.Record, err error) Failure {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.failing[name]
	if f == nil {
		f = &failing{wait: e.first / 2}
		e.failing[name] = f
	}
	f.reason, f.wait = share.RemovalReason(err), min(2*f.wait, retryMost)
	f.next = time.Now().Add(f.wait)
	e.failures[f.reason]++
	e.turns[name]++ // or those that fail slowly would always come before those behind them
	return Failure{Name: name, Record: record, Reason: f.reason, Err: err, Retry: f.wait}
}
