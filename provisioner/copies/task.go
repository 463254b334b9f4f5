package copies

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

const (
	// turn is how long a job runs while jobs of other namespaces wait. It is doubled with each turn, mostDoubled times at
	// most, because a job that goes on looks at all again that it has copied.
	turn        = 5 * time.Minute
	mostDoubled = 7 // nearly 11 hours: at 2000 calls a second a tree of 20 million files is looked at in that time
	// wantedEvery is how often a job asks whether it is still wanted.
	wantedEvery = 2 * time.Second
	// firstProgress is when a job tells its progress first, progressEvery how often it does then.
	firstProgress, progressEvery = 10 * time.Second, 5 * time.Minute
)

// errTurnOver ends the run of a job that makes way for others.
var errTurnOver = errors.New("its turn is over")

// task is a job that waits or runs.
type task struct {
	Job

	copies *Copies
	lane   *lane
	turns  int  // that it has had
	runs   bool // guarded by Copies.mu
	ofLong bool // it runs in the place of a long one; guarded by Copies.mu

	seen atomic.Pointer[seen] // nil until it has begun to copy
}

// seen is what a run shows of its progress.
type seen struct {
	total    share.Usage
	progress share.CopyProgress
}

// work runs the job until it ends or its turn is over.
func (t *task) work(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "copy", t.Name, "share", t.To.Name()))
	running := t.copies.metrics.running.WithLabelValues(t.To.Name())
	running.Inc()
	defer running.Dec()
	err := access.Safely(ctx, panicked, func() error { return t.run(ctx) })
	t.turns++
	if err != nil && ctx.Err() == nil && !errors.Is(err, errTurnOver) {
		klog.FromContext(ctx).Info("The copy has failed", "because", err.Error())
	}
	t.copies.over(ctx, t, err)
}

// run makes the copy and hands it over.
func (t *task) run(ctx context.Context) error {
	if err := t.Wanted(ctx); err != nil {
		return err
	}
	copying, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	unwatch := func() { stop(nil); <-watched }
	defer unwatch() // also after a panic
	go func() {
		defer close(watched)
		stop(access.Safely(ctx, panicked, func() error { return t.watch(copying) }))
	}()
	result, err := t.copy(copying)
	if err == nil {
		err = t.check(copying)
	}
	ended := context.Cause(copying)
	unwatch()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ended != nil && (err != nil || !errors.Is(ended, errTurnOver)): // its turn is over, or nobody wants it any more
		return ended
	case err != nil:
		return err
	}
	t.count(result)
	return t.Complete(ctx, result)
}

// copy measures the source, asks whether the copy may begin, and makes it.
func (t *task) copy(ctx context.Context) (share.Copied, error) {
	total, err := t.measure(ctx)
	if err != nil {
		return share.Copied{}, err
	}
	// Not within an operation on the share: what Begin waits for makes no calls to it, and would look like a share that
	// does not answer.
	if err := t.Begin(ctx, total); err != nil {
		return share.Copied{}, err
	}
	var result share.Copied // for success alone: what was given up may still write to it
	now := &seen{total: total}
	t.seen.Store(now)
	name := "copy to " + t.Name
	err = t.From.Background(ctx, name, func(_ context.Context, source ledger.Store) error {
		from, err := t.Find(ctx, source)
		if err != nil {
			return err
		}
		if t.From == t.To {
			result, err = source.Dirs.Copy(ctx, t.lane.copier, from, t.Name, &now.progress)
			return err
		}
		from.Share = source.Dirs
		// The copy reads through source, which is released when this returns: it must have ended by then, also if ctx is done.
		return t.To.Background(context.WithoutCancel(ctx), name, func(_ context.Context, target ledger.Store) (err error) {
			result, err = target.Dirs.Copy(ctx, t.lane.copier, from, t.Name, &now.progress)
			return err
		})
	})
	if err != nil {
		return share.Copied{}, err
	}
	return result, nil
}

func (t *task) measure(ctx context.Context) (share.Usage, error) {
	var total share.Usage // as result in copy
	err := t.From.Background(ctx, "measure the source of "+t.Name, func(_ context.Context, source ledger.Store) error {
		from, err := t.Find(ctx, source)
		if err != nil {
			return err
		}
		if total, err = source.Dirs.Measure(ctx, t.lane.meter, from.Path, from.Identity); err != nil {
			err = fmt.Errorf("measure what is to be copied: %w", err)
		}
		return err
	})
	if err != nil {
		return share.Usage{}, err
	}
	return total, nil
}

// check looks at the source again: one that was released meanwhile may have lost files that are missing in the copy.
func (t *task) check(ctx context.Context) error {
	return t.From.Background(ctx, "look at the source of "+t.Name, func(_ context.Context, source ledger.Store) error {
		_, err := t.Find(ctx, source)
		return err
	})
}

// watch returns when ctx ends, and with an error when nobody wants the copy any more, its turn is over, or the source is on another
// share that cannot be worked on: that must not keep a place of this share. It tells the progress.
func (t *task) watch(ctx context.Context) error {
	tick := time.NewTicker(min(wantedEvery, t.copies.first))
	defer tick.Stop()
	began, tell := time.Now(), t.copies.first
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := t.Wanted(ctx); err != nil {
			return err
		}
		if err := t.From.Ready(); err != nil && t.From != t.To {
			return err
		}
		ran := time.Since(began)
		if ran >= t.copies.turn<<min(t.turns, mostDoubled) && t.copies.othersWait(t) {
			return errTurnOver
		}
		if ran >= tell {
			tell = ran + progressEvery
			t.Progress(t.text())
		}
	}
}

// text says how far the copy is.
func (t *task) text() string {
	now := t.seen.Load()
	if now == nil {
		return "measuring what is to be copied"
	}
	bytes, all := now.progress.Bytes.Load(), now.total.Bytes
	text := fmt.Sprintf("copied %s of %s (%d %%), %d files", class.FormatSize(float64(bytes)), class.FormatSize(float64(all)), percent(bytes, all), now.progress.Files.Load())
	if now.total.Files > 0 { // a server that enforces a size does not count them
		text += fmt.Sprintf(" of %d", now.total.Files)
	}
	if t.turns > 0 {
		text += "; it makes way for other copies in between"
	}
	return text
}

// percent returns how much part is of all, at most 99: what is not whole is not all.
func percent(part, all int64) int64 {
	if all <= 0 {
		return 0
	}
	return min(99, int64(float64(part)/float64(all)*100))
}

func (t *task) count(result share.Copied) {
	m := t.copies.metrics
	for method, bytes := range map[string]int64{"clone": result.Cloned, "server": result.Server, "read": result.Read} {
		m.bytes.WithLabelValues(t.To.Name(), method).Add(float64(bytes))
	}
	m.files.WithLabelValues(t.To.Name()).Add(float64(result.Files))
	m.changed.WithLabelValues(t.To.Name()).Add(float64(result.Changed))
}

// SharesBlocks tries whether copies on a share take no room, because the server shares the blocks. own is the caller's own name: see
// share.SharesBlocks.
func SharesBlocks(ctx context.Context, on *access.Keeper, own string) (shares bool, err error) {
	err = on.Background(ctx, "try to share blocks", func(_ context.Context, store ledger.Store) (err error) {
		shares, err = store.Dirs.SharesBlocks(own)
		return err
	})
	return shares, err
}
