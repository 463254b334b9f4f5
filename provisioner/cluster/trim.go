package cluster

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// trimmer returns an informer's transform that drops unused fields. Of a bound claim it keeps the
// identity, and the sizes too while its volume is being expanded; of one that waits for the volume it
// names, the identity and class; of a foreign PersistentVolume, the name and nfs source. Other objects
// lose only their managed fields. Bound claims and
// PersistentVolumes get the forms of compact.go. Otherwise the cache of a cluster of 100,000 volumes
// would take 0.8 GB.
// Unbound claims stay whole, because patterns read their labels and annotations, up to maxClaim bytes.
// A larger one, which any tenant may create, is marked with pvs.AnnotationTooLarge, and refused.
func trimmer(names pvs.Names) cache.TransformFunc {
	return func(object any) (any, error) {
		switch o := object.(type) {
		case *v1.PersistentVolumeClaim:
			if o.Spec.VolumeName == "" {
				dropManagedFields(&o.ObjectMeta)
				return small(o), nil
			}
			if o.Status.Phase == v1.ClaimBound && isExpanding(o) {
				return keepExpanding(o), nil
			}
			if o.Status.Phase == v1.ClaimBound || o.Status.Phase == v1.ClaimLost {
				return newBoundClaim(o), nil
			}
			return waiting(o), nil
		case *v1.PersistentVolume:
			return hold(o, names.Serve(o))
		case *storagev1.StorageClass:
			dropManagedFields(&o.ObjectMeta)
		}
		return object, nil // a tombstone, one that is trimmed already, or an object of an informer that is added later
	}
}

// waiting returns what is kept of a claim that names its volume and is not bound. The name may be any
// text, also a long one that no volume can have.
func waiting(claim *v1.PersistentVolumeClaim) *v1.PersistentVolumeClaim {
	const most = validation.DNS1123SubdomainMaxLength
	volume := claim.Spec.VolumeName
	if len(volume) > most {
		volume = strings.Clone(volume[:most])
	}
	kept := &v1.PersistentVolumeClaim{ObjectMeta: identity(claim.ObjectMeta), Spec: v1.PersistentVolumeClaimSpec{VolumeName: volume}}
	kept.DeletionTimestamp = claim.DeletionTimestamp
	if name := claim.Spec.StorageClassName; name != nil && len(*name) <= most {
		kept.Spec.StorageClassName = name
	}
	if name, there := claim.Annotations[v1.BetaStorageClassAnnotation]; there && len(name) <= most {
		kept.Annotations = map[string]string{v1.BetaStorageClassAnnotation: name}
	}
	return kept
}

// dropManagedFields writes nothing to an object without any, which may be another's too.
func dropManagedFields(m *metav1.ObjectMeta) {
	if m.ManagedFields != nil {
		m.ManagedFields = nil
	}
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
