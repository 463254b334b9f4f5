package access

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// Work is an operation on a share. After the operation is given up, all calls through its store
// fail. Do may run it a second time.
type Work func(ctx context.Context, store ledger.Store) error

// errGivenUp is the error of every call that an operation makes after it was given up.
var errGivenUp = errors.New("given up: the share did not answer in time")

// Do runs the operation and returns its error. It returns a *Trouble at once if the share is not
// ready, and as soon as a call times out; the operation then ends in the background when that call
// returns. Do runs an operation a second time if its file handles were stale.
func (k *Keeper) Do(ctx context.Context, name string, work Work) error {
	op, err := k.start(ctx, name, work)
	if err != nil {
		return err
	}
	return op.wait(ctx)
}

// Background is Do for loops: it blocks until the operation has really ended, even after a
// time-out, so that a loop never has two hung calls. The caller may read the operation's results
// once Background returns, unless ctx is done.
func (k *Keeper) Background(ctx context.Context, name string, work Work) error {
	op, err := k.start(ctx, name, work)
	if err != nil {
		return err
	}
	err = op.wait(ctx)
	select {
	case <-op.over:
	case <-ctx.Done():
	}
	return err
}

// Periodic is a Keeper whose Do is Background, for loops.
type Periodic struct{ *Keeper }

// Do is Background.
func (p Periodic) Do(ctx context.Context, name string, work Work) error {
	return p.Background(ctx, name, work)
}

func (k *Keeper) start(ctx context.Context, name string, work Work) (*operation, error) {
	if err := k.enter(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	whole := ledger.Store{Dirs: k.share, Records: k.ledger}
	k.mu.Unlock()
	op := &operation{keeper: k, name: name, result: make(chan error, 1), left: make(chan struct{}), over: make(chan struct{})}
	// A stop of the process does not interrupt a running operation.
	giveUp, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	op.cancel = cancel
	op.began.Store(new(time.Now()))
	op.timer = time.AfterFunc(k.config.Timeout, op.giveUp)
	go op.run(giveUp, whole.On(whole.Dirs.During(giveUp, op.call)), work)
	return op, nil
}

func (o *operation) wait(ctx context.Context) error {
	select {
	case err := <-o.result:
		return o.keeper.judge(ctx, err)
	case <-o.left:
		return o.keeper.newTrouble(Stalled, *o.began.Load(), errGivenUp)
	}
}

// enter takes a slot, or returns why there is none. It waits for the first probe, so that a claim
// gets no event about a share that is only starting.
func (k *Keeper) enter(ctx context.Context) error {
	late := time.NewTimer(k.config.Timeout)
	defer late.Stop()
	for {
		k.mu.Lock()
		trouble, changed := k.trouble, k.changed
		k.mu.Unlock()
		slots := k.slots
		if trouble != nil {
			if trouble.Kind != Starting {
				return trouble
			}
			slots = nil
		}
		select {
		case slots <- struct{}{}:
			return nil
		case <-changed:
		case <-late.C:
			if trouble != nil {
				return trouble
			}
			late.Reset(k.config.Timeout) // wait on: a slot becomes free, or the next probe reports the share as stalled
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// judge returns the error of an operation. If the operation found another share mounted, judge
// makes that the share's trouble.
func (k *Keeper) judge(ctx context.Context, err error) error {
	if panicked, ok := errors.AsType[*panicError](err); ok {
		panic(panicked.value) // the caller recovers
	}
	if !errors.Is(err, share.ErrNotRecognised) {
		return err
	}
	t := k.wrongPlace(ofShare(err))
	k.set(ctx, t)
	return t
}

// ofShare removes from an error the steps and paths of the operation that found it. All claims on
// the share see the error, and the operation may be of another namespace.
func ofShare(err error) error {
	for {
		inner := errors.Unwrap(err)
		_, isStep := inner.(interface{ Unwrap() error })
		_, isReason := inner.(interface{ Unwrap() []error })
		if !isStep && !isReason || !errors.Is(inner, share.ErrNotRecognised) {
			return err
		}
		err = inner
	}
}

// States of an operation. Whoever changes running first, the operation or its timer, decides
// whether the result counts.
const (
	running int32 = iota
	ended
	givenUp
)

// operation is one call of Do.
type operation struct {
	keeper *Keeper
	name   string
	state  atomic.Int32
	began  atomic.Pointer[time.Time] // start of the current call
	timer  *time.Timer
	cancel context.CancelCauseFunc
	result chan error
	left   chan struct{} // closed when the operation is given up
	over   chan struct{} // closed when the operation has ended, even after it was given up
}

// call runs one call to the share and restarts the operation's timer for it.
func (o *operation) call(name string, call func() error) error {
	// A removal makes thousands of calls a second; restarting the timer for each of them would cost
	// too much.
	if now := time.Now(); o.state.Load() == running && now.Sub(*o.began.Load()) > o.keeper.config.Timeout/timings {
		o.began.Store(&now)
		o.timer.Reset(o.keeper.config.Timeout)
	}
	if o.keeper.config.Call == nil {
		return call()
	}
	return o.keeper.config.Call(name, call)
}

// timings is the precision of the timer: one call may take up to 1/timings longer than Timeout.
const timings = 100

func (o *operation) giveUp() {
	if !o.state.CompareAndSwap(running, givenUp) {
		return
	}
	o.keeper.mu.Lock()
	o.keeper.stuck++
	o.keeper.mu.Unlock()
	o.cancel(errGivenUp)
	close(o.left)
}

func (o *operation) run(ctx context.Context, store ledger.Store, work Work) {
	defer close(o.over)
	defer store.Dirs.Release()
	err := safely(ctx, store, work)
	if share.IsStale(err) && ctx.Err() == nil {
		store.Dirs.Release()
		err = safely(ctx, store, work)
	}
	o.timer.Stop()
	defer o.cancel(nil)
	if o.state.CompareAndSwap(running, ended) {
		<-o.keeper.slots
		o.result <- err
		return
	}
	klog.FromContext(ctx).Info("An operation that was given up has ended", "operation", o.name, "after", time.Since(*o.began.Load()).Round(time.Millisecond))
	o.keeper.mu.Lock()
	o.keeper.stuck--
	o.keeper.mu.Unlock()
	<-o.keeper.slots
	o.keeper.config.Changed()
}

// panicError carries a panic to the goroutine that waits for the operation.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }

func safely(ctx context.Context, store ledger.Store, work Work) (err error) {
	defer func() {
		if value := recover(); value != nil {
			klog.FromContext(ctx).Error(nil, "Panic in an operation on the share", "panic", value, "stack", string(debug.Stack()))
			err = &panicError{value}
		}
	}()
	return work(ctx, store)
}
