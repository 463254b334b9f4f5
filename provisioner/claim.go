package provisioner

import (
	"context"

	"claimdir/provisioner/volpath"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// snapshotGroup is the API group of VolumeSnapshot, the one data source beside
// a claim that Kubernetes leaves to the provisioner.
const snapshotGroup = "snapshot.storage.k8s.io"

// checkClaim refuses what a directory on an NFS share cannot be. Without this
// the claim would be bound to a volume that is not what it asks for.
func checkClaim(claim *v1.PersistentVolumeClaim) error {
	spec := claim.Spec
	switch source := dataSource(claim); {
	case spec.Selector != nil:
		return refuse(ReasonClaim, "spec.selector: a claim with a selector waits for an existing PersistentVolume; "+
			"remove the selector to have one made")
	case spec.VolumeMode != nil && *spec.VolumeMode != v1.PersistentVolumeFilesystem:
		return refuse(ReasonClaim, "spec.volumeMode %q: an NFS share has directories only; allowed is %q",
			*spec.VolumeMode, v1.PersistentVolumeFilesystem)
	case spec.VolumeAttributesClassName != nil && *spec.VolumeAttributesClassName != "":
		return refuse(ReasonClaim, "spec.volumeAttributesClassName %q: not supported; remove it", *spec.VolumeAttributesClassName)
	case source != nil:
		return refuse(ReasonClaim, "spec.dataSource %s %q: not supported, the volume would be empty; remove the data source",
			source.Kind, source.Name)
	}
	return nil
}

// ShouldProvision implements the library's Qualifier. It keeps off claims that
// are being deleted, and those to be filled from an object that is neither a
// claim nor a snapshot: a volume populator makes their volume; and off those of
// another Provisioner's share. It is asked for every unbound claim of the cluster
// and says no without an event.
func (p *Provisioner) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return claim.DeletionTimestamp == nil && !foreignPopulator(claim) && p.ownsClaim(claim)
}

func foreignPopulator(claim *v1.PersistentVolumeClaim) bool {
	source := dataSource(claim)
	if source == nil {
		return false
	}
	group := ""
	if source.APIGroup != nil {
		group = *source.APIGroup
	}
	isClaim := group == "" && source.Kind == "PersistentVolumeClaim"
	isSnapshot := group == snapshotGroup && source.Kind == "VolumeSnapshot"
	return !isClaim && !isSnapshot
}

// dataSource returns what the claim is to be filled from, or nil. The API
// server copies dataSource to dataSourceRef, but an old object may have one.
func dataSource(claim *v1.PersistentVolumeClaim) *v1.TypedObjectReference {
	if ref := claim.Spec.DataSourceRef; ref != nil {
		return ref
	}
	if source := claim.Spec.DataSource; source != nil {
		return &v1.TypedObjectReference{APIGroup: source.APIGroup, Kind: source.Kind, Name: source.Name}
	}
	return nil
}

func variables(o controller.ProvisionOptions) volpath.Vars {
	return volpath.Vars{
		Namespace:   o.PVC.Namespace,
		Name:        o.PVC.Name,
		UID:         string(o.PVC.UID),
		PVName:      o.PVName,
		Labels:      o.PVC.Labels,
		Annotations: o.PVC.Annotations,
	}
}

// classOfClaim also reads the annotation that old claims have in place of the
// field.
func classOfClaim(claim *v1.PersistentVolumeClaim) string {
	if name, ok := claim.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if name := claim.Spec.StorageClassName; name != nil {
		return *name
	}
	return ""
}

// classOfVolume also reads the annotation that old clusters have in place of the
// field.
func classOfVolume(pv *v1.PersistentVolume) string {
	if name, ok := pv.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	return pv.Spec.StorageClassName
}
