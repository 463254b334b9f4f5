package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// A namespace with 200 claims and volumes is served alternately with the namespaces that come later.
func TestNamespacesTakeTurns(t *testing.T) {
	w := newWorld(t, newClass("nfs"))
	goOn := make(chan struct{})
	work := func() error {
		<-goOn
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { return work() }
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { return work() }
	for i := range 200 {
		w.add(newClaim(fmt.Sprintf("many-%03d", i), "nfs"), releasedOf("many", i))
	}
	w.start()
	workers := w.config.Workers
	w.eventually("the first namespace has all workers", func() bool {
		return w.provisioner.provisions("") == workers && w.provisioner.deletions("") == workers
	})
	for _, namespace := range []string{"few", "one"} {
		claim := newClaim(namespace, "nfs")
		claim.Namespace = namespace
		w.add(claim, releasedOf(namespace, 0))
	}
	w.eventually("the others wait", func() bool { return w.waits("few", "one") })
	close(goOn)
	w.eventually("all is done", func() bool {
		return len(w.provisioner.successes()) == 202 && w.saved("many-000-volume") == nil && w.provisioner.deletions("") >= 202
	})
	w.provisioner.mu.Lock()
	defer w.provisioner.mu.Unlock()
	for _, done := range [][]string{w.provisioner.provisioned, w.provisioner.deleted} {
		for _, namespace := range []string{"few", "one"} {
			at := slices.IndexFunc(done, func(name string) bool { return strings.Contains(name, namespace) })
			if at > 3*workers {
				t.Errorf("%s came as number %d of %d", namespace, at, len(done))
			}
		}
	}
	if len(w.provisioner.provisioned) != 202 {
		t.Errorf("%d calls of Provision for 202 claims", len(w.provisioner.provisioned))
	}
}

func releasedOf(namespace string, i int) *v1.PersistentVolume {
	pv := newReleased(fmt.Sprintf("%s-%03d-volume", namespace, i))
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: namespace, Name: "data"}
	return pv
}

// waits reports whether claims and volumes of all these namespaces wait for their turns.
func (w *world) waits(namespaces ...string) bool {
	q := w.controller.queues[0].turns
	for _, t := range []*turns{q.claims, q.volumes} {
		t.mu.Lock()
		missing := slices.ContainsFunc(namespaces, func(n string) bool { return t.waiting.LenOf(n) == 0 })
		t.mu.Unlock()
		if missing {
			return false
		}
	}
	return true
}

// turnsOf returns turns that write down what they queue. Keys that begin with "gone" are gone.
func turnsOf(most int) (t *turns, queued *[]string) {
	queued = &[]string{}
	return newTurns(most, func(key string) bool {
		if strings.HasPrefix(key, "gone") {
			return false
		}
		*queued = append(*queued, key)
		return true
	}), queued
}

func TestATurnEndsWithItsRound(t *testing.T) {
	turns, queued := turnsOf(1)
	limiter := turnLimiter{retryLimiter(), turns, newTurns(1, nil)}
	for range 2 { // the library asks twice before it deletes a volume
		if !turns.take("a", "a1") {
			t.Fatal("the first one has no turn")
		}
	}
	for _, key := range []string{"a2", "a3", "gone", "b1"} {
		if turns.take(key[:1], key) {
			t.Errorf("%s has a turn too", key)
		}
		limiter.Forget(key) // the round that found that it has to wait
	}
	turns.take("a", "a3") // queued again, by a change of its object, and then
	limiter.Forget("a3")
	limiter.Forget("a3") // no more to be worked on
	for _, want := range []string{"a2", "b1"} {
		last := map[string]string{"a2": "a1", "b1": "a2"}[want]
		limiter.When(last)
		if got := (*queued)[len(*queued)-1]; got != want || !turns.take(want[:1], want) {
			t.Errorf("after %s the turn is that of %s, want %s", last, got, want)
		}
	}
	limiter.Forget("b1")
	if turns.taken != 0 || len(turns.known)+turns.waiting.Len() != 0 {
		t.Errorf("left: %+v", turns)
	}
}

// What has to wait before its retry does not lose the delay that it has reached.
func TestWaitingForATurnKeepsTheDelayOfRetries(t *testing.T) {
	turns, _ := turnsOf(1)
	limiter := turnLimiter{retryLimiter(), turns, newTurns(1, nil)}
	first := limiter.When("b1")
	turns.take("a", "a1")
	turns.take("b", "b1")
	limiter.Forget("b1")
	limiter.Forget("a1")
	turns.take("b", "b1")
	if second := limiter.When("b1"); second != 2*first {
		t.Errorf("the delay is %v after %v", second, first)
	}
	limiter.Forget("b1")
	if n := limiter.NumRequeues("b1"); n != 0 {
		t.Errorf("%d failures are remembered after a success", n)
	}
}
