// Package snapshots has the objects of the VolumeSnapshot API, as far as claimdir reads and writes them, a client for them, and caches
// that are there while the API is: its CRDs may come late, or never, and go again.
//
// The objects are those of github.com/kubernetes-csi/external-snapshotter/client/v8 (version v1), with the fields that matter here. A
// tenant can make VolumeSnapshots of any number and size, so the caches keep no text that is not needed.
package snapshots

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group, and APIVersion the group with the version that is used.
const (
	Group      = "snapshot.storage.k8s.io"
	APIVersion = Group + "/v1"
)

// Kinds of the objects.
const (
	KindSnapshot = "VolumeSnapshot"
	KindClass    = "VolumeSnapshotClass"
	KindContent  = "VolumeSnapshotContent"
)

// Names that the snapshot-controller and the programs beside it use.
const (
	// Finalizer keeps a VolumeSnapshotContent until its data is removed.
	Finalizer = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
	// AnnotationBeingDeleted says that the VolumeSnapshot of a VolumeSnapshotContent is being deleted.
	AnnotationBeingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// AnnotationDefaultClass marks a VolumeSnapshotClass as that of VolumeSnapshots that name none.
	AnnotationDefaultClass = "snapshot.storage.kubernetes.io/is-default-class"
	// AnnotationRetention is claimdir's, on a VolumeSnapshotContent: how long its data is kept once the object is gone.
	AnnotationRetention = "claimdir/retention"
)

// DeletionPolicy says what happens to the data of a VolumeSnapshotContent that is deleted.
type DeletionPolicy string

// The two DeletionPolicies.
const (
	Delete DeletionPolicy = "Delete"
	Retain DeletionPolicy = "Retain"
)

// ContentPrefix begins the names of VolumeSnapshotContents that are made for VolumeSnapshots of claims.
const ContentPrefix = "snapcontent-"

// ContentName is the name of the VolumeSnapshotContent of a VolumeSnapshot of a claim.
func ContentName(snapshot metav1.Object) string { return ContentPrefix + string(snapshot.GetUID()) }

// VolumeSnapshot asks for a snapshot of a claim, or names a VolumeSnapshotContent that exists.
type VolumeSnapshot struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   SnapshotSpec    `json:"spec"`
	Status *SnapshotStatus `json:"status,omitempty"`
}

// SnapshotSpec is what a VolumeSnapshot asks for.
type SnapshotSpec struct {
	Source SnapshotSource `json:"source"`
	// Class is nil until somebody has set the default one.
	Class *string `json:"volumeSnapshotClassName,omitempty"`
}

// SnapshotSource is one of the two.
type SnapshotSource struct {
	Claim   *string `json:"persistentVolumeClaimName,omitempty"`
	Content *string `json:"volumeSnapshotContentName,omitempty"`
}

// SnapshotStatus is what the snapshot-controller says of a VolumeSnapshot.
type SnapshotStatus struct {
	Content     *string            `json:"boundVolumeSnapshotContentName,omitempty"`
	Ready       *bool              `json:"readyToUse,omitempty"`
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
}

// VolumeSnapshotClass says which program makes the snapshots, and how.
type VolumeSnapshotClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Driver         string            `json:"driver"`
	Parameters     map[string]string `json:"parameters,omitempty"`
	DeletionPolicy DeletionPolicy    `json:"deletionPolicy"`
}

// VolumeSnapshotContent is a snapshot as the storage has it.
type VolumeSnapshotContent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   ContentSpec    `json:"spec"`
	Status *ContentStatus `json:"status,omitempty"`
}

// ContentSpec says whose a VolumeSnapshotContent is, and of what.
type ContentSpec struct {
	Snapshot         v1.ObjectReference       `json:"volumeSnapshotRef"`
	DeletionPolicy   DeletionPolicy           `json:"deletionPolicy"`
	Driver           string                   `json:"driver"`
	Class            *string                  `json:"volumeSnapshotClassName,omitempty"`
	Source           ContentSource            `json:"source"`
	SourceVolumeMode *v1.PersistentVolumeMode `json:"sourceVolumeMode,omitempty"`
}

// ContentSource is one of the two: a volume that is to be copied, or a snapshot that is there.
type ContentSource struct {
	VolumeHandle   *string `json:"volumeHandle,omitempty"`
	SnapshotHandle *string `json:"snapshotHandle,omitempty"`
}

// ContentStatus is what claimdir says of a snapshot.
type ContentStatus struct {
	SnapshotHandle *string `json:"snapshotHandle,omitempty"`
	CreationTime   *int64  `json:"creationTime,omitempty"` // in nanoseconds
	RestoreSize    *int64  `json:"restoreSize,omitempty"`
	Ready          *bool   `json:"readyToUse,omitempty"`
	Error          *Error  `json:"error,omitempty"`
}

// Error is why a snapshot could not be made so far.
type Error struct {
	Time    *metav1.Time `json:"time,omitempty"`
	Message *string      `json:"message,omitempty"`
}

// SnapshotList is a list of VolumeSnapshots.
type SnapshotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []VolumeSnapshot `json:"items"`
}

// ClassList is a list of VolumeSnapshotClasses.
type ClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []VolumeSnapshotClass `json:"items"`
}

// ContentList is a list of VolumeSnapshotContents.
type ContentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []VolumeSnapshotContent `json:"items"`
}

// newScheme returns a scheme that knows the objects.
func newScheme() *runtime.Scheme {
	version := schema.GroupVersion{Group: Group, Version: "v1"}
	scheme := runtime.NewScheme()
	for kind, object := range map[string]runtime.Object{
		KindSnapshot: &VolumeSnapshot{}, KindClass: &VolumeSnapshotClass{}, KindContent: &VolumeSnapshotContent{},
		KindSnapshot + "List": &SnapshotList{}, KindClass + "List": &ClassList{}, KindContent + "List": &ContentList{},
	} {
		scheme.AddKnownTypeWithName(version.WithKind(kind), object)
	}
	metav1.AddToGroupVersion(scheme, version)
	return scheme
}
