package provisioner

import (
	"context"
	"errors"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// operation is what is done for one volume on one share. Its methods are the
// steps that touch the share.
type operation struct {
	*Shares

	source share.Source
	dirs   Directories
	ledger Records
	// undo works on when the share did not answer in time and the operation was
	// given up; dirs and ledger then only say so.
	undo Files

	site    string          // its ID
	givenUp <-chan struct{} // closed when the operation is; nil if it cannot be
}

// work is what one operation does. takeBack, if it is not nil, is called if work
// succeeded and nobody waited for it any more.
type work func(ctx context.Context, op operation) (takeBack func(), err error)

// on runs work on a path of a share, alone. If the share does not answer, it
// returns before the work has ended: the path stays locked until then, and what
// was made is taken back.
func (s *Shares) on(ctx context.Context, site Site, path volpath.Path, name string, work work) error {
	err := site.Do(ctx, name, func(ctx context.Context, do, undo Files) (func(late bool), error) {
		unlock, err := s.lock(site.ID(), path)
		if err != nil {
			return nil, err
		}
		returned := false
		defer func() {
			if !returned { // a panic
				unlock()
			}
		}()
		takeBack, err := work(ctx, operation{s, site.Source(), do.Dirs, do.Records, undo, site.ID(), ctx.Done()})
		returned = true
		return func(late bool) {
			defer unlock()
			if late && err == nil && takeBack != nil {
				takeBack()
			}
		}, err
	})
	return storageError(err)
}

// lockKey is a path on a share, however that is mounted.
type lockKey struct {
	share string
	path  volpath.Path
}

// lock keeps two operations of this process off one path; the lease keeps
// other replicas off. It does not wait: on a share that hangs, waiting would
// only use up workers.
func (s *Shares) lock(site string, path volpath.Path) (unlock func(), err error) {
	key := lockKey{site, path}
	if _, taken := s.busy.LoadOrStore(key, true); taken {
		return nil, refusal.Postpone(refusal.ReasonBusy, "another operation on path %q is under way; will be tried again", path)
	}
	return func() { s.busy.Delete(key) }, nil
}

// storageError gives errors of the ledger and the share their reason; they are
// tried again, for paths become free and shares come back.
func storageError(err error) error {
	var taken *ledger.TakenError
	var already *refusal.Refusal
	var trouble *keeper.Trouble
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case errors.As(err, &taken):
		return refusal.Postpone(refusal.ReasonTaken, "%w", err)
	case errors.Is(err, ledger.ErrDamaged):
		return refusal.Postpone(refusal.ReasonRecord, "%w", err)
	case errors.As(err, &trouble):
		return refusal.Await(reasonOf(trouble.Kind), trouble)
	}
	if advice := share.Advice(err); advice != "" {
		return refusal.Postpone(refusal.ReasonStorage, "%w: %s; this is tried again by itself", err, advice)
	}
	return refusal.Postpone(refusal.ReasonStorage, "%w", err)
}

func reasonOf(kind keeper.Kind) string {
	switch kind {
	case keeper.Stalled:
		return refusal.ReasonStalled
	case keeper.WrongPlace:
		return refusal.ReasonShare
	default:
		return refusal.ReasonStorage
	}
}

// undoing is the operation as it takes back what it made, also after it was
// given up.
func (op operation) undoing() operation {
	op.dirs, op.ledger, op.givenUp = op.undo.Dirs, op.undo.Records, nil
	return op
}

// onceReady is on for what no queue repeats: a share that does not answer is
// waited for. Where another operation on the path is under way, nothing is done:
// that one does the same.
func onceReady[T any](ctx context.Context, p *Provisioner, path volpath.Path, name string, work func(context.Context, operation) (T, error)) (T, error) {
	var none T
	for {
		if err := p.site.WaitReady(ctx); err != nil {
			return none, err
		}
		var result T // of this try: one that was given up may still be under way
		err := p.on(ctx, p.site, path, name, func(ctx context.Context, op operation) (takeBack func(), err error) {
			result, err = work(ctx, op)
			return nil, err
		})
		if err == nil {
			return result, nil
		}
		refused, ok := errors.AsType[*refusal.Refusal](err)
		switch {
		case ok && refused.Reason() == refusal.ReasonBusy:
			return none, nil
		case !ok || !refused.Waits():
			return none, err
		}
	}
}
