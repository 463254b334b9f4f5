package control

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/cluster"
)

// The library's default is to remove the directory after five tries. Nor may
// its cache hold, meanwhile, what is not saved.
func TestVolumeIsSavedHoweverLongItTakes(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"))
	var tries atomic.Int32
	w.react("create", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return tries.Add(1) <= 5, nil, errInternal()
	})
	w.start()
	cache := w.config.Informers.VolumeInformer().GetStore()
	w.eventually("it is saved", func() bool {
		for _, object := range cache.List() {
			if pv, ok := cluster.PersistentVolume(object); !ok || pv.ResourceVersion == "" {
				t.Fatalf("%s is in the cache and not on the API server", pv.Name)
			}
		}
		return w.saved("pvc-a") != nil
	})
	if provisions, deletions := w.provisioner.count("pvc-a"); provisions != 1 || deletions != 0 {
		t.Errorf("%d Provisions, %d Deletes", provisions, deletions)
	}
}

// The API server saves the PersistentVolume and its answer is lost.
func TestVolumeThatWasSavedUnseen(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"))
	var tries atomic.Int32
	w.react("create", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if tries.Add(1) > 1 {
			return false, nil, nil
		}
		if err := w.main.Tracker().Create(volumesResource, action.(clienttesting.CreateAction).GetObject(), ""); err != nil {
			t.Error(err)
		}
		return true, nil, errInternal()
	})
	w.start()
	w.eventually("nothing is under way", func() bool {
		count, _ := w.controller.gate.ages()
		return tries.Load() == 2 && len(count) == 0
	})
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if provisions, deletions := w.provisioner.count("pvc-a"); provisions != 1 || deletions != 0 {
		t.Errorf("%d Provisions, %d Deletes", provisions, deletions)
	}
}

func TestVolumesThatTheServerRefuses(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("invalid", "nfs"), newClaim("forbidden", "nfs"))
	refusals := map[string]error{
		"invalid":   apierrors.NewInvalid(schema.GroupKind{Kind: "PersistentVolume"}, "x", nil),
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumes"}, "x", nil),
	}
	var healed atomic.Bool
	w.react("create", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		pv := action.(clienttesting.CreateAction).GetObject().(*v1.PersistentVolume)
		return !healed.Load(), nil, refusals[pv.Spec.ClaimRef.Name]
	})
	w.start()
	for claim, refusal := range refusals {
		w.eventually("the claim is told", func() bool { return len(w.told(eventProvisionFailed, claim)) > 0 })
		if text := w.told(eventProvisionFailed, claim)[0]; !strings.Contains(text, "PersistentVolume pvc-"+claim) || !strings.Contains(text, refusal.Error()) {
			t.Error(text)
		}
	}
	if n, series := w.metric("claimdir_refusals_total", "operation", "save", "class", "nfs", "reason", "save"); n < 2 || series != 1 {
		t.Error("refusals:", n)
	}
	healed.Store(true)
	w.eventually("they are saved", func() bool { return w.saved("pvc-invalid") != nil && w.saved("pvc-forbidden") != nil })
	if n := w.provisioner.deletions(""); n > 0 {
		t.Errorf("%d Deletes", n)
	}
}

// A server out of order is no refusal: it would be an event a second.
func TestServerOutOfOrderIsNoRefusal(t *testing.T) {
	for _, err := range []error{
		errInternal(), apierrors.NewTooManyRequests("later", 1), apierrors.NewServiceUnavailable("down"),
		apierrors.NewTimeoutError("slow", 1), context.DeadlineExceeded,
	} {
		if refusedForGood(err) {
			t.Error(err)
		}
	}
}

type hangingVolumes struct {
	corev1.PersistentVolumeInterface
}

func (hangingVolumes) Create(ctx context.Context, _ *v1.PersistentVolume, _ metav1.CreateOptions) (*v1.PersistentVolume, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSavingHasATimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := volumeClient{hangingVolumes{}, cluster.Live{}, &saveWatch{gate: newGate(always)}, nil}.Create(t.Context(), newVolume("a"), metav1.CreateOptions{})
		if took := time.Since(began); err == nil || took != saveTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}
