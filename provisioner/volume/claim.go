package volume

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
)

// Check refuses a claim that a directory on an NFS share cannot satisfy. Without it the claim would
// be bound to a volume that is not what it requests.
func Check(claim *v1.PersistentVolumeClaim) error {
	spec := claim.Spec
	switch source := pvs.DataSource(claim); {
	case claim.Annotations[pvs.AnnotationTooLarge] != "":
		return refuseClaim("the claim has %s; shorten its annotations and labels", claim.Annotations[pvs.AnnotationTooLarge])
	case spec.Selector != nil:
		return refuseClaim("spec.selector: a claim with a selector waits for an existing PersistentVolume; " +
			"remove the selector to have one created")
	case spec.VolumeMode != nil && *spec.VolumeMode != v1.PersistentVolumeFilesystem:
		return refuseClaim("spec.volumeMode %q: an NFS share has directories only; allowed is %q",
			*spec.VolumeMode, v1.PersistentVolumeFilesystem)
	case spec.VolumeAttributesClassName != nil && *spec.VolumeAttributesClassName != "":
		return refuseClaim("spec.volumeAttributesClassName %q: not supported; remove it", *spec.VolumeAttributesClassName)
	case source != nil && source.Namespace != nil && *source.Namespace != claim.Namespace: // the API server drops it unless a feature gate is on
		return refuseClaim("spec.dataSourceRef.namespace %q: only a source of the claim's own namespace can be copied; remove it", *source.Namespace)
	case len(origins(claim)) > 1:
		return refuseClaim("%s: a volume has one origin; remove all but one of them", strings.Join(origins(claim), " and "))
	case ForPopulator(claim):
		return refuseClaim("spec.dataSource %s %q: not supported, the volume would be empty; remove the data source", source.Kind, source.Name)
	}
	return nil
}

// origins names what a claim wants its content from.
func origins(claim *v1.PersistentVolumeClaim) (all []string) {
	if source := pvs.DataSource(claim); source != nil {
		all = append(all, fmt.Sprintf("spec.dataSource %s %q", source.Kind, source.Name))
	}
	for _, annotation := range []string{AnnotationRestore, AnnotationRestoreCopy} {
		if _, there := claim.Annotations[annotation]; there {
			all = append(all, "annotation "+annotation)
		}
	}
	return all
}

func refuseClaim(format string, args ...any) error {
	return refusal.Refuse(refusal.ReasonClaim, format, args...)
}

// FromClaim returns the volume, with the given name and path, that a claim requests. The caller
// sets Cluster. Created and RestoredFrom are not known yet.
func FromClaim(name string, claim *v1.PersistentVolumeClaim, sc *storagev1.StorageClass, c class.Class, p volpath.Path) Volume {
	restore, restores := claim.Annotations[AnnotationRestore]
	return Volume{
		Name:          name,
		Claim:         ledger.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: string(claim.UID)},
		Class:         sc.Name,
		Path:          p,
		Policy:        c.OnDelete,
		Retention:     c.ArchiveRetention,
		ReclaimPolicy: reclaimPolicy(sc),
		Size:          claim.Spec.Resources.Requests[v1.ResourceStorage],
		AccessModes:   claim.Spec.AccessModes,
		VolumeMode:    claim.Spec.VolumeMode,
		MountOptions:  sc.MountOptions,
		Mode:          c.Mode,
		UID:           c.UID,
		GID:           c.GID,
		Restore:       restore,
		Restores:      restores,
	}
}

func reclaimPolicy(c *storagev1.StorageClass) v1.PersistentVolumeReclaimPolicy {
	if c.ReclaimPolicy == nil {
		return v1.PersistentVolumeReclaimDelete // the default of the API server
	}
	return *c.ReclaimPolicy
}

// Vars returns the values that a pattern may use: those of the claim and the name of its volume.
func Vars(name string, claim *v1.PersistentVolumeClaim) volpath.Vars {
	return volpath.Vars{
		Namespace:   claim.Namespace,
		Name:        claim.Name,
		UID:         string(claim.UID),
		PVName:      name,
		Labels:      claim.Labels,
		Annotations: claim.Annotations,
	}
}

// ForPopulator reports whether the data source of the claim is neither a claim nor a snapshot. A
// volume populator creates the volume then.
func ForPopulator(claim *v1.PersistentVolumeClaim) bool {
	source := pvs.DataSource(claim)
	return source != nil && !pvs.IsClaim(source) && !pvs.IsSnapshot(source)
}

// ClassOfClaim returns the name of the claim's class. Old claims have it in an annotation instead
// of the field.
func ClassOfClaim(claim *v1.PersistentVolumeClaim) string {
	if name, ok := claim.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if name := claim.Spec.StorageClassName; name != nil {
		return *name
	}
	return ""
}

// ClassOfPV returns the name of the PersistentVolume's class. Old clusters have it in an annotation
// instead of the field.
func ClassOfPV(pv *v1.PersistentVolume) string {
	if name, ok := pv.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	return pv.Spec.StorageClassName
}
