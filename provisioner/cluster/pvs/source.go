package pvs

import v1 "k8s.io/api/core/v1"

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
