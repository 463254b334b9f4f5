package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// pausable lets the clocks of w's Leadership jump, as a pause does; all other clocks,
// the elector's too, go on as if nothing were.
func (w *world) pausable() (pause func(time.Duration)) {
	var paused atomic.Int64
	w.config.Leadership.clock = func() (moment, error) {
		now, err := systemClock()
		d := time.Duration(paused.Load())
		return moment{now.boot + d, now.wall.Add(d)}, err
	}
	return func(d time.Duration) { paused.Add(int64(d)) }
}

// newCountingServer is an API server that takes everything and counts it. Its client is
// one for leaders.
func newCountingServer(t *testing.T, leadership *Leadership) (client kubernetes.Interface, requests func() int32) {
	t.Helper()
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Log(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if _, err := w.Write(body); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	config.Wrap(leadership.Wrap)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, n.Load
}

// wantLostAtOnce wants Run to return long before the elector would give up, which it
// does after 3 s at the earliest.
func (w *world) wantLostAtOnce() {
	w.t.Helper()
	woken := time.Now()
	if err := w.wait(); !errors.Is(err, ErrLeaseLost) || !strings.Contains(err.Error(), "it was last renewed 1m") {
		w.t.Error(err)
	}
	if took := time.Since(woken); took > 2*time.Second {
		w.t.Errorf("Run returned %v after the leader woke", took)
	}
}

// A leader that was paused does nothing more once it wakes, although its elector goes
// on: another replica leads.
func TestWokenLeaderDoesNothingMore(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("first", "nfs"), newClaim("under-way", "nfs")).elect("one")
	pause := w.pausable()
	client, requests := newCountingServer(t, w.config.Leadership)
	w.config.Clients.Main, w.config.Clients.Events = client, client
	finish := make(chan struct{})
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		if o.PVC.Name == "under-way" {
			<-finish
		}
		return nil
	}
	w.start()
	// One claim's PersistentVolume is saved; the events wait, as the other one is under way.
	w.eventually("a leader asks the API server", func() bool { return requests() == 1 && w.provisioner.provisions("") == 2 })
	pause(time.Minute)
	close(finish) // its PersistentVolume wants to be saved
	w.add(newClaim("late", "nfs"))
	w.wantLostAtOnce()
	w.throughout(time.Second, "nothing is sent, nothing begins", func() bool {
		return requests() == 1 && w.provisioner.provisions("") == 2
	})
	if got := holder(w.lease); got != "one" {
		t.Errorf("the lease of %q was touched", got)
	}
}

func TestWokenLeaderDoesNotDrain(t *testing.T) {
	w := newWorld(t, newReleased("stuck")).elect("one")
	pause := w.pausable()
	finish := make(chan struct{})
	defer close(finish)
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { <-finish; return nil }
	w.start()
	w.eventually("a Delete is under way", func() bool { return w.provisioner.deletions("") == 1 })
	w.cancel()
	w.eventually("the gate is closed", func() bool { return !w.controller.gate.open() })
	pause(time.Minute)
	w.wantLostAtOnce()
}

// A leader that does nothing, and whose elector sleeps, ends as soon. What runs beside
// the library is told to end, too.
func TestWokenLeaderEndsWhileAllIsQuiet(t *testing.T) {
	w := newWorld(t).elect("one")
	lease := w.config.Leadership.lease
	lease.Duration, lease.RenewDeadline, lease.RetryPeriod = 60*time.Second, 40*time.Second, 30*time.Second
	pause := w.pausable()
	begun, ended := make(chan struct{}), make(chan struct{})
	w.config.Background = []func(context.Context){func(ctx context.Context) {
		close(begun)
		<-ctx.Done()
		close(ended)
	}}
	w.start()
	<-begun
	pause(time.Minute)
	w.wantLostAtOnce()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the background goes on")
	}
}

func TestPausedStandbyTakesOver(t *testing.T) {
	w := newWorld(t, newClass("nfs")).elect("one")
	standby := w.rival()
	pause := standby.pausable()
	build(w, standby)
	w.start()
	w.eventually("leads", func() bool { return holder(w.lease) == "one" })
	standby.start()
	pause(time.Hour)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.add(newClaim("a", "nfs"))
	w.eventually("the standby has taken over", func() bool { return standby.provisioner.provisions("pvc-a") == 1 })
}

// A stop may take longer than the renew deadline: the lease is renewed until it ends.
func TestLongDrainKeepsTheLease(t *testing.T) {
	w := newWorld(t, newReleased("slow")).elect("one")
	finish := make(chan struct{})
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { <-finish; return nil }
	w.start()
	w.eventually("a Delete is under way", func() bool { return w.provisioner.deletions("") == 1 })
	w.cancel()
	w.throughout(w.config.Leadership.lease.RenewDeadline+time.Second, "this replica leads", func() bool {
		return w.config.Leadership.Check() == nil && holder(w.lease) == "one"
	})
	close(finish)
	if err := w.wait(); err != nil {
		t.Error(err)
	}
	if got := holder(w.lease); got != "" {
		t.Errorf("holder after the stop: %q", got)
	}
	if err := w.config.Leadership.Check(); err == nil {
		t.Error("leads although it has given the lease back")
	}
}
