package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// lookEvery is the pause between two looks; looks of a share that is starting
// come faster.
const (
	lookEvery = 5 * time.Second
	lookSoon  = 200 * time.Millisecond
)

// Run looks at the share until ctx ends. It leaves at most one look behind that
// gets no answer.
func (k *Keeper) Run(ctx context.Context) {
	pause := func() time.Duration {
		if k.starting() {
			return min(lookSoon, k.every)
		}
		return k.every
	}
	_ = wait.DelayFunc(pause).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		k.lookOnce(ctx)
		return false, nil
	})
}

func (k *Keeper) starting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.trouble != nil && k.trouble.Kind == Starting
}

// lookOnce returns when the look has, or with the end of ctx.
func (k *Keeper) lookOnce(ctx context.Context) {
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- k.look() }()
	late := time.NewTimer(k.config.Timeout)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			k.set(ctx, k.newTrouble(Stalled, began, errors.New("no answer")))
		case err := <-done:
			k.saw(ctx, err)
			return
		}
	}
}

// saw draws the conclusion from a look that returned.
func (k *Keeper) saw(ctx context.Context, err error) {
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
		// It answers the look, and nothing else.
		k.set(ctx, k.newTrouble(Stalled, now, errors.New("no answer")))
	default:
		k.set(ctx, nil)
	}
}

// wrongPlace is the trouble of what is not the share.
func (k *Keeper) wrongPlace(err error) *Trouble {
	k.mu.Lock()
	known := k.share != nil
	k.mu.Unlock()
	if known {
		err = fmt.Errorf("%w; mount it again, or restart claimdir if this is what it is to serve now", err)
	}
	return k.newTrouble(WrongPlace, time.Now(), err)
}

// startingError is why a share was not recognised yet although nothing is wrong.
type startingError struct{ error }

// look is a call that the server has to answer.
func (k *Keeper) look() error {
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

// open recognises the share, and prepares one that is used for the first time.
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

// checkFirstUse tells a share that is used for the first time from a place where
// it should be mounted and is not: where the cluster has volumes on the share,
// one of them must be there.
func (k *Keeper) checkFirstUse(s *share.Share) error {
	_, err := ledger.OpenReadOnly(s)
	if !errors.Is(err, ledger.ErrNoRecords) {
		return nil //nolint:nilerr // it was used before; what is wrong with it ledger.Open says
	}
	paths, told := k.config.Known()
	if !told {
		return &startingError{errors.New("the volumes of the cluster are not known yet")}
	}
	for _, path := range paths {
		// In the way of a volume may be a file or a link: that is not nothing.
		if present, err := s.Exists(path); present || err != nil && !errors.Is(err, share.ErrNotRecognised) {
			return nil //nolint:nilerr // see above; an error of the share itself comes again in ledger.Open
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return fmt.Errorf("%w: the cluster has %d volumes on it, and %s has neither .claimdir/share.json nor the directory of any of them, such as %q. "+
		"Mount the share there; if it is the right one and lost its data, make that directory and it is served",
		share.ErrNotRecognised, len(paths), k.config.Mount.Dir, paths[0])
}
