package cluster

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// trimmer returns an informer's transform that drops unused fields. A bound claim keeps its name
// and volume name, a foreign PersistentVolume its name and nfs source; all other objects lose only
// their managed fields. Otherwise the cache of a cluster of 100,000 volumes would take 0.8 GB.
// Unbound claims stay whole, because patterns read their labels and annotations, up to maxClaim bytes.
// A larger one, which any tenant may create, is marked with pvs.AnnotationTooLarge, and refused.
func trimmer(names pvs.Names) cache.TransformFunc {
	return func(object any) (any, error) {
		switch o := object.(type) {
		case *v1.PersistentVolumeClaim:
			if o.Spec.VolumeName != "" {
				return &v1.PersistentVolumeClaim{
					ObjectMeta: identity(o.ObjectMeta),
					Spec:       v1.PersistentVolumeClaimSpec{VolumeName: o.Spec.VolumeName},
				}, nil
			}
			dropManagedFields(&o.ObjectMeta)
			return small(o), nil
		case *v1.PersistentVolume:
			if !names.Serve(o) {
				return &v1.PersistentVolume{ObjectMeta: identity(o.ObjectMeta), Spec: nfsSource(o.Spec)}, nil
			}
			dropManagedFields(&o.ObjectMeta)
		case *storagev1.StorageClass:
			dropManagedFields(&o.ObjectMeta)
		}
		return object, nil // a tombstone, or an object of an informer that is added later
	}
}

// dropManagedFields writes nothing to an object without any, which may be another's too.
func dropManagedFields(m *metav1.ObjectMeta) {
	if m.ManagedFields != nil {
		m.ManagedFields = nil
	}
}

func nfsSource(spec v1.PersistentVolumeSpec) v1.PersistentVolumeSpec {
	return v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{NFS: spec.NFS}}
}

func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
}

// maxClaim is how many bytes an unbound claim may have.
const maxClaim = 16 << 10

// lastApplied is where kubectl keeps a copy of the claim, which no pattern needs.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// small returns the claim, or of a large one what the library needs to refuse it.
func small(claim *v1.PersistentVolumeClaim) *v1.PersistentVolumeClaim {
	size := claim.Size()
	if size <= maxClaim {
		return claim
	}
	if copied, there := claim.Annotations[lastApplied]; there && size-len(copied) <= maxClaim {
		claim = claim.DeepCopy()
		delete(claim.Annotations, lastApplied)
		return claim
	}
	stub := &v1.PersistentVolumeClaim{ObjectMeta: identity(claim.ObjectMeta)}
	stub.CreationTimestamp, stub.DeletionTimestamp = claim.CreationTimestamp, claim.DeletionTimestamp
	stub.Spec.StorageClassName, stub.Spec.VolumeMode = claim.Spec.StorageClassName, claim.Spec.VolumeMode
	stub.Spec.DataSource, stub.Spec.DataSourceRef = claim.Spec.DataSource, claim.Spec.DataSourceRef
	stub.Annotations = map[string]string{pvs.AnnotationTooLarge: fmt.Sprintf("%d bytes; at most %d are allowed", size, maxClaim)}
	for _, key := range []string{v1.BetaStorageClassAnnotation, storageProvisioner, betaStorageProvisioner, selectedNode} {
		if value, there := claim.Annotations[key]; there && len(value) <= validation.DNS1123SubdomainMaxLength {
			stub.Annotations[key] = value
		}
	}
	return stub
}

// Annotations by which the library knows whose a claim is.
const (
	storageProvisioner     = "volume.kubernetes.io/storage-provisioner"
	betaStorageProvisioner = "volume.beta.kubernetes.io/storage-provisioner"
	selectedNode           = "volume.kubernetes.io/selected-node"
)
