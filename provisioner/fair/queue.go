// Package fair has a queue in which namespaces take turns, so that one with thousands of items keeps no
// other waiting.
package fair

// Queue holds items of namespaces. Its zero value is empty. Its caller holds a lock.
type Queue[T any] struct {
	waiting map[string][]T // by namespace, the first one first
	order   []string       // namespaces with waiting items, the next one first
	count   int
}

// Push adds an item behind those of its namespace.
func (q *Queue[T]) Push(namespace string, item T) {
	if q.waiting == nil {
		q.waiting = map[string][]T{}
	}
	if len(q.waiting[namespace]) == 0 {
		q.order = append(q.order, namespace)
	}
	q.waiting[namespace] = append(q.waiting[namespace], item)
	q.count++
}

// Pop removes and returns the first item of the namespace whose turn it is. The queue must not be empty.
func (q *Queue[T]) Pop() T {
	namespace := q.order[0]
	item, rest := q.waiting[namespace][0], q.waiting[namespace][1:]
	q.order = q.order[1:]
	q.count--
	if len(rest) == 0 {
		delete(q.waiting, namespace)
		return item
	}
	q.waiting[namespace] = rest
	q.order = append(q.order, namespace)
	return item
}

// Len is how many items wait.
func (q *Queue[T]) Len() int { return q.count }

// LenOf is how many items of a namespace wait.
func (q *Queue[T]) LenOf(namespace string) int { return len(q.waiting[namespace]) }
