package trash

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"claimdir/provisioner/share"
)

// queue holds the directories that the last listing of one trash found, until they are
// removed. Workers take names with Get, and call Done for each.
//
// The methods of the embedded queue must not be called with mu held, because it calls order,
// which locks mu.
type queue struct {
	workqueue.TypedDelayingInterface[string]

	limiter workqueue.TypedRateLimiter[string]
	metrics *metrics

	mu          sync.Mutex
	looked      bool // a listing was taken
	directories map[string]*directory
	failing     map[string]int  // directories by reason
	removed     map[string]bool // removed since the current listing began, which may still contain them
}

// directory is what the queue knows of one directory.
type directory struct {
	since  time.Time // when it came into the trash; see ledger.TrashedAt
	tried  bool      // it comes after all that were not tried yet
	reason string    // why the last try failed; empty if it did not
}

// newQueue makes an empty queue. A directory that fails waits for first, and then twice as
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

// beginListing must be called before each listing of the trash.
func (q *queue) beginListing() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed = map[string]bool{}
}

// unknown returns those of the names that are of no known directory.
func (q *queue) unknown(names []string) (unknown []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range names {
		if q.directories[name] == nil {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// listed takes a listing, sorted by name, and when the unknown directories came into the trash. It queues these, and
// drops those that are no longer listed.
func (q *queue) listed(names []string, since map[string]time.Time) {
	for _, name := range q.exchange(names, since) {
		q.Add(name)
	}
}

// exchange makes names the known directories, and returns those that are new.
func (q *queue) exchange(names []string, since map[string]time.Time) (added []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looked = true
	for name := range q.directories {
		if !has(names, name) { // somebody else removed it
			q.forget(name)
		}
	}
	for _, name := range names {
		if q.directories[name] == nil && !q.removed[name] {
			q.directories[name] = &directory{since: since[name]}
			added = append(added, name)
		}
	}
	q.show()
	return added
}

// has reports whether a sorted listing contains the name.
func has(listing []string, name string) bool {
	_, found := slices.BinarySearch(listing, name)
	return found
}

// counts returns how many directories there are and, by reason, how many fail; looked is false before the first
// listing.
func (q *queue) counts() (directories int, failing map[string]int, looked bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	failing = maps.Clone(q.failing)
	maps.DeleteFunc(failing, func(_ string, n int) bool { return n == 0 })
	return len(q.directories), failing, q.looked
}

// oldest returns when the directory came into the trash that came first, or false if there is none.
func (q *queue) oldest() (since time.Time, found bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.directories {
		if !d.since.IsZero() && (!found || d.since.Before(since)) {
			since, found = d.since, true
		}
	}
	return since, found
}

// begin marks a directory that Get returned as tried. It returns false if the directory is
// gone.
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

// done drops a directory that was removed.
func (q *queue) done(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed[name] = true
	q.forget(name)
	q.show()
}

// retry queues a directory again after a failed try, and returns the wait.
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

// show sets the gauges. It must be called with mu held.
func (q *queue) show() {
	q.metrics.waiting.Set(float64(len(q.directories)))
	for _, reason := range share.RemovalReasons() {
		q.metrics.failing.WithLabelValues(reason).Set(float64(q.failing[reason]))
	}
}

// order decides which directory is next: first those that were never tried, then the
// others, each in the order of arrival. The work queue calls it with its own lock held.
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

// Pop removes and returns the next name.
func (o *order) Pop() string {
	if o.first.Len() > 0 {
		return o.first.Pop()
	}
	return o.later.Pop()
}

// Len returns the number of names.
func (o *order) Len() int { return o.first.Len() + o.later.Len() }

// Touch does nothing: a name that is added again keeps its place.
func (o *order) Touch(string) {}
