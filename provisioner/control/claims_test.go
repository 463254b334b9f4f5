package control

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

const libraryFailures = "controller_persistentvolumeclaim_provision_failed_total"

// Anybody may write our name on a claim: that must not make series of metrics
// that never go, nor retries without end.
func TestClaimsOfClassesThatAreNotOurs(t *testing.T) {
	foreign := newClass("foreign")
	foreign.Provisioner = "example.com/other"
	w := newWorld(t, newClass("nfs"), foreign, newClaim("other", "foreign"))
	for _, claim := range newClaims(20, "") {
		claim.Spec.StorageClassName = new("no-class-" + claim.Name)
		w.add(claim)
	}
	w.start()
	w.add(newClaim("good", "nfs"))
	w.eventually("ours is served", func() bool { return w.saved("pvc-good") != nil })
	w.throughout(300*time.Millisecond, "no other is", func() bool {
		_, series := w.metric(libraryFailures)
		return w.provisioner.provisions("") == 1 && series == 0
	})
	w.add(newClass("no-class-claim-007"))
	w.eventually("served once its class appears", func() bool { return w.saved("pvc-claim-007") != nil })
	if _, series := w.metric(libraryFailures); w.provisioner.provisions("") != 2 || series != 0 {
		t.Errorf("%d Provisions, %d series of failures", w.provisioner.provisions(""), series)
	}
}

func TestProvisionerMayKeepOffClaims(t *testing.T) {
	terminating := newClaim("terminating", "nfs")
	terminating.DeletionTimestamp = new(metav1.Now())
	w := newWorld(t, newClass("nfs"), terminating)
	w.provisioner.should = func(claim *v1.PersistentVolumeClaim) bool { return claim.DeletionTimestamp == nil }
	w.start()
	w.add(newClaim("good", "nfs"))
	w.eventually("the other is served", func() bool { return w.saved("pvc-good") != nil })
	w.throughout(200*time.Millisecond, "this one is not", func() bool { return w.provisioner.provisions("") == 1 })
	if texts := w.told(eventProvisionFailed, "terminating"); len(texts) > 0 {
		t.Errorf("events: %q", texts)
	}
}

// Without the library's own check, so that the refusal is counted.
func TestBlockClaimsReachTheProvisioner(t *testing.T) {
	claim := newClaim("block", "nfs")
	claim.Spec.VolumeMode = ptr.To(v1.PersistentVolumeBlock)
	w := newWorld(t, newClass("nfs"), claim).start()
	w.eventually("Provision is called", func() bool { return w.provisioner.provisions("pvc-block") == 1 })
}

func TestLateBindingNeedsNoNodes(t *testing.T) {
	class := newClass("nfs")
	class.VolumeBindingMode = ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)
	placed := newClaim("placed", "nfs")
	placed.Annotations["volume.kubernetes.io/selected-node"] = "node-that-is-gone"
	w := newWorld(t, class, placed, newClaim("waiting", "nfs")).start()
	w.eventually("the placed one is served", func() bool { return w.saved("pvc-placed") != nil })
	w.throughout(200*time.Millisecond, "the other waits", func() bool { return w.provisioner.provisions("pvc-waiting") == 0 })
	for _, action := range w.main.Actions() {
		if action.GetResource().Resource == "nodes" || action.GetVerb() == "update" {
			t.Errorf("%s %s", action.GetVerb(), action.GetResource().Resource)
		}
	}
}

// Each kind of traffic has its connection, and none asks for more than
// manifests/base/rbac.yaml allows.
func TestClients(t *testing.T) {
	bound := newReleased("bound")
	bound.Finalizers, bound.Status.Phase = nil, v1.VolumeBound // the library patches its finalizer on
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), newReleased("b"), bound).elect("one").start()
	w.eventually("all is done", func() bool {
		return w.saved("pvc-a") != nil && w.saved("b") == nil && len(w.saved("bound").Finalizers) == 1
	})
	w.eventually("there are events", func() bool { return len(w.events.Actions()) > 0 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	verbs := func(verbs ...string) map[string]bool {
		allowed := map[string]bool{}
		for _, verb := range verbs {
			allowed[verb] = true
		}
		return allowed
	}
	read := verbs("get", "list", "watch")
	for _, c := range []struct {
		name    string
		world   interface{ Actions() []clienttesting.Action }
		allowed map[string]map[string]bool
	}{
		{"main", w.main, map[string]map[string]bool{
			"persistentvolumes": verbs("get", "list", "watch", "create", "patch", "delete"), "persistentvolumeclaims": read, "storageclasses": read,
		}},
		{"events", w.events, map[string]map[string]bool{"events": verbs("create", "patch")}},
		{"lease", w.lease, map[string]map[string]bool{"leases": verbs("get", "create", "update")}},
	} {
		actions := c.world.Actions()
		if len(actions) == 0 {
			t.Errorf("client %s: nothing asked", c.name)
		}
		for _, a := range actions {
			if !c.allowed[a.GetResource().Resource][a.GetVerb()] {
				t.Errorf("client %s: %s %s", c.name, a.GetVerb(), a.GetResource().Resource)
			}
		}
	}
}
