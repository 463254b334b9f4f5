package steps

import (
	"context"
	"sync"
	"time"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
)

// lockWait is how long an operation waits for its path. Most operations end within
// milliseconds. Waiting longer would use up workers.
const lockWait = time.Second

// lockKey is a path on a share, however that is mounted.
type lockKey struct {
	share string
	path  volpath.Path
}

// locks keep two operations of this process off one path.
type locks struct {
	mu sync.Mutex
	// held has the paths of running operations. The channel is closed when that operation
	// is given up, because the share does not answer.
	held map[lockKey]<-chan struct{}
	// tidied counts the operations that remove an empty parent. An operation on the parent's
	// path would take a directory as its volume's that is about to go.
	tidied map[lockKey]int
	// freed, if not nil, is closed when a path becomes free.
	freed chan struct{}
}

// lock takes a path for an operation, which is given up when ctx is done. It waits for
// lockWait at most, and not for an operation that was given up.
func (l *locks) lock(ctx context.Context, key lockKey) (unlock func(), err error) {
	late := time.NewTimer(lockWait)
	defer late.Stop()
	for {
		freed, givenUp := l.try(ctx, key)
		if freed == nil {
			return func() { l.change(func() { delete(l.held, key) }) }, nil
		}
		select {
		case <-freed:
			continue
		case <-givenUp:
		case <-late.C:
		case <-ctx.Done():
		}
		return nil, refusal.Postpone(refusal.ReasonBusy, "another operation on path %q is under way; this is retried automatically", key.path)
	}
}

// try takes the path, or returns what to wait for.
func (l *locks) try(ctx context.Context, key lockKey) (freed, givenUp <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	givenUp, held := l.held[key]
	if !held && l.tidied[key] == 0 {
		if l.held == nil {
			l.held = map[lockKey]<-chan struct{}{}
		}
		l.held[key] = ctx.Done()
		return nil, nil
	}
	if l.freed == nil {
		l.freed = make(chan struct{})
	}
	return l.freed, givenUp
}

// tidy keeps operations off the path of a parent until unlock is called. free says that none
// is running there.
func (l *locks) tidy(key lockKey) (unlock func(), free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tidied == nil {
		l.tidied = map[lockKey]int{}
	}
	l.tidied[key]++
	_, held := l.held[key]
	return func() {
		l.change(func() {
			if l.tidied[key]--; l.tidied[key] == 0 {
				delete(l.tidied, key)
			}
		})
	}, !held
}

// change runs free and wakes those that wait for a path.
func (l *locks) change(free func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	free()
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}
