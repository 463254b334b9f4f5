package control

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// refusedNow returns how many are refused for these labels.
func (w *world) refusedNow(labels ...string) int {
	n, _ := w.metric("claimdir_refused", labels...)
	return int(n)
}

// The metric shows a refusal as long as it stands: the first one at once, and none that is over.
func TestWhatIsRefusedNow(t *testing.T) {
	gone := newReleased("pvc-kept")
	gone.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "kept"}
	w := newWorld(t, newClass("nfs"), newClaim("bound", "nfs"), newClaim("deleted", "nfs"), gone, newReleased("pvc-other"))
	var letClaim, letVolume atomic.Bool
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		if o.PVC.Name == "bound" && letClaim.Load() {
			return nil
		}
		return final("ask for less")
	}
	w.provisioner.onDelete = func(_ context.Context, pv *v1.PersistentVolume) error {
		if pv.Name == "pvc-other" && letVolume.Load() {
			return nil
		}
		return final("not ours")
	}
	w.start()
	claims, volumes := []string{"operation", "provision", "class", "nfs", "reason", "claim"}, []string{"operation", "delete", "class", "nfs", "reason", "claim"}
	shown := func(why string, provision, remove, series int) {
		t.Helper()
		w.eventually(why, func() bool {
			_, all := w.metric("claimdir_refused")
			return w.refusedNow(claims...) == provision && w.refusedNow(volumes...) == remove && all == series
		})
	}
	shown("two of each are refused", 2, 2, 2)
	if n, _ := w.metric("claimdir_refusals_total", claims...); n != 2 {
		t.Errorf("refused %v times, so the test is not about the first refusal", n)
	}

	letClaim.Store(true)
	change := newClaim("bound", "nfs")
	change.Labels = map[string]string{"changed": "true"}
	if err := w.main.Tracker().Update(claimsResource, change, "team"); err != nil {
		t.Fatal(err)
	}
	shown("what is provisioned is refused no more", 1, 2, 2)
	if err := w.main.Tracker().Delete(claimsResource, "team", "deleted"); err != nil {
		t.Fatal(err)
	}
	shown("nor is what was deleted", 0, 2, 1)

	letVolume.Store(true)
	w.setVolume("pvc-other", func(pv *v1.PersistentVolume) { pv.Labels = map[string]string{"changed": "true"} })
	shown("a volume is released", 0, 1, 1)
	w.setVolume("pvc-kept", func(pv *v1.PersistentVolume) {
		pv.Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	})
	shown("an administrator keeps a volume", 0, 0, 0)
}

// A claim that was refused and whose copy runs now is not refused.
func TestWhatIsWorkedOnIsNotRefused(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("copy", "nfs"))
	var runs atomic.Bool
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error {
		if runs.Load() {
			return &controller.IgnoredError{Reason: "the copy goes on"}
		}
		return final("the source is not there")
	}
	w.start()
	w.eventually("it is refused", func() bool { return w.refusedNow() == 1 })
	runs.Store(true)
	change := newClaim("copy", "nfs")
	change.Labels = map[string]string{"changed": "true"}
	if err := w.main.Tracker().Update(claimsResource, change, "team"); err != nil {
		t.Fatal(err)
	}
	w.eventually("its copy runs", func() bool { return w.refusedNow() == 0 })
}

// A replica that does not lead has no series, whatever it remembers.
func TestAStandbyShowsNoRefusals(t *testing.T) {
	w := newWorld(t, newClass("nfs"))
	w.config.Leadership = NewLeadership(&Lease{Namespace: "claimdir", Identity: "standby"})
	build(w)
	w.controller.claims.stands = func(types.UID, Refused) bool { return true }
	w.controller.claims.add("a", Refused{Operation: opProvision, Namespace: "team", Name: "a", Class: "nfs", Reason: "claim", Text: "no", Since: time.Now()})
	if _, series := w.metric("claimdir_refused"); series != 0 {
		t.Errorf("%d series", series)
	}
}

// Each operation that succeeds is counted once with the time that it took, and one that fails is not.
func TestDurations(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("good", "nfs"), newClaim("bad", "nfs"), newReleased("pvc-gone"))
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		time.Sleep(30 * time.Millisecond)
		if o.PVC.Name == "bad" {
			return final("no")
		}
		return nil
	}
	w.start()
	took := func(operation string) (count uint64, sum float64) {
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "claimdir_operation_duration_seconds" && m.GetLabel()[0].GetValue() == operation {
					h := m.GetHistogram()
					if last := h.GetBucket()[len(h.GetBucket())-1].GetUpperBound(); last < 300 {
						t.Errorf("the last bucket ends at %v seconds", last)
					}
					return h.GetSampleCount(), h.GetSampleSum()
				}
			}
		}
		t.Fatalf("there is no series of %s", operation)
		return 0, 0
	}
	w.eventually("all is done", func() bool {
		provisions, seconds := took("provision")
		saves, _ := took("save")
		deletions, _ := took("delete")
		return provisions == 1 && saves == 1 && deletions == 1 && seconds >= 0.03 && w.refusedNow() == 1
	})
}
