package fair

import (
	"time"

	"k8s.io/client-go/util/workqueue"
)

// NewWorkqueue returns a queue of items for workers. The namespaces take turns, and an item that failed waits for first, and twice as
// long each time, up to most.
func NewWorkqueue[T comparable](namespaceOf func(T) string, first, most time.Duration) workqueue.TypedRateLimitingInterface[T] {
	queue := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[T]{Queue: &turns[T]{namespaceOf: namespaceOf}})
	return workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.NewTypedItemExponentialFailureRateLimiter[T](first, most),
		workqueue.TypedRateLimitingQueueConfig[T]{
			DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[T]{Queue: queue}),
		})
}

// turns is the order of such a queue. It implements workqueue.Queue.
type turns[T any] struct {
	Queue[T]

	namespaceOf func(T) string
}

// Touch implements workqueue.Queue: what waits keeps its place.
func (*turns[T]) Touch(T) {}

// Push implements workqueue.Queue.
func (t *turns[T]) Push(item T) { t.Queue.Push(t.namespaceOf(item), item) }
