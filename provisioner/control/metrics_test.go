package control

import (
	"context"
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2/ktesting"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

func TestMetrics(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("good", "nfs"), newClaim("bad", "nfs"), newReleased("good-volume"), newReleased("bad-volume"))
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		if o.PVC.Name == "bad" {
			return errors.New("no")
		}
		return nil
	}
	w.provisioner.onDelete = func(_ context.Context, pv *v1.PersistentVolume) error {
		if pv.Name == "bad-volume" {
			return errors.New("no")
		}
		return nil
	}
	w.start()
	missing := map[string]bool{
		"controller_persistentvolumeclaim_provision_total": true, "controller_persistentvolume_delete_total": true,
		"controller_persistentvolumeclaim_provision_failed_total": true, "controller_persistentvolume_delete_failed_total": true,
		"controller_persistentvolumeclaim_provision_duration_seconds": true, "controller_persistentvolume_delete_duration_seconds": true,
		"claimdir_provisions_total": true, "claimdir_deletions_total": true, "claimdir_refusals_total": true, "claimdir_leader": true,
		"claimdir_operations_in_flight": true, "claimdir_oldest_operation_age_seconds": true,
	}
	w.eventually("every metric is there", func() bool {
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetHelp() == "" {
				t.Errorf("%s has no HELP", family.GetName())
			}
			delete(missing, family.GetName())
		}
		return len(missing) == 0
	})
	if n, _ := w.metric("claimdir_provisions_total", "class", "nfs"); n != 1 {
		t.Error("provisions:", n)
	}
	if n, _ := w.metric("claimdir_leader"); n != 1 {
		t.Error("leader without election:", n)
	}
}

func TestMetricsShowWhatIsStuck(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), newClaim("b", "nfs"))
	finish := make(chan struct{})
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { <-finish; return nil }
	w.start()
	inFlight := func() float64 { n, _ := w.metric("claimdir_operations_in_flight", "operation", "provision"); return n }
	age := func() float64 {
		n, _ := w.metric("claimdir_oldest_operation_age_seconds", "operation", "provision")
		return n
	}
	w.eventually("both are shown", func() bool { return inFlight() == 2 })
	before := age()
	w.eventually("they grow old", func() bool { return age() > before+0.05 })
	close(finish)
	w.eventually("nothing is under way", func() bool {
		n, _ := w.metric("claimdir_operations_in_flight")
		return n == 0 && age() == 0
	})
}

func TestRegisteringTwice(t *testing.T) {
	_, ctx := ktesting.NewTestContext(t)
	w := newWorld(t)
	if _, err := New(ctx, w.config); err != nil {
		t.Fatal(err)
	}
	if _, err := New(ctx, w.config); err == nil || !strings.Contains(err.Error(), "register metrics") {
		t.Error(err)
	}
}
