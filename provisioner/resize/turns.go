package resize

import "k8s.io/client-go/tools/cache"

// turns is the order of a queue of claims in which the namespaces take turns, so that one with thousands
// of claims keeps no other waiting. It implements workqueue.Queue, whose caller holds a lock.
type turns struct {
	waiting map[string][]cache.ObjectName // by namespace, the first one first
	order   []string                      // namespaces with waiting claims, the next one first
	count   int
}

func newTurns() *turns { return &turns{waiting: map[string][]cache.ObjectName{}} }

// Touch implements workqueue.Queue: a claim that waits keeps its place.
func (*turns) Touch(cache.ObjectName) {}

// Push implements workqueue.Queue.
func (t *turns) Push(claim cache.ObjectName) {
	if len(t.waiting[claim.Namespace]) == 0 {
		t.order = append(t.order, claim.Namespace)
	}
	t.waiting[claim.Namespace] = append(t.waiting[claim.Namespace], claim)
	t.count++
}

// Len implements workqueue.Queue.
func (t *turns) Len() int { return t.count }

// Pop implements workqueue.Queue.
func (t *turns) Pop() cache.ObjectName {
	namespace := t.order[0]
	claim, rest := t.waiting[namespace][0], t.waiting[namespace][1:]
	t.order = t.order[1:]
	t.count--
	if len(rest) == 0 {
		delete(t.waiting, namespace)
		return claim
	}
	t.waiting[namespace] = rest
	t.order = append(t.order, namespace)
	return claim
}
