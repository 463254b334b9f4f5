package cluster

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// read returns what a reader gets of a cached object.
func read(object any) any {
	if pv, ok := PersistentVolume(object); ok {
		return pv
	}
	if claim, ok := object.(*boundClaim); ok {
		return &v1.PersistentVolumeClaim{ObjectMeta: *claim.GetObjectMeta().(*metav1.ObjectMeta)}
	}
	return object
}

func TestTrimmer(t *testing.T) {
	meta := func(annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: "team", Name: "a", UID: "1", ResourceVersion: "2",
			Labels: map[string]string{"app": "x"}, Annotations: annotations, Finalizers: []string{"kubernetes.io/pv-protection"},
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
	class, long := "nfs", strings.Repeat("x", 1<<20)
	bound := v1.PersistentVolumeClaimSpec{AccessModes: claim.AccessModes, VolumeName: "pvc-1", StorageClassName: &class}
	beta := map[string]string{v1.BetaStorageClassAnnotation: "old", "x": "y"}
	volume := v1.PersistentVolumeSpec{MountOptions: []string{"hard"}}
	nfs := v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/a"}}
	made, migrated := map[string]string{pvs.AnnotationProvisionedBy: ours}, map[string]string{pvs.AnnotationProvisionedBy: "x/y", pvs.AnnotationMigratedTo: ours}
	foreign := map[string]string{pvs.AnnotationProvisionedBy: "x/y"}
	for _, c := range []struct {
		name     string
		in, want runtime.Object
	}{
		{
			"bound claim", &v1.PersistentVolumeClaim{ObjectMeta: meta(beta), Spec: bound, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound}},
			&v1.PersistentVolumeClaim{ObjectMeta: stub},
		},
		{
			"lost claim", &v1.PersistentVolumeClaim{ObjectMeta: meta(beta), Spec: bound, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimLost}},
			&v1.PersistentVolumeClaim{ObjectMeta: stub},
		},
		{
			"claim that waits for its volume", &v1.PersistentVolumeClaim{ObjectMeta: meta(beta), Spec: bound, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimPending}},
			&v1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a", UID: "1", ResourceVersion: "2", Annotations: map[string]string{v1.BetaStorageClassAnnotation: "old"}},
				Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pvc-1", StorageClassName: &class},
			},
		},
		{
			"claim with long names",
			&v1.PersistentVolumeClaim{ObjectMeta: meta(map[string]string{v1.BetaStorageClassAnnotation: long}), Spec: v1.PersistentVolumeClaimSpec{VolumeName: long, StorageClassName: &long}},
			&v1.PersistentVolumeClaim{ObjectMeta: stub, Spec: v1.PersistentVolumeClaimSpec{VolumeName: long[:253]}},
		},
		{"unbound claim", &v1.PersistentVolumeClaim{ObjectMeta: meta(foreign), Spec: claim}, &v1.PersistentVolumeClaim{ObjectMeta: whole(foreign), Spec: claim}},
		{"foreign volume", &v1.PersistentVolume{ObjectMeta: meta(foreign), Spec: volume}, &v1.PersistentVolume{ObjectMeta: stub}},
		{
			"foreign nfs volume", &v1.PersistentVolume{ObjectMeta: meta(nil), Spec: v1.PersistentVolumeSpec{PersistentVolumeSource: nfs, MountOptions: volume.MountOptions}},
			&v1.PersistentVolume{ObjectMeta: stub, Spec: v1.PersistentVolumeSpec{PersistentVolumeSource: nfs}},
		},
		{"volume made by hand", &v1.PersistentVolume{ObjectMeta: meta(nil), Spec: volume}, &v1.PersistentVolume{ObjectMeta: stub}},
		{"our volume", &v1.PersistentVolume{ObjectMeta: meta(made), Spec: volume}, &v1.PersistentVolume{ObjectMeta: whole(made), Spec: volume}},
		{"volume migrated to us", &v1.PersistentVolume{ObjectMeta: meta(migrated), Spec: volume}, &v1.PersistentVolume{ObjectMeta: whole(migrated), Spec: volume}},
		{"class", &storagev1.StorageClass{ObjectMeta: meta(nil), Provisioner: "x"}, &storagev1.StorageClass{ObjectMeta: whole(nil), Provisioner: "x"}},
		{"unknown type", &v1.Node{ObjectMeta: meta(nil)}, &v1.Node{ObjectMeta: meta(nil)}},
	} {
		for _, object := range []runtime.Object{c.in, c.want} {
			if pv, ok := object.(*v1.PersistentVolume); ok {
				pv.Namespace = "" // it has none
			}
		}
		t.Run(c.name, func(t *testing.T) {
			trim := trimmer(pvs.Names{ours})
			once, err := trim(c.in)
			if got := read(once); err != nil || !equality.Semantic.DeepEqual(got, c.want) {
				t.Errorf("got %v, %v", got, err)
			}
			twice, err := trim(once)
			if got := read(twice); err != nil || !equality.Semantic.DeepEqual(got, c.want) {
				t.Errorf("again: %v, %v", got, err)
			}
		})
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "a"}
	if got, err := trimmer(nil)(tombstone); got != tombstone || err != nil {
		t.Errorf("tombstone: %v, %v", got, err)
	}
}

func TestCachesAreTrimmed(t *testing.T) {
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a", Annotations: map[string]string{"x": "y"}},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pvc-a"},
	}
	foreign := at("foreign", "nas", "/a", "x/y")
	foreign.Labels = map[string]string{"app": "x"}
	i := started(t, claim, foreign)
	cached := append(i.ClaimInformer().GetStore().List(), i.VolumeInformer().GetStore().List()...)
	if len(cached) != 2 {
		t.Errorf("%d objects are cached", len(cached))
	}
	for _, object := range cached {
		m, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.GetAnnotations())+len(m.GetLabels()) > 0 {
			t.Errorf("%s is whole", m.GetName())
		}
	}
}

// A tenant may create any number of claims of a megabyte each. Of each a few hundred bytes are kept.
func TestLargeClaimsAreCut(t *testing.T) {
	class, mode := "nfs", v1.PersistentVolumeFilesystem
	made := func(annotations, labels map[string]string, selector *metav1.LabelSelector) *v1.PersistentVolumeClaim {
		return &v1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "team", Name: "a", UID: "1", ResourceVersion: "2", Labels: labels, Annotations: annotations, CreationTimestamp: metav1.Now(), DeletionTimestamp: new(metav1.Now()),
			},
			Spec: v1.PersistentVolumeClaimSpec{
				StorageClassName: &class, VolumeMode: &mode, Selector: selector,
				DataSourceRef: &v1.TypedObjectReference{Kind: "Backup", Name: "b"},
			},
		}
	}
	large := strings.Repeat("x", maxClaim)
	many := map[string]string{}
	for i := range 2000 {
		many[fmt.Sprint("label-", i)] = "value"
	}
	trim := trimmer(pvs.Names{ours})
	for name, claim := range map[string]*v1.PersistentVolumeClaim{
		"an annotation":       made(map[string]string{"x": large, storageProvisioner: ours, selectedNode: large, v1.BetaStorageClassAnnotation: "nfs"}, nil, nil),
		"labels":              made(map[string]string{storageProvisioner: ours, v1.BetaStorageClassAnnotation: "nfs"}, many, nil),
		"a selector":          made(map[string]string{storageProvisioner: ours, v1.BetaStorageClassAnnotation: "nfs"}, nil, &metav1.LabelSelector{MatchLabels: many}),
		"with kubectl's copy": made(map[string]string{lastApplied: large, "x": large, storageProvisioner: ours, v1.BetaStorageClassAnnotation: "nfs"}, nil, nil),
	} {
		t.Run(name, func(t *testing.T) {
			trimmed, err := trim(claim)
			if err != nil {
				t.Fatal(err)
			}
			kept := trimmed.(*v1.PersistentVolumeClaim)
			if kept.Size() > 500 {
				t.Errorf("%d bytes are kept", kept.Size())
			}
			if kept.Name != "a" || kept.UID != "1" || *kept.Spec.StorageClassName != "nfs" || kept.DeletionTimestamp == nil || kept.Spec.DataSourceRef == nil ||
				kept.Annotations[storageProvisioner] != ours || kept.Annotations[v1.BetaStorageClassAnnotation] != "nfs" || kept.Annotations[selectedNode] != "" {
				t.Errorf("it keeps %+v", kept)
			}
			if want := fmt.Sprintf("%d bytes; at most 16384 are allowed", claim.Size()); kept.Annotations[pvs.AnnotationTooLarge] != want {
				t.Errorf("it says %q", kept.Annotations[pvs.AnnotationTooLarge])
			}
		})
	}
	trimmed, err := trim(made(map[string]string{lastApplied: large, "path": "a/b"}, nil, nil))
	if kept := trimmed.(*v1.PersistentVolumeClaim); err != nil || kept.Annotations["path"] != "a/b" || kept.Annotations[lastApplied] != "" || kept.Annotations[pvs.AnnotationTooLarge] != "" {
		t.Errorf("of a claim with kubectl's copy it keeps %+v, %v", kept, err)
	}
}
