package provisioner

import (
	"path"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Annotations that newPV writes and readPV reads.
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

// maxExport is the kernel's PATH_MAX without its NUL, for the exported path
// that a kubelet mounts.
const maxExport = 4095

// volume is what a PersistentVolume says about its directory.
type volume struct {
	Path   volpath.Path
	Policy class.Policy // empty for a peer's
	// Retention is how long the archive is kept that it may become; 0 is for ever.
	Retention time.Duration
	Peer      bool // made by nfs-subdir-external-provisioner or its predecessor
}

// newPV is the PersistentVolume of a directory; readPV is its inverse. The
// library adds the claim's reference, the class and the finalizer.
func newPV(source share.Source, p volpath.Path, o controller.ProvisionOptions, c class.Class) (*v1.PersistentVolume, error) {
	export := exportOf(source, p)
	if len(export) > maxExport {
		return nil, refuse(ReasonPath, "exported path of %d bytes: allowed are %d", len(export), maxExport)
	}
	annotations := map[string]string{
		AnnotationPath:     p.String(),
		AnnotationOnDelete: string(c.OnDelete),
	}
	if c.ArchiveRetention > 0 {
		annotations[AnnotationArchiveRetention] = class.FormatRetention(c.ArchiveRetention)
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        o.PVName,
			Annotations: annotations,
		},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: reclaimPolicy(o.StorageClass),
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			VolumeMode:                    o.PVC.Spec.VolumeMode,
			MountOptions:                  o.StorageClass.MountOptions,
			PersistentVolumeSource: v1.PersistentVolumeSource{
				NFS: &v1.NFSVolumeSource{Server: source.Server, Path: export},
			},
		},
	}, nil
}

// exportOf is the exported path of a volume.
func exportOf(source share.Source, p volpath.Path) string {
	return path.Join(source.Path, p.String())
}

func reclaimPolicy(c *storagev1.StorageClass) v1.PersistentVolumeReclaimPolicy {
	if c.ReclaimPolicy == nil {
		return v1.PersistentVolumeReclaimDelete // what the API server sets where the class says nothing
	}
	return *c.ReclaimPolicy
}

// readPV says which directory of the share a PersistentVolume is and what is
// to become of it, or refuses it. The path comes from the spec, which cannot
// be changed, and must be the one that the annotation names.
func readPV(source share.Source, pv *v1.PersistentVolume) (volume, error) {
	nfs := pv.Spec.NFS
	if nfs == nil {
		return volume{}, refuse(ReasonVolume, "spec.nfs is missing: only nfs volumes have a directory here; nothing was touched")
	}
	if nfs.Server != source.Server {
		return volume{}, refuse(ReasonVolume, "spec.nfs.server %q: this claimdir serves %q; nothing was touched", nfs.Server, source.Server)
	}
	relative, inside := share.Below(source.Path, nfs.Path)
	if !inside {
		return volume{}, refuse(ReasonVolume, "spec.nfs.path %q is not below the export %q that this claimdir serves; nothing was touched",
			nfs.Path, source.Path)
	}
	retention, err := class.ParseRetention(pv.Annotations[AnnotationArchiveRetention])
	if err != nil {
		return volume{}, refuse(ReasonVolume, "annotation %s: %w; nothing was touched", AnnotationArchiveRetention, err)
	}
	annotated, ours := pv.Annotations[AnnotationPath]
	if !ours {
		return readPeerPV(pv, relative, retention)
	}
	p, err := volpath.Parse(relative)
	if err != nil {
		return volume{}, refuse(ReasonVolume, "spec.nfs.path %q: %w; nothing was touched", nfs.Path, err)
	}
	if annotated != relative {
		return volume{}, refuse(ReasonVolume, "annotation %s is %q, but spec.nfs.path says %q; nothing was touched", AnnotationPath, annotated, relative)
	}
	policy, err := class.ParsePolicy(pv.Annotations[AnnotationOnDelete])
	if err != nil {
		return volume{}, refuse(ReasonVolume, "annotation %s: %w; nothing was touched", AnnotationOnDelete, err)
	}
	return volume{Path: p, Policy: policy, Retention: retention}, nil
}

// readPeerPV reads what the peers write: a path and no annotation of its own.
// Their namespaces and patterns know no reserved names, so a directory of
// theirs may be called as our archives are.
func readPeerPV(pv *v1.PersistentVolume, relative string, retention time.Duration) (volume, error) {
	if pv.Spec.ClaimRef == nil {
		return volume{}, refuse(ReasonVolume, "annotation %s and spec.claimRef are missing: no provisioner made this volume; nothing was touched. "+
			"Remove the directory and the PersistentVolume by hand if they are no longer needed", AnnotationPath)
	}
	p, err := volpath.ParseRecorded(relative)
	if err != nil {
		return volume{}, refuse(ReasonVolume, "spec.nfs.path %q: %w; nothing was touched", pv.Spec.NFS.Path, err)
	}
	return volume{Path: p, Retention: retention, Peer: true}, nil
}

// PathOf returns the directory that a PersistentVolume of ours has on the share
// of source, or a *Refusal that says why it has none.
func PathOf(source share.Source, pv *v1.PersistentVolume) (volpath.Path, error) {
	vol, err := readPV(source, pv)
	return vol.Path, err
}
