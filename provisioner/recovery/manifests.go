// Package recovery turns the records on a share back into the objects of a
// cluster: after the loss of one, the PersistentVolumes and claims that it had
// can be made again in another, and bind to the same directories. It reads the
// share and writes nothing to it.
package recovery

import (
	"path"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
)

// volumeOf is the PersistentVolume of a record. It names the claim without its
// UID, so that the claim that is made anew is the one it waits for.
func volumeOf(r ledger.Record, size resource.Quantity, source share.Source, provisionerName string) *v1.PersistentVolume {
	annotations := map[string]string{
		pvs.AnnotationProvisionedBy:         provisionerName,
		provisioner.AnnotationRecoveredFrom: r.Cluster,
	}
	if r.Policy != "" { // a volume of the peer has none: its class decides
		annotations[provisioner.AnnotationPath] = r.Path
		annotations[provisioner.AnnotationOnDelete] = r.Policy
	}
	if r.ArchiveRetention != "" {
		annotations[provisioner.AnnotationArchiveRetention] = r.ArchiveRetention
	}
	reclaim := v1.PersistentVolumeReclaimPolicy(r.ReclaimPolicy)
	if reclaim == "" {
		reclaim = v1.PersistentVolumeReclaimRetain // loses nothing
	}
	return &v1.PersistentVolume{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{Name: r.PV, Annotations: annotations},
		Spec: v1.PersistentVolumeSpec{
			AccessModes: output.ModesOf(r),
			Capacity:    v1.ResourceList{v1.ResourceStorage: size},
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: r.Claim.Namespace, Name: r.Claim.Name,
			},
			MountOptions:                  r.MountOptions,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              r.Class,
			PersistentVolumeSource: v1.PersistentVolumeSource{
				NFS: &v1.NFSVolumeSource{Server: source.Server, Path: path.Join(source.Path, r.Path)},
			},
		},
	}
}

// claimOf is the claim of a record, bound to its PersistentVolume by name.
func claimOf(r ledger.Record, size resource.Quantity) *v1.PersistentVolumeClaim {
	claim := output.ClaimOf(r, size)
	claim.Spec.VolumeName = r.PV
	return claim
}

func namespaceOf(name string) *v1.Namespace {
	return &v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// builtin reports whether every cluster has the namespace.
func builtin(namespace string) bool {
	return slices.Contains([]string{v1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, v1.NamespaceNodeLease}, namespace)
}
