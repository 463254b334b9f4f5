package provisioner

import (
	"testing"

	"claimdir/provisioner/access"
	"claimdir/provisioner/refusal"
)

func TestANamespaceThatHoldsTooMuchGetsNoNewVolume(t *testing.T) {
	w := newWorld(t)
	over := map[string][]string{"ns nfs": {"a", "b", "c", "d"}}
	known := false
	w.OverSize = func(_ *access.Keeper, namespace, class string) ([]string, bool) {
		return over[namespace+" "+class], known
	}
	o := options("ns/data", "pvc-1", at("data", "onOverSize", "freeze"))
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonFrozen, false, "it is not known yet whether claims of this namespace hold more than they requested")
	known = true
	_, _, err = w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonFrozen, false, "claims of this namespace hold more than they requested: a, b, c and 1 more; StorageClass nfs lets no new volume begin here meanwhile (onOverSize: freeze)")
	w.Holds(t)
	w.provision(t, options("other/data", "pvc-2", at("other", "onOverSize", "freeze")))
	w.provision(t, options("ns/told", "pvc-3", at("told", "onOverSize", "tell")))
	delete(over, "ns nfs")
	w.provision(t, o)
	over["ns nfs"] = []string{"a"}
	w.provision(t, o) // what has begun is not held back
	w.Holds(t, "data", "data = pvc-1 active", "other", "other = pvc-2 active", "told", "told = pvc-3 active")
}

// A class that asks for what this process does not do is not obeyed in silence.
func TestAClassThatNeedsMeasurementsIsRefusedWithoutThem(t *testing.T) {
	w := newWorld(t)
	for _, answer := range []string{"tell", "freeze"} {
		_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("data", "onOverSize", answer)))
		refused(t, err, refusal.ReasonClass, false, "StorageClass nfs has the parameter onOverSize: "+answer+", and this claimdir measures nothing: set USAGE_INTERVAL in its Deployment")
	}
	w.provision(t, options("ns/data", "pvc-1", at("data", "onOverSize", "ignore")))
}
