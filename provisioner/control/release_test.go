package control

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster"
)

// A PersistentVolume that is deleted before its claim still has its policy
// honoured.
func TestFinalizer(t *testing.T) {
	terminating := newReleased("terminating")
	terminating.DeletionTimestamp = new(metav1.Now())
	w := newWorld(t, newClass("nfs"), newClaim("a", "nfs"), terminating).start()
	w.eventually("it is saved", func() bool { return w.saved("pvc-a") != nil })
	if finalizers := w.saved("pvc-a").Finalizers; !slices.Contains(finalizers, finalizer) {
		t.Error("finalizers:", finalizers)
	}
	w.eventually("it is released", func() bool { return w.provisioner.deletions("terminating") == 1 && w.saved("terminating") == nil })
}

// What the API server does with finalizers, except that the watch tells of
// their removal only when the test says so.
func TestVolumeIsReleasedOnce(t *testing.T) {
	w := newWorld(t, newReleased("a"))
	var deletes, patches atomic.Int32
	w.react("delete", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		if deletes.Add(1) == 1 {
			w.setVolume("a", func(pv *v1.PersistentVolume) { pv.DeletionTimestamp = new(metav1.Now()) })
		}
		return true, nil, nil
	})
	w.react("patch", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		if patches.Add(1) == 1 {
			return true, nil, errInternal()
		}
		patched := w.saved("a").DeepCopy() // the first deletion has marked it
		patched.Finalizers = nil
		return true, patched, nil
	})
	w.start()
	w.eventually("the library comes a second time", func() bool { return patches.Load() == 2 })
	w.setVolume("a", func(pv *v1.PersistentVolume) { pv.Labels = map[string]string{"seen": "again"} })
	w.throughout(patientEnough, "all is done once", func() bool {
		return w.provisioner.deletions("a") == 1 && deletes.Load() == 1 && patches.Load() == 2
	})
	if n, _ := w.metric("claimdir_deletions_total"); n != 1 {
		t.Error("deletions:", n)
	}

	if err := w.main.Tracker().Delete(volumesResource, "", "a"); err != nil {
		t.Fatal(err)
	}
	released := w.controller.released
	w.eventually("it is forgotten", func() bool {
		released.mu.Lock()
		defer released.mu.Unlock()
		return len(released.volumes) == 0
	})
	again := newReleased("a")
	again.UID = "another"
	w.add(again)
	w.eventually("one of the same name is another", func() bool { return w.provisioner.deletions("a") == 2 })
}

func TestDeleteOfTheObjectIsRepeated(t *testing.T) {
	w := newWorld(t, newReleased("a"))
	var tries atomic.Int32
	w.react("delete", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return tries.Add(1) <= 2, nil, errInternal()
	})
	w.start()
	w.eventually("it goes in the end", func() bool { return w.saved("a") == nil })
	if n := w.provisioner.deletions("a"); n != 1 {
		t.Errorf("released %d times", n)
	}
}

func TestReleasedVolumes(t *testing.T) {
	cached := cache.NewStore(cache.MetaNamespaceKeyFunc)
	r := newReleasedVolumes(cached)
	a, gone, renewed := newReleased("a"), newReleased("gone"), newReleased("a")
	renewed.UID = "another"
	if err := cached.Add(a); err != nil {
		t.Fatal(err)
	}
	r.add(a)
	r.add(gone)
	if !r.has(a) || r.has(renewed) {
		t.Error("does not tell volumes by their UID")
	}
	if r.has(gone) {
		t.Error("remembers what nothing will make it forget")
	}
	r.forget(cache.DeletedFinalStateUnknown{Key: "a", Obj: a})
	r.forget("no object")
	if r.has(a) {
		t.Error("does not forget")
	}
}

// The library deletes by name. A PersistentVolume that was made anew under the name stays,
// and one that is gone is no error, which the library would log.
func TestOnlyTheReleasedPersistentVolumeIsDeleted(t *testing.T) {
	gone := apierrors.NewNotFound(v1.Resource("persistentvolumes"), "a")
	another := apierrors.NewConflict(v1.Resource("persistentvolumes"), "a", errors.New("the UID in the precondition differs"))
	down := errors.New("etcdserver: request timed out")
	for name, tt := range map[string]struct {
		uid, now     types.UID // of what was released, and of what is there
		answer, want error
	}{
		"deleted":                            {"uid-1", "", nil, nil},
		"gone":                               {"uid-1", "", gone, nil},
		"another one is there":               {"uid-1", "uid-2", another, nil},
		"another one was there":              {"uid-1", "", another, nil},
		"a conflict that is no precondition": {"uid-1", "uid-1", another, another},
		"no answer":                          {"uid-1", "uid-1", down, down},
		"not known, gone":                    {"", "", gone, nil},
		"not known, a conflict":              {"", "", another, another},
	} {
		t.Run(name, func(t *testing.T) {
			cached := cache.NewStore(cache.MetaNamespaceKeyFunc)
			pv := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: tt.uid}}
			if err := cached.Add(pv); err != nil {
				t.Fatal(err)
			}
			released := newReleasedVolumes(cached)
			if tt.uid != "" {
				released.add(pv)
			}
			client := fake.NewClientset()
			if tt.now != "" {
				client = fake.NewClientset(&v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: tt.now}})
			}
			var asked *metav1.Preconditions
			client.PrependReactor("delete", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
				asked = action.(clienttesting.DeleteActionImpl).DeleteOptions.Preconditions
				return true, nil, tt.answer
			})
			c := volumeClient{client.CoreV1().PersistentVolumes(), cluster.Live{Client: client}, nil, released}
			if err := c.Delete(t.Context(), "a", metav1.DeleteOptions{}); !errors.Is(err, tt.want) || err != nil && tt.want == nil {
				t.Errorf("it says %v, want %v", err, tt.want)
			}
			if (asked != nil) != (tt.uid != "") || asked != nil && *asked.UID != tt.uid {
				t.Errorf("deleted with %+v", asked)
			}
		})
	}
}
