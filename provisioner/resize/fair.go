package resize

import "k8s.io/client-go/tools/cache"

// fair is the order of a queue of claims in which the namespaces take turns, so that one with thousands
// of claims keeps no other waiting. It implements workqueue.Queue, whose caller holds a lock.
type fair struct {
	waiting map[string][]cache.ObjectName // by namespace, the first one first
	order   []string                      // namespaces with waiting claims, the next one first
	count   int
}

func newFair() *fair { return &fair{waiting: map[string][]cache.ObjectName{}} }

// Touch implements workqueue.Queue: a claim that waits keeps its place.
func (*fair) Touch(cache.ObjectName) {}

// Push implements workqueue.Queue.
func (f *fair) Push(claim cache.ObjectName) {
	if len(f.waiting[claim.Namespace]) == 0 {
		f.order = append(f.order, claim.Namespace)
	}
	f.waiting[claim.Namespace] = append(f.waiting[claim.Namespace], claim)
	f.count++
}

// Len implements workqueue.Queue.
func (f *fair) Len() int { return f.count }

// Pop implements workqueue.Queue.
func (f *fair) Pop() cache.ObjectName {
	namespace := f.order[0]
	claim, rest := f.waiting[namespace][0], f.waiting[namespace][1:]
	f.order = f.order[1:]
	f.count--
	if len(rest) == 0 {
		delete(f.waiting, namespace)
		return claim
	}
	f.waiting[namespace] = rest
	f.order = append(f.order, namespace)
	return claim
}
