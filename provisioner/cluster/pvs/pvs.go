// Package pvs holds the rules about PersistentVolumes that need no API server: which of them are
// ours, where on a share they lie, and which share files with a path. Package cluster reads them
// from the API server.
package pvs

import (
	"path"
	"slices"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/share"
)

// Annotations by which the provisioner library marks its PersistentVolumes.
const (
	AnnotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
	AnnotationMigratedTo    = "pv.kubernetes.io/migrated-to"
	// AnnotationPath is the path of a volume of claimdir, relative to the share.
	AnnotationPath = "claimdir/path"
	// AnnotationTooLarge marks, in the cache alone, a claim that is too large to be kept there. Its
	// value says how large it is.
	AnnotationTooLarge = "claimdir/too-large"
)

// Finalizer keeps a PersistentVolume until the provisioner has released its directory. All programs
// that use the provisioner library give it this name, and nfs-subdir-external-provisioner uses none.
const Finalizer = "external-provisioner.volume.kubernetes.io/finalizer"

// HasFinalizer reports whether a PersistentVolume has Finalizer.
func HasFinalizer(pv *v1.PersistentVolume) bool { return slices.Contains(pv.Finalizers, Finalizer) }

// Names are the provisioner names whose PersistentVolumes are ours.
type Names []string

// Serve reports whether a PersistentVolume is ours.
func (n Names) Serve(pv *v1.PersistentVolume) bool {
	return slices.Contains(n, pv.Annotations[AnnotationProvisionedBy]) || slices.Contains(n, pv.Annotations[AnnotationMigratedTo])
}

// Overlap reports whether a PersistentVolume shares files with an exported path of a server: its
// directory is that path, lies below it or, if the PersistentVolume is ours, lies above it. A
// foreign one above does not count: an administrator may use it to see many volumes, and nobody
// releases it.
func (n Names) Overlap(pv *v1.PersistentVolume, server, export string) bool {
	nfs := pv.Spec.NFS
	return nfs != nil && share.SameServer(nfs.Server, server) && (Within(export, nfs.Path) || n.Serve(pv) && Within(nfs.Path, export))
}

// Above reports whether a PersistentVolume is not ours and its directory lies strictly above an
// exported path of the server.
func (n Names) Above(pv *v1.PersistentVolume, server, export string) bool {
	nfs := pv.Spec.NFS
	return nfs != nil && share.SameServer(nfs.Server, server) && !n.Serve(pv) && Within(nfs.Path, export) && path.Clean(nfs.Path) != path.Clean(export)
}

// Within reports whether an absolute path is outer or lies below it.
func Within(outer, p string) bool {
	outer, p = path.Clean(outer), path.Clean(p)
	_, below := share.Below(outer, p)
	return below || p == outer
}

// On returns the path of a PersistentVolume on a share, or false if its directory
// does not lie strictly below the export.
func On(source share.Source, pv *v1.PersistentVolume) (relative string, on bool) {
	nfs := pv.Spec.NFS
	if nfs == nil || !share.SameServer(nfs.Server, source.Server) {
		return "", false
	}
	return share.Below(source.Path, path.Clean(nfs.Path))
}
