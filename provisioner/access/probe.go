package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// probeEvery is the pause between two probes, probeSoon the shorter one while the share is
// starting.
const (
	probeEvery = 5 * time.Second
	probeSoon  = 200 * time.Millisecond
)

// Run probes the share until ctx is done. It leaves at most one hung probe behind.
func (k *Keeper) Run(ctx context.Context) {
	pause := func() time.Duration {
		if k.starting() {
			return min(probeSoon, k.every)
		}
		return k.every
	}
	_ = wait.DelayFunc(pause).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		k.probeOnce(ctx)
		return false, nil
	})
}

func (k *Keeper) starting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.trouble != nil && k.trouble.Kind == Starting
}

// probeOnce probes the share once. It blocks until the probe returns or ctx is done; after the
// timeout it reports the share as stalled and goes on waiting.
func (k *Keeper) probeOnce(ctx context.Context) {
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- k.probe() }()
	late := time.NewTimer(k.config.Timeout)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			k.set(ctx, k.newTrouble(Stalled, began, errors.New("no answer")))
		case err := <-done:
			k.judgeProbe(ctx, err)
			return
		}
	}
}

// judgeProbe sets the trouble that follows from the result of a probe.
func (k *Keeper) judgeProbe(ctx context.Context, err error) {
	now := time.Now()
	var starting *startingError
	switch {
	case errors.As(err, &starting):
		k.set(ctx, k.newTrouble(Starting, now, starting))
	case errors.Is(err, share.ErrNotRecognised):
		k.set(ctx, k.wrongPlace(err))
	case err != nil:
		k.set(ctx, k.newTrouble(Failing, now, err))
	case len(k.slots) == cap(k.slots) && k.Stuck() == cap(k.slots):
		// The server answers the probe, but no operation.
		k.set(ctx, k.newTrouble(Stalled, now, errors.New("no answer")))
	default:
		k.set(ctx, nil)
	}
}

// wrongPlace returns the trouble of a mount that is not the expected share.
func (k *Keeper) wrongPlace(err error) *Trouble {
	k.mu.Lock()
	known := k.share != nil
	k.mu.Unlock()
	if known {
		err = fmt.Errorf("%w; mount the expected share again, or restart claimdir to serve the one that is mounted now", err)
	}
	return k.newTrouble(WrongPlace, time.Now(), err)
}

// startingError says what a share that is not recognised yet waits for. It is not a failure.
type startingError struct{ error }

// probe makes a call that only the server can answer, no cache.
func (k *Keeper) probe() error {
	if k.config.Mounted != nil {
		if err := k.config.Mounted(); err != nil {
			return fmt.Errorf("%w: %w", share.ErrNotRecognised, err)
		}
	}
	k.mu.Lock()
	known := k.share
	k.mu.Unlock()
	if known == nil {
		return k.open()
	}
	room, err := known.Room()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setRoom(room)
	return nil
}

// open recognises the share. It prepares a share that is used for the first time.
func (k *Keeper) open() error {
	s, err := share.Open(k.config.Mount.Dir)
	if err != nil {
		return err
	}
	if err := k.checkFirstUse(s); err != nil {
		return err
	}
	l, err := ledger.Open(s, k.config.NewID)
	if err != nil {
		return err
	}
	room, err := s.Room()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.share, k.ledger = s, l
	k.setRoom(room)
	return nil
}

// checkFirstUse returns an error if the directory looks like a missing mount rather than a share
// that is used for the first time. If the cluster has volumes on the share, at least one of their
// directories must exist.
func (k *Keeper) checkFirstUse(s *share.Share) error {
	_, err := ledger.OpenReadOnly(s)
	if !errors.Is(err, ledger.ErrNoRecords) {
		return nil // the share was used before; ledger.Open reports any other error
	}
	paths, known := k.config.Known()
	if !known {
		return &startingError{errors.New("waiting for the list of the cluster's PersistentVolumes")}
	}
	for _, path := range paths {
		// A file or link at the path of a volume is an error of Exists, but also shows that the share has data.
		if present, err := s.Exists(path); present || err != nil && !errors.Is(err, share.ErrNotRecognised) {
			return nil // ledger.Open reports an error of the share itself
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return &lostError{paths[0], fmt.Errorf("%w: the cluster has volumes on it (%d), but %s contains neither .claimdir/share.json nor the directory of any of them. "+
		"Mount the share there; if this is the right share and it has lost its data, create one of these directories to have it served: claimdir's log names one",
		share.ErrNotRecognised, len(paths), k.config.Mount.Dir)}
}

// lostError is the error for a share without the directory of any volume. Its text is for
// everybody, and so names no volume; the log does.
type lostError struct {
	example volpath.Path
	error
}

func (e *lostError) Unwrap() error { return e.error }
