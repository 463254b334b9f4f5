package output

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
)

// ClaimOf is the claim of a record as it was made: it is bound to no volume.
func ClaimOf(r ledger.Record, size resource.Quantity) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Claim.Namespace, Name: r.Claim.Name},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes:      ModesOf(r),
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: size}},
			StorageClassName: &r.Class,
		},
	}
}

// ModesOf are the access modes of a record.
func ModesOf(r ledger.Record) (modes []v1.PersistentVolumeAccessMode) {
	for _, mode := range r.AccessModes {
		modes = append(modes, v1.PersistentVolumeAccessMode(mode))
	}
	return modes
}
