package volume

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// maxExport is the maximum length of the exported path that a kubelet mounts: the kernel's PATH_MAX
// without its NUL.
const maxExport = 4095

// PV returns the PersistentVolume of a volume; FromPV is its inverse. The library adds the claim's
// reference, the class and the finalizer.
func (v Volume) PV(source share.Source) (*v1.PersistentVolume, error) {
	export := Export(source, v.Path)
	if len(export) > maxExport {
		return nil, refusal.Refuse(refusal.ReasonPath, "exported path of %d bytes: allowed are %d", len(export), maxExport)
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: v.Name, Annotations: v.annotations()},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: v.ReclaimPolicy,
			AccessModes:                   v.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: v.Size},
			VolumeMode:                    v.VolumeMode,
			MountOptions:                  v.MountOptions,
			PersistentVolumeSource: v1.PersistentVolumeSource{
				NFS: &v1.NFSVolumeSource{Server: source.Server, Path: export},
			},
		},
	}, nil
}

// annotations returns the annotations that FromPV reads. A volume of another provisioner has
// no path; FromPV recognises it by that. It has a policy only if an administrator annotated it.
func (v Volume) annotations() map[string]string {
	a := map[string]string{}
	if !v.Peer {
		a[AnnotationPath] = v.Path.String()
	}
	if v.Policy != "" {
		a[AnnotationOnDelete] = string(v.Policy)
	}
	if v.Retention > 0 {
		a[AnnotationArchiveRetention] = class.FormatRetention(v.Retention)
	}
	if v.RecoveredFrom != "" {
		a[AnnotationRecoveredFrom] = v.RecoveredFrom
	}
	copyAnnotations(a, v.CopyOf)
	return a
}

// hasMoved is the way out for a volume that names another address than the share.
const hasMoved = "; if the share has a new address, claimdir doctor says what to do"

// FromPV returns the volume of a PersistentVolume, or refuses it. It reads the path from the spec,
// which is immutable, and requires that the annotation has the same path.
func FromPV(source share.Source, pv *v1.PersistentVolume) (Volume, error) {
	nfs := pv.Spec.NFS
	if nfs == nil {
		return Volume{}, refusePV("spec.nfs is missing: only nfs volumes have a directory here")
	}
	if !share.SameServer(nfs.Server, source.Server) {
		return Volume{}, refusePV("spec.nfs.server %q: this claimdir serves %q"+hasMoved, nfs.Server, source.Server)
	}
	relative, inside := share.Below(source.Path, nfs.Path)
	if !inside {
		return Volume{}, refusePV("spec.nfs.path %q is not below the export %q that this claimdir serves"+hasMoved, nfs.Path, source.Path)
	}
	retention, err := class.ParseRetention(pv.Annotations[AnnotationArchiveRetention])
	if err != nil {
		return Volume{}, refusePV("annotation %s: %w", AnnotationArchiveRetention, err)
	}
	v := describedBy(pv)
	v.Retention = retention
	if annotated, ours := pv.Annotations[AnnotationPath]; ours {
		v.Path, v.Policy, err = readOurs(pv, relative, annotated)
	} else {
		v.Peer, v.Adopted = true, true
		v.Path, v.Policy, err = readPeers(pv, relative)
	}
	if err != nil {
		return Volume{}, err
	}
	return v, nil
}

// describedBy returns the fields that a PersistentVolume has beside path and policy.
func describedBy(pv *v1.PersistentVolume) Volume {
	v := Volume{
		Name:          pv.Name,
		Class:         ClassOfPV(pv),
		ReclaimPolicy: pv.Spec.PersistentVolumeReclaimPolicy,
		Size:          pv.Spec.Capacity[v1.ResourceStorage],
		AccessModes:   pv.Spec.AccessModes,
		VolumeMode:    pv.Spec.VolumeMode,
		MountOptions:  pv.Spec.MountOptions,
		RecoveredFrom: pv.Annotations[AnnotationRecoveredFrom],
		Created:       pv.CreationTimestamp.UTC(),
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		v.Claim = ledger.Claim{Namespace: ref.Namespace, Name: ref.Name, UID: string(ref.UID)}
	}
	return v
}

func readOurs(pv *v1.PersistentVolume, relative, annotated string) (volpath.Path, class.Policy, error) {
	p, err := volpath.Parse(relative)
	if err != nil {
		return volpath.Path{}, "", refusePV("spec.nfs.path %q: %w", pv.Spec.NFS.Path, err)
	}
	if annotated != relative {
		return volpath.Path{}, "", refusePV("annotation %s is %q, but spec.nfs.path says %q", AnnotationPath, annotated, relative)
	}
	value, there := pv.Annotations[AnnotationOnDelete]
	if !there {
		return volpath.Path{}, "", refusePV("annotation %s is missing; allowed are %q, %q and %q", AnnotationOnDelete, class.Delete, class.Archive, class.Retain)
	}
	policy, err := class.ParsePolicy(value)
	if err != nil {
		return volpath.Path{}, "", refusePV("annotation %s: %w", AnnotationOnDelete, err)
	}
	return p, policy, nil
}

// readPeers reads the path of a volume of another provisioner, which has no annotation of claimdir,
// and the policy if an administrator has annotated one. Such provisioners know no reserved names, so
// the directory may have the name of an archive.
func readPeers(pv *v1.PersistentVolume, relative string) (p volpath.Path, policy class.Policy, err error) {
	if pv.Spec.ClaimRef == nil {
		return p, "", refusePV("annotation %s and spec.claimRef are missing: no provisioner made this volume. "+
			"Remove the directory and the PersistentVolume by hand if they are no longer needed", AnnotationPath)
	}
	if p, err = volpath.ParseRecorded(relative); err != nil {
		return p, "", refusePV("spec.nfs.path %q: %w", pv.Spec.NFS.Path, err)
	}
	if annotated, there := pv.Annotations[AnnotationOnDelete]; there {
		if policy, err = class.ParsePolicy(annotated); err != nil {
			return p, "", refusePV("annotation %s: %w", AnnotationOnDelete, err)
		}
	}
	return p, policy, nil
}

func refusePV(format string, args ...any) error {
	return refusal.Unchanged(refusal.Refuse(refusal.ReasonVolume, format, args...))
}
