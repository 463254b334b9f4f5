package control

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"
)

// eventWorld runs heldEvents beside operations, in a synctest bubble.
type eventWorld struct {
	*heldEvents

	t      *testing.T
	client *fake.Clientset
	busy   atomic.Bool
	sink   corev1.EventSinkImpl
	made   int
}

func newEventWorld(t *testing.T) *eventWorld {
	w := &eventWorld{t: t, client: fake.NewClientset()}
	w.heldEvents = newHeldEvents(w.busy.Load)
	w.sink.Interface = w.through(w.client.CoreV1().Events(v1.NamespaceAll))
	go w.run(t.Context())
	return w
}

func (w *eventWorld) event(object, kind, reason string) {
	w.t.Helper()
	w.made++
	_, err := w.sink.Create(&v1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("event-", w.made)},
		InvolvedObject: v1.ObjectReference{Namespace: "ns", Name: object, UID: types.UID("uid-" + object)}, Type: kind, Reason: reason,
	})
	if err != nil {
		w.t.Error(err)
	}
}

// published wants exactly these events, each as object and reason, in this order.
func (w *eventWorld) published(want ...string) {
	w.t.Helper()
	synctest.Wait()
	var got []string
	for _, action := range w.client.Actions() {
		if create, ok := action.(clienttesting.CreateAction); ok {
			if event, ok := create.GetObject().(*v1.Event); ok {
				got = append(got, event.InvolvedObject.Name+" "+event.Reason)
			}
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("published %q, want %q", got, want)
	}
}

func TestNormalEventsWaitWhileOperationsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t)
		w.busy.Store(true)
		w.event("a", v1.EventTypeNormal, "Provisioning")
		w.event("b", v1.EventTypeNormal, "Provisioning")
		w.event("b", v1.EventTypeWarning, "ProvisioningFailed")
		w.event("a", v1.EventTypeNormal, "ProvisioningSucceeded")
		time.Sleep(heldLong - time.Second)
		w.published("b ProvisioningFailed")
		w.busy.Store(false)
		time.Sleep(2 * heldPace)
		w.published("b ProvisioningFailed", "a ProvisioningSucceeded", "b Provisioning")
	})
}

// A share may hang for hours.
func TestNormalEventsDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t)
		w.busy.Store(true)
		w.event("a", v1.EventTypeNormal, "Provisioning")
		time.Sleep(heldLong / 2)
		w.event("a", v1.EventTypeNormal, "Provisioning")
		time.Sleep(heldLong/2 + 2*heldPace)
		w.published("a Provisioning")
	})
}

// A tenant may create any number of claims.
func TestNormalEventsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t)
		w.busy.Store(true)
		for i := range heldMost + 10 {
			w.event(fmt.Sprint("claim-", i), v1.EventTypeNormal, "Provisioning")
		}
		if len(w.order) != heldMost || len(w.events) != heldMost {
			t.Errorf("%d and %d wait", len(w.order), len(w.events))
		}
		w.busy.Store(false)
		time.Sleep(heldPace)
		w.published("claim-10 Provisioning")
	})
}

func TestAStopPublishesTheEventsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t)
		w.busy.Store(true)
		w.event("a", v1.EventTypeNormal, "ProvisioningSucceeded")
		w.event("b", v1.EventTypeNormal, "ProvisioningSucceeded")
		w.flush(t.Context())
		w.published("a ProvisioningSucceeded", "b ProvisioningSucceeded")
		begun := time.Now()
		for range 100 {
			w.event(fmt.Sprint(w.made), v1.EventTypeNormal, "ProvisioningSucceeded")
		}
		slow := &slowEvents{w.sink.Interface}
		for object, event := range w.events {
			event.client = slow
			w.events[object] = event
		}
		w.flush(t.Context())
		if took := time.Since(begun); took > 2*heldAtStop {
			t.Errorf("it took %s", took)
		}
	})
}

// slowEvents answers after 300 ms.
type slowEvents struct{ corev1.EventInterface }

func (s *slowEvents) CreateWithEventNamespaceWithContext(ctx context.Context, event *v1.Event) (*v1.Event, error) {
	select {
	case <-time.After(300 * time.Millisecond):
		return event, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// What is retried for a long time is told once.
func TestTellSaysTheSameOnce(t *testing.T) {
	w := newWorld(t, newClass("nfs")).start()
	a, b := newClaim("a", "nfs"), newClaim("b", "nfs")
	for range 5 {
		w.controller.Tell(a, v1.EventTypeWarning, "VolumeResizeFailed", "no answer")
		w.controller.Tell(b, v1.EventTypeWarning, "VolumeResizeFailed", "no answer")
	}
	w.controller.Tell(a, v1.EventTypeWarning, "VolumeResizeFailed", "another answer")
	count := func(object string) (n int) {
		list, err := w.events.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Name == object {
				n += int(e.Count)
			}
		}
		return n
	}
	w.eventually("all is told", func() bool { return count("a") == 2 && count("b") == 1 })
}
