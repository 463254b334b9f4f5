package volume

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/share"
)

// RecoveredPV returns the PersistentVolume that recovers the volume of a lost cluster in another
// one, served by the given provisioner. It names the claim without its UID, so that it binds to the
// recreated claim.
func (v Volume) RecoveredPV(source share.Source, provisioner string) (*v1.PersistentVolume, error) {
	v.RecoveredFrom = v.Cluster
	if v.ReclaimPolicy == "" {
		v.ReclaimPolicy = v1.PersistentVolumeReclaimRetain // loses nothing
	}
	pv, err := v.PV(source)
	if err != nil {
		return nil, err
	}
	pv.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}
	pv.Annotations[pvs.AnnotationProvisionedBy] = provisioner
	pv.Annotations[AnnotationRecoveredFrom] = v.Cluster // set even if empty: it marks a recovered volume
	pv.Spec.ClaimRef = &v1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: v.Claim.Namespace, Name: v.Claim.Name}
	pv.Spec.StorageClassName = v.Class
	return pv, nil
}

// RecoveredClaim returns the claim of the volume of a lost cluster, bound to its PersistentVolume
// by name.
func (v Volume) RecoveredClaim() *v1.PersistentVolumeClaim {
	claim := v.claim()
	claim.Spec.StorageClassName = &v.Class
	claim.Spec.VolumeName = v.Name
	return claim
}

// RestoringClaim returns a claim of the given name that restores the volume's archive, in the same
// namespace and with the same class, size and access modes.
func (v Volume) RestoringClaim(name string) *v1.PersistentVolumeClaim {
	claim := v.claim()
	claim.Name = name
	claim.Annotations = map[string]string{AnnotationRestore: v.Name}
	if v.Class != "" { // an empty name means no class, so no provisioner
		claim.Spec.StorageClassName = &v.Class
	}
	return claim
}

// claim returns the volume's claim without class and volume name.
func (v Volume) claim() *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Namespace: v.Claim.Namespace, Name: v.Claim.Name},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: v.AccessModes,
			Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: v.Size}},
		},
	}
}
