// Package volume has the Volume, and how one is read from and written to what
// describes it: a claim and its StorageClass (FromClaim), a PersistentVolume
// (FromPV, PV), a record on the share (FromRecord, Record), and the manifests that
// bring a volume or an archive back (RecoveredPV, RecoveredClaim, RestoringClaim).
// Each reads what the others write, as far as both have it. Nothing here asks the
// cluster or touches a file.
package volume

import (
	"path"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Annotations of PersistentVolumes and, AnnotationRestore, of claims.
const (
	// AnnotationPath is the volume's path, relative to the share.
	AnnotationPath = "claimdir/path"
	// AnnotationOnDelete is the policy; an operator may change it.
	AnnotationOnDelete = "claimdir/on-delete"
	// AnnotationArchiveRetention is how long the archive is kept that the volume
	// becomes, such as 720h; without it, for ever. An operator may change it.
	AnnotationArchiveRetention = "claimdir/archive-retention"
	// AnnotationRestore is what a claim says to get an archive back: the name of the
	// PersistentVolume that was archived, or RestoreLatest.
	AnnotationRestore = "claimdir/restore"
	// AnnotationRecoveredFrom is the id of the lost cluster whose record the volume
	// was recovered from.
	AnnotationRecoveredFrom = "claimdir/recovered-from"
)

// RestoreLatest asks, as the value of AnnotationRestore, for the newest archive of
// a claim of the same name.
const RestoreLatest = "latest"

// Volume is one directory of a share that belongs to one PersistentVolume. Not every
// description of a volume has all fields: each says which it lacks.
type Volume struct {
	Name    string // of the PersistentVolume
	Claim   ledger.Claim
	Cluster string // UID of its namespace kube-system; a PersistentVolume does not say it
	Class   string

	Path volpath.Path
	// Policy is empty for a peer's volume: the class decides when it is released.
	Policy class.Policy
	// Retention is how long the archive is kept that the volume may become; 0 is for ever.
	Retention     time.Duration
	ReclaimPolicy v1.PersistentVolumeReclaimPolicy

	Size         resource.Quantity
	AccessModes  []v1.PersistentVolumeAccessMode
	VolumeMode   *v1.PersistentVolumeMode // not on record: it is Filesystem
	MountOptions []string

	// Mode, UID and GID are those of a directory that is made; a PersistentVolume does
	// not say them.
	Mode     uint32
	UID, GID *uint32

	// Adopted: the directory was there before the volume. Of our own volumes only the
	// record says it.
	Adopted bool
	// Peer: made by nfs-subdir-external-provisioner or its predecessor.
	Peer bool
	// RecoveredFrom is the lost cluster that a PersistentVolume was recovered from.
	RecoveredFrom string
	// Restore is which archive the claim asks for, if Restores says that it asks for
	// one. The claim alone says it; an empty or wrong name is not refused here.
	Restore  string
	Restores bool
	// RestoredFrom is the path of the archive that the directory is made from. Only the
	// record says it.
	RestoredFrom string

	// Created is when the volume was made; a claim does not say it.
	Created time.Time
}

// Export is the exported path of a volume, as a kubelet mounts it.
func Export(source share.Source, p volpath.Path) string {
	return path.Join(source.Path, p.String())
}
