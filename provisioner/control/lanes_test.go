package control

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// waiting is a refusal that the share lifts.
type waiting string

func (w waiting) Error() string { return string(w) }
func (waiting) Reason() string  { return "stalled" }
func (waiting) Final() bool     { return false }
func (waiting) Waits() bool     { return true }

// lanePuppet serves the claims and volumes whose names begin with its name.
type lanePuppet struct {
	*puppet
	name string
}

func (p *lanePuppet) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return strings.HasPrefix(claim.Name, p.name)
}
func (p *lanePuppet) Owns(pv *v1.PersistentVolume) bool { return strings.HasPrefix(pv.Name, p.name) }

// newLanes is a world of two Provisioners, the first of which hangs until
// release.
func newLanes(t *testing.T) (w *world, slow, fast *puppet, release func()) {
	t.Helper()
	w = newWorld(t, newClass("nfs"))
	hanging := make(chan struct{})
	slow, fast = &puppet{}, &puppet{}
	slow.onProvision = func(context.Context, controller.ProvisionOptions) error { <-hanging; return nil }
	slow.onDelete = func(context.Context, *v1.PersistentVolume) error { <-hanging; return nil }
	w.config.Provisioners = []controller.Provisioner{&lanePuppet{slow, "slow"}, &lanePuppet{fast, "fast"}}
	return w, slow, fast, func() { close(hanging) }
}

func TestAProvisionerThatHangsHoldsUpNoOther(t *testing.T) {
	w, slow, fast, release := newLanes(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} { // more than the workers
		w.add(newClaim("slow-"+name, "nfs"), newClaim("fast-"+name, "nfs"), newReleased("slow-volume-"+name), newReleased("fast-volume-"+name))
	}
	w.start()
	w.eventually("the other has done all", func() bool { return len(fast.successes()) == 8 && fast.deletions("") >= 8 })
	if n := len(slow.successes()); n > 0 {
		t.Errorf("%d were made by what hangs", n)
	}
	release()
	w.eventually("so has this one", func() bool {
		return len(slow.successes()) == 8 && slow.deletions("") >= 8 && w.saved("pvc-slow-h") != nil && w.saved("slow-volume-h") == nil
	})
	for _, p := range []*puppet{slow, fast} {
		if p.provisions("") != 8 || p.deletions("") != 8 {
			t.Errorf("%d provisions, %d deletions, want 8 of each: nothing is done twice, or by the wrong one", p.provisions(""), p.deletions(""))
		}
	}
}

func TestAVolumeIsMarkedByItsOwnProvisionerOnly(t *testing.T) {
	w, _, _, release := newLanes(t)
	release()
	pv := newReleased("fast-volume")
	pv.Status.Phase, pv.Finalizers = v1.VolumeBound, nil
	w.add(pv)
	w.start()
	w.eventually("it has the finalizer", func() bool { return len(w.saved("fast-volume").Finalizers) == 1 })
	patches := 0
	for _, action := range w.main.Actions() {
		if action.Matches("patch", "persistentvolumes") {
			patches++
		}
	}
	if patches != 1 {
		t.Errorf("%d patches", patches)
	}
}

// What waits for a share is told once and left alone until the share is back.
func TestWaitingIsEndedByRetry(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), newReleased("b"))
	var answers atomic.Bool
	refuse := func() error {
		if answers.Load() {
			return nil
		}
		return waiting("no answer since noon")
	}
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { return refuse() }
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { return refuse() }
	w.start()
	w.eventually("both are told", func() bool {
		return len(w.told(eventProvisionFailed, "a")) == 1 && len(w.told(eventDeleteFailed, "b")) == 1
	})
	w.throughout(patientEnough, "neither is tried again", func() bool {
		return w.provisioner.provisions("") == 1 && w.provisioner.deletions("") == 1
	})
	if texts := w.told(eventProvisionFailed, "a"); len(texts) != 1 || texts[0] != "no answer since noon" {
		t.Errorf("events: %q", texts)
	}
	if n, _ := w.metric("claimdir_refusals_total", "reason", "stalled"); n != 2 {
		t.Error("refusals:", n)
	}
	w.controller.Retry()
	w.eventually("both are tried again", func() bool { return w.provisioner.provisions("") == 2 && w.provisioner.deletions("") == 2 })
	answers.Store(true)
	for range 5 {
		w.controller.Retry()
	}
	w.eventually("both are done", func() bool { return w.saved("pvc-a") != nil && w.saved("b") == nil })
}

// A wish for another try that comes while one is under way is not lost.
func TestRetryDuringATry(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"))
	under, goOn := make(chan struct{}), make(chan struct{})
	var tries atomic.Int32
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error {
		if tries.Add(1) == 1 {
			close(under)
			<-goOn
			return waiting("no answer")
		}
		return nil
	}
	w.start()
	<-under
	w.controller.Retry()
	w.throughout(3*retryPause, "one is under way", func() bool { return tries.Load() == 1 })
	close(goOn)
	w.eventually("it is tried again", func() bool { return w.saved("pvc-a") != nil })
}

// What hangs in the background may still act after the process was told to end.
func TestUnfinishedOperationsKeepTheLease(t *testing.T) {
	w := newWorld(t).elect("one")
	w.config.Unfinished = func() int { return 2 }
	w.start()
	w.eventually("it leads", func() bool { n, _ := w.metric("claimdir_leader"); return n == 1 })
	if err := w.stop(); err == nil || !strings.Contains(err.Error(), "2 operations still wait for a share") {
		t.Error(err)
	}
	w.throughout(300*time.Millisecond, "the lease is held", func() bool { return holder(w.lease) == "one" })
}
