package trash

import (
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"claimdir/provisioner/share"
)

// queue holds the directories of one trash until they are removed: those that the last
// listing found, and nothing else. Workers take names from it with Get and end each
// with Done.
//
// The methods of the embedded queue must not be called with mu held: it asks order,
// which takes mu.
type queue struct {
	workqueue.TypedDelayingInterface[string]

	limiter workqueue.TypedRateLimiter[string]
	metrics *metrics

	mu          sync.Mutex
	directories map[string]*directory
	failing     map[string]int  // directories by reason
	removed     map[string]bool // since the listing under way began: it may still show them
}

// directory is what the queue knows of one directory.
type directory struct {
	tried  bool   // it waits behind those that were not tried yet
	reason string // why the last try failed; empty if none did
}

// newQueue makes an empty queue. A directory that fails waits first, then twice as
// long each time, up to retryMost.
func newQueue(logger klog.Logger, first time.Duration, m *metrics) *queue {
	q := &queue{
		limiter:     workqueue.NewTypedItemExponentialFailureRateLimiter[string](first, retryMost),
		metrics:     m,
		directories: map[string]*directory{},
		failing:     map[string]int{},
		removed:     map[string]bool{},
	}
	q.TypedDelayingInterface = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[string]{
		Logger: &logger,
		Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{
			Queue: &order{tried: q.tried, first: workqueue.DefaultQueue[string](), later: workqueue.DefaultQueue[string]()},
		}),
	})
	q.show()
	return q
}

// beginListing must come before each listing of the trash.
func (q *queue) beginListing() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed = map[string]bool{}
}

// listed takes a listing, sorted by name: what is new in it is queued, and what is
// not in it any more is forgotten.
func (q *queue) listed(names []string) {
	for _, name := range q.exchange(names) {
		q.Add(name)
	}
}

// exchange returns the names that are new.
func (q *queue) exchange(names []string) (added []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name := range q.directories {
		if !has(names, name) { // somebody else removed it
			q.forget(name)
		}
	}
	for _, name := range names {
		if q.directories[name] == nil && !q.removed[name] {
			q.directories[name] = &directory{}
			added = append(added, name)
		}
	}
	q.show()
	return added
}

// has reports whether a listing, which is sorted and may be long, has the name.
func has(listing []string, name string) bool {
	_, found := slices.BinarySearch(listing, name)
	return found
}

// begin begins a try of a directory that Get returned, or reports false if the
// directory is gone.
func (q *queue) begin(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.directories[name]
	if d == nil {
		q.limiter.Forget(name)
		return false
	}
	d.tried = true
	return true
}

// tried reports whether a listed directory was tried before.
func (q *queue) tried(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.directories[name]
	return d != nil && d.tried
}

// done ends the last try of a directory: it was removed.
func (q *queue) done(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed[name] = true
	q.forget(name)
	q.show()
}

// retry queues a directory again after a try that failed, and says after what time.
func (q *queue) retry(name, reason string) time.Duration {
	pause := q.limiter.When(name)
	q.AddAfter(name, pause)
	q.metrics.failures.WithLabelValues(reason).Inc()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setReason(name, reason)
	q.show()
	return pause
}

// forget must be called with mu held.
func (q *queue) forget(name string) {
	q.setReason(name, "")
	delete(q.directories, name)
	q.limiter.Forget(name)
}

// setReason must be called with mu held.
func (q *queue) setReason(name, reason string) {
	d := q.directories[name]
	if d == nil {
		return
	}
	if d.reason != "" {
		q.failing[d.reason]--
	}
	if reason != "" {
		q.failing[reason]++
	}
	d.reason = reason
}

// show exchanges what the gauges show. It must be called with mu held.
func (q *queue) show() {
	q.metrics.waiting.Set(float64(len(q.directories)))
	for _, reason := range share.RemovalReasons() {
		q.metrics.failing.WithLabelValues(reason).Set(float64(q.failing[reason]))
	}
}

// order decides which directory is next: first those that were never tried, then the
// others, each in the order in which they came. The work queue calls it with a lock of
// its own held.
type order struct {
	tried        func(name string) bool
	first, later workqueue.Queue[string]
}

// Push adds a name.
func (o *order) Push(name string) {
	if o.tried(name) {
		o.later.Push(name)
		return
	}
	o.first.Push(name)
}

// Pop takes the next name away.
func (o *order) Pop() string {
	if o.first.Len() > 0 {
		return o.first.Pop()
	}
	return o.later.Pop()
}

// Len returns how many names there are.
func (o *order) Len() int { return o.first.Len() + o.later.Len() }

// Touch does nothing: a name that is added again keeps its place.
func (o *order) Touch(string) {}
