package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// patientEnough is longer than the library waits before it tries again.
const patientEnough = retryFirst + 500*time.Millisecond

func TestPanicIsAnError(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("bad", "nfs"), newReleased("bad-volume"))
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		if o.PVC.Name == "bad" {
			var nothing *v1.PersistentVolume
			_ = nothing.Name
		}
		return nil
	}
	w.provisioner.onDelete = func(_ context.Context, pv *v1.PersistentVolume) error {
		if pv.Name == "bad-volume" {
			panic("tripped")
		}
		return nil
	}
	w.start()
	w.add(newClaim("good", "nfs"), newReleased("good-volume"))
	w.eventually("the others go on", func() bool {
		return w.saved("pvc-good") != nil && w.saved("good-volume") == nil
	})
	for operation, about := range map[string][2]string{opProvision: {eventProvisionFailed, "bad"}, opDelete: {eventDeleteFailed, "bad-volume"}} {
		w.eventually("there is an event about "+about[1], func() bool { return len(w.told(about[0], about[1])) > 0 })
		if text := w.told(about[0], about[1])[0]; !strings.Contains(text, "internal error: ") {
			t.Error(text)
		}
		if n, _ := w.metric("claimdir_refusals_total", "operation", operation, "class", "nfs", "reason", "panic"); n < 1 {
			t.Errorf("%s: %v refusals", operation, n)
		}
	}
	w.eventually("it is tried again", func() bool {
		provisions, _ := w.provisioner.count("pvc-bad")
		_, deletions := w.provisioner.count("bad-volume")
		return provisions > 1 && deletions > 1
	})
}

func TestFinalRefusalOfAClaim(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"))
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error {
		return fmt.Errorf("step: %w", final("ask for less"))
	}
	w.start()
	calls := 1
	called := func(why string) {
		t.Helper()
		w.eventually(why, func() bool { return w.provisioner.provisions("pvc-a") == calls })
		calls++
	}
	called("the first try")
	w.eventually("the claim is told", func() bool { return len(w.told(eventProvisionFailed, "a")) == 1 })
	w.throughout(patientEnough, "it is not tried again", func() bool { return w.provisioner.provisions("pvc-a") == 1 })
	if texts := w.told(eventProvisionFailed, "a"); len(texts) != 1 || texts[0] != "step: ask for less" {
		t.Errorf("events: %q", texts)
	}
	if n, series := w.metric("claimdir_refusals_total", "operation", "provision", "class", "nfs", "reason", "claim"); n != 1 || series != 1 {
		t.Error("refusals:", n)
	}

	claim := newClaim("a", "nfs")
	claim.Labels = map[string]string{"less": "true"}
	if err := w.main.Tracker().Update(claimsResource, claim, claim.Namespace); err != nil {
		t.Fatal(err)
	}
	called("tried again when the claim changes")
	if err := w.main.Tracker().Delete(classesResource, "", "nfs"); err != nil {
		t.Fatal(err)
	}
	w.add(newClass("nfs"))
	called("tried again when the class is made anew")
	class := newClass("nfs")
	class.UID = types.UID("another")
	if err := w.main.Tracker().Update(classesResource, class, ""); err != nil {
		t.Fatal(err)
	}
	called("tried again when the class was made anew behind our back")
	if err := w.main.Tracker().Update(classesResource, class, ""); err != nil {
		t.Fatal(err)
	}
	w.throughout(100*time.Millisecond, "the same class is no reason", func() bool { return w.provisioner.provisions("pvc-a") == calls-1 })
}

func TestFinalRefusalOfAVolume(t *testing.T) {
	w := newWorld(t, newReleased("a"))
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { return final("not ours") }
	w.start()
	w.eventually("the volume is told", func() bool { return len(w.told(eventDeleteFailed, "a")) == 1 })
	w.throughout(patientEnough, "it is not tried again", func() bool { return w.provisioner.deletions("a") == 1 })
	if w.saved("a") == nil {
		t.Error("the PersistentVolume is gone")
	}
	if n, _ := w.metric("claimdir_refusals_total", "operation", "delete", "class", "nfs", "reason", "claim"); n != 1 {
		t.Error("refusals:", n)
	}
	if n, series := w.metric("claimdir_deletions_total"); series != 0 {
		t.Error("deletions:", n)
	}
}

func TestOtherErrorsAreTriedAgain(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), newReleased("b"))
	var provisions, deletions atomic.Int32
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error {
		if provisions.Add(1) == 1 {
			return errors.New("disk full")
		}
		return nil
	}
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error {
		if deletions.Add(1) == 1 {
			return errors.New("stale handle")
		}
		return nil
	}
	w.start()
	w.eventually("both succeed", func() bool { return w.saved("pvc-a") != nil && w.saved("b") == nil })
	for about, event := range map[string][2]string{"a": {eventProvisionFailed, "disk full"}, "b": {eventDeleteFailed, "stale handle"}} {
		if texts := w.told(event[0], about); len(texts) != 1 || !strings.Contains(texts[0], event[1]) {
			t.Errorf("events about %s: %q", about, texts)
		}
	}
	if n, _ := w.metric("claimdir_refusals_total", "reason", "other"); n != 2 {
		t.Error("refusals:", n)
	}
}

// The library finds its error by type assertion only.
func TestIgnoredIsNoFailure(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), newReleased("b"))
	err := fmt.Errorf("claim: %w", &controller.IgnoredError{Reason: "a populator's"})
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { return err }
	w.provisioner.onDelete = func(context.Context, *v1.PersistentVolume) error { return err }
	w.start()
	w.eventually("both are asked", func() bool { return w.provisioner.provisions("") == 1 && w.provisioner.deletions("") == 1 })
	w.throughout(patientEnough, "neither is tried again", func() bool {
		return w.provisioner.provisions("") == 1 && w.provisioner.deletions("") == 1
	})
	if texts := append(w.told(eventProvisionFailed, "a"), w.told(eventDeleteFailed, "b")...); len(texts) > 0 {
		t.Errorf("events: %q", texts)
	}
	if n, series := w.metric("claimdir_refusals_total"); series > 0 {
		t.Error("refusals:", n)
	}
}

// What is refused for good is logged once, however often the library comes back.
func TestARefusalIsLoggedOnce(t *testing.T) {
	seen := &told{}
	for _, tt := range []struct {
		object types.UID
		text   string
		want   bool
	}{
		{"a", "too large", true}, {"a", "too large", false}, {"b", "too large", true}, {"a", "too small", true}, {"a", "too large", true}, {"b", "too large", false},
	} {
		if got := seen.isNew(tt.object, tt.text); got != tt.want {
			t.Errorf("%s %q: new %v", tt.object, tt.text, got)
		}
	}
	for i := range 3 * toldMost {
		seen.isNew(types.UID(fmt.Sprint(i)), "x")
	}
	if len(seen.texts) > toldMost {
		t.Errorf("it remembers %d", len(seen.texts))
	}
}

// The library would count the claim under a label that a tenant chose.
func TestAClaimThatNamesTwoClassesIsRefused(t *testing.T) {
	two := func(name, annotated, field string) *v1.PersistentVolumeClaim {
		claim := newClaim(name, field)
		claim.Annotations[v1.BetaStorageClassAnnotation] = annotated
		return claim
	}
	w := newWorld(t, newClass("nfs"), two("differ", "nfs", "any text"), two("same", "nfs", "nfs"), two("others", "other", "nfs"))
	w.start()
	w.eventually("the claim that names one class is served", func() bool { return w.saved("pvc-same") != nil })
	w.eventually("the other gets an event", func() bool { return len(w.told(eventProvisionFailed, "differ")) > 0 })
	const want = `annotation volume.beta.kubernetes.io/storage-class is "nfs", and spec.storageClassName is "any text": remove the annotation, or make both the same`
	if text := w.told(eventProvisionFailed, "differ")[0]; text != want {
		t.Errorf("it says %q", text)
	}
	if n, _ := w.metric("claimdir_refusals_total", "operation", opProvision, "class", "nfs", "reason", "claim"); n < 1 {
		t.Errorf("%v refusals", n)
	}
	for _, name := range []string{"differ", "others"} {
		if n, _ := w.provisioner.count("pvc-" + name); n > 0 {
			t.Errorf("%s was provisioned %d times", name, n)
		}
	}
	for _, name := range []string{"controller_persistentvolumeclaim_provision_total", "controller_persistentvolumeclaim_provision_failed_total"} {
		if n, series := w.metric(name, "class", "any text"); series > 0 {
			t.Errorf("%s has a label that a tenant chose: %v", name, n)
		}
	}
}
