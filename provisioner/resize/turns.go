package resize

import (
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/fair"
)

// turns is the order of a queue of claims, in which the namespaces take turns. It implements
// workqueue.Queue.
type turns struct{ fair.Queue[cache.ObjectName] }

// Touch implements workqueue.Queue: a claim that waits keeps its place.
func (*turns) Touch(cache.ObjectName) {}

// Push implements workqueue.Queue.
func (t *turns) Push(claim cache.ObjectName) { t.Queue.Push(claim.Namespace, claim) }
