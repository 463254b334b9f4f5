package cluster

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// served returns the n-th volume as claimdir makes it and Kubernetes keeps it, and its claim.
func served(n int, provisioner string) (*v1.PersistentVolume, *v1.PersistentVolumeClaim) {
	uid := types.UID(fmt.Sprintf("0c6ae3b5-2a0e-4f8e-9f5e-%012d", n))
	namespace, name := fmt.Sprint("team-", n%50), fmt.Sprint("data-db-", n)
	path := fmt.Sprintf("%s-%s-pvc-%s", namespace, name, uid)
	size := v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}
	managed := []metav1.ManagedFieldsEntry{{Manager: strings.Repeat("x", 700)}}
	class, when := "nfs", metav1.Unix(1_700_000_000+int64(n), 0)
	meta := func(namespace, name string, uid types.UID, annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: uid, ResourceVersion: fmt.Sprint(1000000 + n), CreationTimestamp: when, Annotations: annotations, ManagedFields: managed,
			Finalizers: []string{"kubernetes.io/pv-protection", pvs.Finalizer},
		}
	}
	pv := &v1.PersistentVolume{
		ObjectMeta: meta("", "pvc-"+string(uid), types.UID(fmt.Sprintf("9a1f3b5c-2a0e-4f8e-9f5e-%012d", n)),
			map[string]string{pvs.AnnotationProvisionedBy: provisioner, "claimdir/path": path, "claimdir/on-delete": "archive"}),
		Spec: v1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete, StorageClassName: class, VolumeMode: new(v1.PersistentVolumeFilesystem),
			ClaimRef:               &v1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name, UID: uid, ResourceVersion: fmt.Sprint(n)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas.example.com", Path: "/export/" + path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound, LastPhaseTransitionTime: &when},
	}
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: meta(namespace, name, uid, map[string]string{"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/storage-provisioner": provisioner}),
		Spec:       v1.PersistentVolumeClaimSpec{AccessModes: modes, Resources: v1.VolumeResourceRequirements{Requests: size}, StorageClassName: &class, VolumeName: pv.Name},
		Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Capacity: size, AccessModes: modes},
	}
	return pv, claim
}

// A reader gets every field of a PersistentVolume of ours but the managed ones.
func TestAHeldVolumeComesBackWhole(t *testing.T) {
	bound, _ := served(1, ours)
	released, _ := served(2, ours)
	released.Status = v1.PersistentVolumeStatus{Phase: v1.VolumeReleased, Message: "gone", Reason: "x"}
	released.Spec.MountOptions, released.Labels, released.DeletionTimestamp = []string{"hard"}, map[string]string{"a": "b"}, new(metav1.Unix(1_800_000_000, 0))
	released.Spec.NFS.ReadOnly = true
	bare := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "bare", Annotations: map[string]string{pvs.AnnotationMigratedTo: ours}}}
	for _, pv := range []*v1.PersistentVolume{bound, released, bare} {
		before := pv.DeepCopy()
		object, err := trimmer(pvs.Names{ours})(pv)
		if err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(pv, before) {
			t.Errorf("%s was changed", pv.Name)
		}
		before.ManagedFields = nil
		if got, ok := PersistentVolume(object); !ok || !equality.Semantic.DeepEqual(got, before) {
			t.Errorf("%s comes back as\n%v, not\n%v", pv.Name, got, before)
		}
		if key, err := cache.MetaNamespaceKeyFunc(object); err != nil || key != pv.Name {
			t.Errorf("its key is %q, %v", key, err)
		}
	}
}

// 200,000 objects have to fit into 256 MiB, with all that is done with them.
func TestCachedObjectsAreSmall(t *testing.T) {
	const n = 5000
	for name, tt := range map[string]struct {
		make func(n int) any
		most int64 // bytes of memory for each
	}{
		"bound claim":       {func(n int) any { _, claim := served(n, ours); return claim }, 130},
		"volume of ours":    {func(n int) any { pv, _ := served(n, ours); return pv }, 560},
		"volume of another": {func(n int) any { pv, _ := served(n, "x/y"); return pv }, 260},
	} {
		t.Run(name, func(t *testing.T) {
			trim, kept := trimmer(pvs.Names{ours}), make([]any, n)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range kept {
				var err error
				if kept[i], err = trim(tt.make(i)); err != nil {
					t.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
			runtime.KeepAlive(kept)
			t.Logf("%d bytes", each)
			if each > tt.most {
				t.Errorf("each takes %d bytes of memory, more than %d", each, tt.most)
			}
		})
	}
}
