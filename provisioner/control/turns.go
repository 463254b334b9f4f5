package control

import (
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"claimdir/provisioner/fair"
)

// turns makes the namespaces take turns at the workers of one queue of the library, which is first
// come, first served: one namespace with thousands of claims would keep all others waiting.
//
// The library has one worker more than there are turns, so one is always free to look at what comes.
// A worker asks with take before it begins. If the key has no turn, the worker ends its round without
// work, and turns queues the key again when the turn comes. So the library's queue never holds more
// than a moment's work. The library ends each round of a key with one call to its rate limiter: see
// turnLimiter.
type turns struct {
	most  int                   // turns at once
	queue func(key string) bool // queues a key again; false if its object is gone

	mu      sync.Mutex
	known   map[string]*turn
	taken   int                // turns at present
	waiting fair.Queue[string] // keys
}

// turn is a key that has a turn or waits for one.
type turn struct {
	has  bool
	left bool // the present round ends without work
}

func newTurns(most int, queue func(key string) bool) *turns {
	return &turns{most: most, queue: queue, known: map[string]*turn{}}
}

// take reports whether the worker may begin with key, which belongs to namespace.
func (t *turns) take(namespace, key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[key]
	if known == nil {
		known = &turn{has: t.taken < t.most}
		t.known[key] = known
		if known.has {
			t.taken++
		} else {
			t.waiting.Push(namespace, key)
		}
	}
	known.left = !known.has
	return known.has
}

// ended ends the library's present round of key. It reports whether that round ended without work,
// because key has to wait for its turn.
func (t *turns) ended(key string) (waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[key]
	switch {
	case known == nil:
		return false
	case known.left:
		known.left = false
		return true
	case known.has:
		t.taken--
	}
	delete(t.known, key)
	t.next()
	return false
}

// count is how many keys wait.
func (t *turns) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting.Len()
}

// next gives turns to the keys that come next, a namespace after the other. It must be called with
// mu held.
func (t *turns) next() {
	for t.taken < t.most && t.waiting.Len() > 0 {
		key := t.waiting.Pop()
		known := t.known[key]
		if known == nil || known.has { // it ended meanwhile, or was in the list twice
			continue
		}
		if !t.queue(key) {
			delete(t.known, key)
			continue
		}
		known.has = true
		t.taken++
	}
}

// namespaceOf is the namespace for whose claim the volume was.
func namespaceOf(pv *v1.PersistentVolume) string {
	if pv.Spec.ClaimRef == nil {
		return ""
	}
	return pv.Spec.ClaimRef.Namespace
}

// turnLimiter is the rate limiter of the queues of claims and volumes. The library calls Forget once
// after each round that succeeded or did nothing, and When once after each one that failed. A round
// that only found that the key has to wait changes nothing about the delay of its next retry.
type turnLimiter struct {
	workqueue.TypedRateLimiter[any]
	claims, volumes *turns
}

func (l turnLimiter) When(item any) time.Duration {
	l.ended(item)
	return l.TypedRateLimiter.When(item)
}

func (l turnLimiter) Forget(item any) {
	if !l.ended(item) {
		l.TypedRateLimiter.Forget(item)
	}
}

func (l turnLimiter) ended(item any) (waits bool) {
	key, ok := item.(string)
	return ok && (l.claims.ended(key) || l.volumes.ended(key))
}
