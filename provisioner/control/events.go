package control

import (
	"context"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
)

const (
	// heldLong is how long a normal event waits at most for a moment in which no operation runs.
	heldLong = 10 * time.Second
	// heldPace is the pause after each of them, so that they take the API server little time.
	heldPace = 50 * time.Millisecond
	// heldMost bounds the normal events that wait. The oldest goes if there are more.
	heldMost = 2000
	// heldAtStop is how long a stop waits for those that are left.
	heldAtStop = time.Second
)

// heldEvents holds normal events back while operations run: a claim is to be bound before others are
// told that they are. Of several events of the library about one object only the last is published: that a volume
// was made tells more than that it is being made. Warnings never wait.
type heldEvents struct {
	busy func() bool // reports whether operations run

	mu     sync.Mutex
	order  []heldKey // those that wait longest first
	events map[heldKey]heldEvent
}

// heldKey is what is told of an object. The library's events of a claim tell one thing.
type heldKey struct {
	object types.UID
	reason string // empty for those of the library
}

func heldKeyOf(event *v1.Event) heldKey {
	key := heldKey{event.InvolvedObject.UID, event.Reason}
	if strings.HasPrefix(event.Reason, "Provisioning") {
		key.reason = ""
	}
	return key
}

type heldEvent struct {
	*v1.Event

	since  time.Time
	client corev1.EventInterface
}

func newHeldEvents(busy func() bool) *heldEvents {
	return &heldEvents{busy: busy, events: map[heldKey]heldEvent{}}
}

// through returns a client that holds normal events back, and publishes through client.
func (h *heldEvents) through(client corev1.EventInterface) corev1.EventInterface {
	return eventClient{client, h}
}

type eventClient struct {
	corev1.EventInterface

	held *heldEvents
}

// CreateWithEventNamespace is what an event broadcaster calls.
func (c eventClient) CreateWithEventNamespace(event *v1.Event) (*v1.Event, error) {
	return c.CreateWithEventNamespaceWithContext(context.Background(), event)
}

// CreateWithEventNamespaceWithContext publishes a warning, or holds a normal event back.
func (c eventClient) CreateWithEventNamespaceWithContext(ctx context.Context, event *v1.Event) (*v1.Event, error) {
	if event.Type != v1.EventTypeNormal {
		return c.EventInterface.CreateWithEventNamespaceWithContext(ctx, event)
	}
	c.held.add(heldEvent{event, time.Now(), c.EventInterface})
	return event, nil
}

func (h *heldEvents) add(event heldEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	object := heldKeyOf(event.Event)
	if earlier, waits := h.events[object]; waits {
		event.since = earlier.since
		h.events[object] = event
		return
	}
	if len(h.order) == heldMost {
		delete(h.events, h.order[0])
		h.order = h.order[1:]
	}
	h.order = append(h.order, object)
	h.events[object] = event
}

// run publishes what was held back until ctx is done.
func (h *heldEvents) run(ctx context.Context) {
	pace := time.NewTicker(heldPace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if event, found := h.take(func(since time.Time) bool { return !h.busy() || time.Since(since) > heldLong }); found {
			event.publish(ctx)
		}
	}
}

// flush publishes all that is left.
func (h *heldEvents) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heldAtStop)
	defer cancel()
	for ctx.Err() == nil {
		event, found := h.take(func(time.Time) bool { return true })
		if !found {
			return
		}
		event.publish(ctx)
	}
}

// take returns the event that has waited longest, if it may go.
func (h *heldEvents) take(may func(since time.Time) bool) (event heldEvent, found bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.order) == 0 || !may(h.events[h.order[0]].since) {
		return heldEvent{}, false
	}
	event = h.events[h.order[0]]
	delete(h.events, h.order[0])
	h.order = h.order[1:]
	return event, true
}

// publish tries once: the object may be gone by now, and with it its namespace.
func (e heldEvent) publish(ctx context.Context) {
	if _, err := e.client.CreateWithEventNamespaceWithContext(ctx, e.Event); err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot publish an event", "object", klog.KRef(e.InvolvedObject.Namespace, e.InvolvedObject.Name), "reason", e.Reason, "err", err)
	}
}
