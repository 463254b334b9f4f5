package control

import (
	"context"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

func TestTrimmer(t *testing.T) {
	meta := func(annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: "team", Name: "a", UID: "1", ResourceVersion: "2",
			Labels: map[string]string{"app": "x"}, Annotations: annotations, Finalizers: []string{finalizer},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}},
		}
	}
	stub := metav1.ObjectMeta{Namespace: "team", Name: "a", UID: "1", ResourceVersion: "2"}
	whole := func(annotations map[string]string) metav1.ObjectMeta {
		m := meta(annotations)
		m.ManagedFields = nil
		return m
	}
	claim := v1.PersistentVolumeClaimSpec{AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}}
	bound := v1.PersistentVolumeClaimSpec{AccessModes: claim.AccessModes, VolumeName: "pvc-1"}
	volume := v1.PersistentVolumeSpec{MountOptions: []string{"hard"}}
	nfs := v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/a"}}
	ours, migrated := map[string]string{annProvisionedBy: provisionerName}, map[string]string{annProvisionedBy: "x/y", annMigratedTo: provisionerName}
	foreign := map[string]string{annProvisionedBy: "x/y"}
	for _, c := range []struct {
		name     string
		in, want runtime.Object
	}{
		{
			"bound claim", &v1.PersistentVolumeClaim{ObjectMeta: meta(nil), Spec: bound},
			&v1.PersistentVolumeClaim{ObjectMeta: stub, Spec: v1.PersistentVolumeClaimSpec{VolumeName: "pvc-1"}},
		},
		{"unbound claim", &v1.PersistentVolumeClaim{ObjectMeta: meta(foreign), Spec: claim}, &v1.PersistentVolumeClaim{ObjectMeta: whole(foreign), Spec: claim}},
		{"foreign volume", &v1.PersistentVolume{ObjectMeta: meta(foreign), Spec: volume}, &v1.PersistentVolume{ObjectMeta: stub}},
		{
			"foreign nfs volume", &v1.PersistentVolume{ObjectMeta: meta(nil), Spec: v1.PersistentVolumeSpec{PersistentVolumeSource: nfs, MountOptions: volume.MountOptions}},
			&v1.PersistentVolume{ObjectMeta: stub, Spec: v1.PersistentVolumeSpec{PersistentVolumeSource: nfs}},
		},
		{"volume made by hand", &v1.PersistentVolume{ObjectMeta: meta(nil), Spec: volume}, &v1.PersistentVolume{ObjectMeta: stub}},
		{"our volume", &v1.PersistentVolume{ObjectMeta: meta(ours), Spec: volume}, &v1.PersistentVolume{ObjectMeta: whole(ours), Spec: volume}},
		{"volume migrated to us", &v1.PersistentVolume{ObjectMeta: meta(migrated), Spec: volume}, &v1.PersistentVolume{ObjectMeta: whole(migrated), Spec: volume}},
		{"class", &storagev1.StorageClass{ObjectMeta: meta(nil), Provisioner: "x"}, &storagev1.StorageClass{ObjectMeta: whole(nil), Provisioner: "x"}},
		{"unknown type", &v1.Node{ObjectMeta: meta(nil)}, &v1.Node{ObjectMeta: meta(nil)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			trim := trimmer([]string{provisionerName})
			once, err := trim(c.in)
			if err != nil || !equality.Semantic.DeepEqual(once, c.want) {
				t.Errorf("got %v, %v", once, err)
			}
			if twice, err := trim(once); err != nil || !equality.Semantic.DeepEqual(twice, c.want) {
				t.Errorf("again: %v, %v", twice, err)
			}
		})
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "a"}
	if got, err := trimmer(nil)(tombstone); got != tombstone || err != nil {
		t.Errorf("tombstone: %v, %v", got, err)
	}
}

func TestCachesAreTrimmed(t *testing.T) {
	claim := newClaim("a", "nfs")
	claim.Spec.VolumeName = "pvc-a"
	foreign := newVolume("foreign")
	foreign.Labels = map[string]string{"app": "x"}
	w := newWorld(t, claim, foreign).start()
	core := w.config.Informers.factory.Core().V1()
	for _, object := range append(core.PersistentVolumeClaims().Informer().GetStore().List(), core.PersistentVolumes().Informer().GetStore().List()...) {
		if m := object.(metav1.Object); len(m.GetAnnotations())+len(m.GetLabels()) > 0 {
			t.Errorf("%s is whole", m.GetName())
		}
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
		w.eventually("volumes wait", func() bool { return w.volumeQueue.get() == n })
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
	if n := w.provisioner.deletions("deleted"); n > 0 {
		t.Errorf("Delete was called %d times for a volume that is gone", n)
	}
}
