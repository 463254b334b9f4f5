// Package volume defines Volume and converts it from and to its descriptions: a claim and its
// StorageClass (FromClaim), a PersistentVolume (FromPV, PV), a record on the share (FromRecord,
// Record), and the manifests that recover a volume or restore an archive (RecoveredPV,
// RecoveredClaim, RestoringClaim). The conversions keep all fields that both sides have. The
// package neither calls the API server nor touches a file.
package volume

import (
	"path"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Annotations of PersistentVolumes and, AnnotationRestore and AnnotationRestoreCopy, of claims.
const (
	// AnnotationPath is the volume's path, relative to the share.
	AnnotationPath = pvs.AnnotationPath
	// AnnotationOnDelete is the policy; an operator may change it.
	AnnotationOnDelete = "claimdir/on-delete"
	// AnnotationArchiveRetention is how long the archive of the volume is kept, such as 30d;
	// without it, for ever. An operator may change it.
	AnnotationArchiveRetention = "claimdir/archive-retention"
	// AnnotationRestore on a claim requests the restore of an archive. Its value is the name of the
	// archived PersistentVolume, RestoreLatest or RestoreLatestOrEmpty.
	AnnotationRestore = "claimdir/restore"
	// AnnotationRestoreCopy on a claim requests a copy of an archive, which stays. Its value is the name of the
	// archived PersistentVolume or RestoreLatest.
	AnnotationRestoreCopy = pvs.AnnotationRestoreCopy
	// AnnotationRecoveredFrom is the id of the lost cluster from whose record the volume was
	// recovered.
	AnnotationRecoveredFrom = "claimdir/recovered-from"
)

// RestoreLatest is the value of AnnotationRestore that requests the newest archive of a claim of
// the same namespace and name.
const RestoreLatest = pvs.Latest

// RestoreLatestOrEmpty is RestoreLatest, but gives an empty volume if there is no such archive. It is
// for templates, whose claims are also created for the first time.
const RestoreLatestOrEmpty = "latest-or-empty"

// Volume is one directory of a share that belongs to one PersistentVolume. Not every description
// has all fields; the comments say which fields are missing.
type Volume struct {
	Name    string // of the PersistentVolume
	Claim   ledger.Claim
	Cluster string // UID of its namespace kube-system; a PersistentVolume does not have it
	Class   string

	Path volpath.Path
	// Policy is empty for a volume of another provisioner, whose class decides on release, unless an
	// administrator has annotated one.
	Policy class.Policy
	// Retention is how long the archive of the volume is kept; 0 means for ever.
	Retention     time.Duration
	ReclaimPolicy v1.PersistentVolumeReclaimPolicy

	Size         resource.Quantity
	AccessModes  []v1.PersistentVolumeAccessMode
	VolumeMode   *v1.PersistentVolumeMode // not in the record, because it always is Filesystem
	MountOptions []string

	// Mode, UID and GID are for a new directory. A PersistentVolume does not have them.
	Mode     uint32
	UID, GID *uint32

	// Adopted says that the directory existed before the volume. For our own volumes only the
	// record has it.
	Adopted bool
	// Peer says that nfs-subdir-external-provisioner or its predecessor created the volume.
	Peer bool
	// RecoveredFrom is the lost cluster from which a PersistentVolume was recovered.
	RecoveredFrom string
	// Restore is the value of AnnotationRestore, and Restores says that the claim has it. Only a
	// claim has them. Package volume does not check the value.
	Restore  string
	Restores bool
	// RestoredFrom is the path of the archive from which the directory is restored. Only the record
	// has it.
	RestoredFrom string
	// CopyOf says of what the volume is a copy. Only the record has it.
	CopyOf *ledger.Copy

	// Created is when the volume was created. A claim does not have it.
	Created time.Time
}

// Export returns the exported path of a volume, as a kubelet mounts it.
func Export(source share.Source, p volpath.Path) string {
	return path.Join(source.Path, p.String())
}
