package pvs

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// AnnotationRestoreCopy on a claim requests a copy of an archive, which stays. Its value is the name of the archived
// PersistentVolume or Latest.
const AnnotationRestoreCopy = "claimdir/restore-copy"

// Latest means the newest archive of a claim of the same namespace and name.
const Latest = "latest"

// snapshotGroup is the API group of VolumeSnapshot. Kubernetes leaves only this data source and
// claims to the provisioner.
const snapshotGroup = "snapshot.storage.k8s.io"

// DataSource returns the data source of the claim, or nil. The API server copies dataSource to
// dataSourceRef, but an old object may have only the former.
func DataSource(claim *v1.PersistentVolumeClaim) *v1.TypedObjectReference {
	if ref := claim.Spec.DataSourceRef; ref != nil {
		return ref
	}
	if source := claim.Spec.DataSource; source != nil {
		return &v1.TypedObjectReference{APIGroup: source.APIGroup, Kind: source.Kind, Name: source.Name}
	}
	return nil
}

// IsClaim reports whether a data source is a claim.
func IsClaim(source *v1.TypedObjectReference) bool {
	return source != nil && groupOf(source) == "" && source.Kind == "PersistentVolumeClaim"
}

// IsSnapshot reports whether a data source is a VolumeSnapshot.
func IsSnapshot(source *v1.TypedObjectReference) bool {
	return source != nil && groupOf(source) == snapshotGroup && source.Kind == "VolumeSnapshot"
}

func groupOf(source *v1.TypedObjectReference) string {
	if source.APIGroup == nil {
		return ""
	}
	return *source.APIGroup
}

// ArchiveToCopy returns the name of the PersistentVolume whose archive a claim is to be a copy of, or Latest. It is empty if the claim
// is to be a copy of none, or asks for one by a name that no PersistentVolume has.
func ArchiveToCopy(claim *v1.PersistentVolumeClaim) string {
	if name := claim.Annotations[AnnotationRestoreCopy]; len(name) <= validation.DNS1123SubdomainMaxLength {
		return name
	}
	return ""
}
