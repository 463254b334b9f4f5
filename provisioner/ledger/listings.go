package ledger

import (
	"errors"
	"sync"
)

// listings let operations that run at a time share a listing of all keys, which takes long on a
// share with many records. Each operation gets a listing that began after it asked for one.
type listings struct {
	mu      sync.Mutex
	running *listing // nil if there is none
	next    *listing // begins when the running one ends; nil if nobody has asked since that began
}

type listing struct {
	done chan struct{} // closed when keys and err are set
	keys []string
	err  error
}

// errNoListing is the error of a listing that its operation never ended.
var errNoListing = errors.New("the operation that listed the records has ended")

// share calls list, or returns what list returned to another operation. wait waits for a channel as
// long as the operation lasts.
func (l *listings) share(list func() ([]string, error), wait func(<-chan struct{}) error) ([]string, error) {
	before, mine, lists := l.join()
	if !lists {
		if err := wait(mine.done); err != nil {
			return nil, err
		}
		if mine.err == nil {
			return mine.keys, nil
		}
		return list() // the other operation may have failed for reasons of its own
	}
	mine.err = errNoListing
	defer l.end(mine)
	if before != nil {
		if err := wait(before.done); err != nil {
			return nil, err
		}
	}
	mine.keys, mine.err = list()
	return mine.keys, mine.err
}

// join returns the listing to wait for. If lists is true, the caller makes it, once the one before,
// if any, has ended.
func (l *listings) join() (before, mine *listing, lists bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		return nil, l.next, false
	}
	mine = &listing{done: make(chan struct{})}
	if l.running == nil {
		l.running = mine
		return nil, mine, true
	}
	l.next = mine
	return l.running, mine, true
}

// end lets the next listing begin.
func (l *listings) end(mine *listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch mine {
	case l.running:
		l.running, l.next = l.next, nil
	case l.next:
		l.next = nil
	}
	close(mine.done)
}
