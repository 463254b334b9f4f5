package control

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/cluster/pvs"
)

func at(name, server, path, provisioner string) *v1.PersistentVolume {
	pv := newVolume(name)
	pv.Annotations = map[string]string{pvs.AnnotationProvisionedBy: provisioner}
	pv.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: path}}
	return pv
}

func TestVolumesAndClaimsOfAdditionalNamesAreServed(t *testing.T) {
	old := newClass("old")
	old.Provisioner = peerName
	released := newReleased("peers")
	released.Annotations[pvs.AnnotationProvisionedBy] = peerName
	w := newWorld(t, old, newClass("nfs"), released, at("foreign", "nas", "/x", "somebody")).start()
	w.add(newClaim("a", "old"))
	w.eventually("the claim of the peer's class is provisioned", func() bool { return w.saved("pvc-a") != nil })
	if by := w.saved("pvc-a").Annotations[pvs.AnnotationProvisionedBy]; by != peerName {
		t.Error("provisioned by", by)
	}
	w.eventually("the peer's volume is released", func() bool { return w.provisioner.deletions("peers") == 1 })
	for pv := range w.config.Informers.Volumes("") {
		if !strings.HasPrefix(pv.Name, "pvc-") && pv.Name != "peers" {
			t.Errorf("%s is not ours", pv.Name)
		}
	}
	if _, found := w.config.Informers.Class("old"); !found {
		t.Error("no class old")
	}
	if _, found := w.config.Informers.Class("none"); found {
		t.Error("a class none")
	}
}

// starting is a Provisioner that has something to do when it leads.
type starting struct {
	*puppet
	volumes func(string) iter.Seq[*v1.PersistentVolume]
	saw     atomic.Int32
	ended   chan struct{}
}

func (s *starting) Start(ctx context.Context) {
	s.saw.Store(int32(len(slices.Collect(s.volumes("")))))
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond)
	close(s.ended)
}

func TestStartSeesFilledCachesAndEndsWithTheController(t *testing.T) {
	w := newWorld(t, at("a", "nas", "/a", provisionerName), at("b", "nas", "/b", peerName))
	s := &starting{puppet: w.provisioner, volumes: w.config.Informers.Volumes, ended: make(chan struct{})}
	w.config.Provisioners = []controller.Provisioner{s}
	w.start()
	w.eventually("it saw both volumes", func() bool { return s.saw.Load() == 2 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	default: // it would act beside the next leader
		t.Error("the lease was given back before Start ended")
	}
}

// The library marks a volume that is deleted as done although no worker has
// it: one that waits in the queue is then in it twice.
func TestQueueOfVolumes(t *testing.T) {
	w := newWorld(t, newReleased("busy"))
	w.config.Workers = 1
	finish := make(chan struct{})
	w.provisioner.onDelete = func(_ context.Context, pv *v1.PersistentVolume) error {
		if pv.Name == "busy" {
			<-finish
		}
		return nil
	}
	w.start()
	waiting := func(n int) {
		t.Helper()
		w.eventually("volumes wait", func() bool { return w.controller.waiting(opDelete) == n })
	}
	w.eventually("the worker is busy", func() bool { return w.provisioner.deletions("busy") == 1 })
	w.add(newReleased("deleted"))
	waiting(1)
	if err := w.main.Tracker().Delete(volumesResource, "", "deleted"); err != nil {
		t.Fatal(err)
	}
	w.add(newReleased("last")) // the queue learns of it after the deletion
	waiting(2)
	close(finish)
	w.eventually("all are worked off", func() bool { return w.saved("busy") == nil && w.saved("last") == nil })
	waiting(0)
	if n, found := w.metric("claimdir_operations_waiting", "operation", opDelete); n != 0 || found != 1 {
		t.Errorf("the metric says %v wait, in %d series", n, found)
	}
	w.eventually("the library's queue is empty", func() bool { return w.volumeQueue.get() == 0 })
	if n := w.provisioner.deletions("deleted"); n > 0 {
		t.Errorf("Delete was called %d times for a volume that is gone", n)
	}
}

// A claim may be bound, or gone, before its turn in the library's queue: the library logs an error if it
// finds nothing, and publishes an event if it finds one claim.
func TestABoundClaimIsNoErrorToTheLibrary(t *testing.T) {
	w := newWorld(t)
	i := &claimInformer{SharedIndexInformer: w.config.Informers.ClaimInformer()}
	if err := i.AddIndexers(cache.Indexers{uidIndex: func(any) ([]string, error) { return nil, nil }}); err != nil {
		t.Fatal(err)
	}
	found, err := i.GetIndexer().ByIndex(uidIndex, "gone")
	if err != nil || len(found) != 2 || found[0].(*v1.PersistentVolumeClaim).Spec.VolumeName == "" {
		t.Errorf("the library finds %v, %v", found, err)
	}
	if i.requeueOne("gone") {
		t.Error("a claim that is gone is queued")
	}
}
