package control

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// After a stop the library works off its whole backlog, with a context that is
// cancelled.
func TestStopTurnsTheBacklogAway(t *testing.T) {
	w := newWorld(t, newClass("nfs"))
	for _, claim := range newClaims(60, "nfs") {
		w.add(claim)
	}
	var cancelled atomic.Int32
	w.provisioner.onProvision = func(ctx context.Context, _ controller.ProvisionOptions) error {
		if ctx.Err() != nil {
			cancelled.Add(1)
		}
		<-time.After(30 * time.Millisecond) // a share takes its time
		if ctx.Err() != nil {
			cancelled.Add(1)
		}
		return nil
	}
	w.start()
	w.eventually("a few are made", func() bool { return len(w.provisioner.successes()) > 4 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	began := w.provisioner.provisions("")
	if began > 30 {
		t.Errorf("%d of 60 were begun before a stop after 5", began)
	}
	made := w.provisioner.successes()
	if len(made) != began {
		t.Errorf("Run returned while %d calls were under way", began-len(made))
	}
	for _, name := range made {
		if w.saved(name) == nil {
			t.Errorf("%s was made and not saved", name)
		}
	}
	// The library says so between the two questions it asks us: each worker may
	// have been there when the gate closed.
	w.throughout(500*time.Millisecond, "nothing is begun, nor said to be", func() bool {
		return w.provisioner.provisions("") == began && len(w.told("Provisioning", "")) <= began+w.config.Workers
	})
	if n := cancelled.Load(); n > 0 {
		t.Errorf("%d calls saw a cancelled context", n)
	}
	if n := len(w.told(eventProvisionFailed, "")); n > 0 {
		t.Errorf("%d events about what was turned away", n)
	}
}

func TestStopWaitsForDelete(t *testing.T) {
	w := newWorld(t, newReleased("first"), newReleased("second")).elect("one")
	w.config.Workers = 1
	finish := make(chan struct{})
	w.provisioner.onDelete = func(ctx context.Context, _ *v1.PersistentVolume) error {
		<-finish
		return ctx.Err()
	}
	w.start()
	w.eventually("a Delete is under way", func() bool { return w.provisioner.deletions("") == 1 })
	w.cancel()
	w.throughout(300*time.Millisecond, "Run waits, and holds the lease", func() bool {
		select {
		case <-w.ended:
			return false
		default:
			return holder(w.lease) == "one"
		}
	})
	close(finish)
	if err := w.wait(); err != nil {
		t.Error(err)
	}
	if n, _ := w.metric("claimdir_deletions_total"); n != 1 {
		t.Error("deletions:", n)
	}
	w.throughout(300*time.Millisecond, "the other is not begun", func() bool { return w.provisioner.deletions("") == 1 })
}

// Something stuck may go on writing after the process was told to end: the
// lease must last that long.
func TestStuckCallKeepsTheLease(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("stuck", "nfs")).elect("one")
	w.config.DrainTimeout = 200 * time.Millisecond
	finish := make(chan struct{})
	defer close(finish)
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { <-finish; return nil }
	w.start()
	w.eventually("a call is stuck", func() bool { return w.provisioner.provisions("") == 1 })
	err := w.stop()
	if err == nil || !strings.Contains(err.Error(), "provision pvc-stuck") {
		t.Error(err)
	}
	w.throughout(500*time.Millisecond, "the lease is held", func() bool { return holder(w.lease) == "one" })
}

func TestStopWaitsForSaving(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"))
	var tries atomic.Int32
	failing := make(chan struct{})
	w.react("create", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		n := tries.Add(1)
		if n == 2 {
			close(failing)
		}
		return n <= 3, nil, errInternal()
	})
	w.start()
	<-failing
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if w.saved("pvc-a") == nil {
		t.Errorf("not saved after %d tries", tries.Load())
	}
}

// What goes wrong while the controller stops is an event like any other.
func TestEventsDuringTheStop(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("refused", "nfs"), newClaim("other", "nfs"))
	stopping, told := make(chan struct{}), make(chan struct{})
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		if <-stopping; o.PVC.Name == "refused" {
			return final("no")
		}
		<-told
		return nil
	}
	w.start()
	w.eventually("both are under way", func() bool { return w.provisioner.provisions("") == 2 })
	w.cancel()
	w.eventually("the gate is closed", func() bool { return !w.controller.gate.open() })
	close(stopping)
	defer close(told)
	w.eventually("the refusal is told", func() bool { return len(w.told(eventProvisionFailed, "refused")) == 1 })
}
