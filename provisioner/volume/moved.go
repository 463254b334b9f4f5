package volume

import (
	"cmp"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// MovedFrom returns the server and export that a PersistentVolume names, if these are an earlier
// address of the share that has the record: the record is the active one of that
// PersistentVolume in the cluster of the given id, and its path lies below the other export. The
// caller must have checked that the PersistentVolume is ours and that no other share serves it.
func MovedFrom(source share.Source, pv *v1.PersistentVolume, r ledger.Record, cluster string) (old share.Source, moved bool) {
	nfs := pv.Spec.NFS
	recoveredFrom, recovered := pv.Annotations[AnnotationRecoveredFrom]
	if nfs == nil || r.State != ledger.Active || r.PV != pv.Name || r.Cluster != cluster && (!recovered || r.Cluster != recoveredFrom) {
		return share.Source{}, false
	}
	if annotated, ours := pv.Annotations[AnnotationPath]; ours && annotated != r.Path {
		return share.Source{}, false
	}
	export, fits := strings.CutSuffix(path.Clean(nfs.Path), "/"+r.Path)
	old = share.Source{Server: nfs.Server, Path: cmp.Or(export, "/")}
	if !fits || share.SameServer(old.Server, source.Server) && old.Path == source.Path {
		return share.Source{}, false
	}
	if _, err := FromPV(source, pv); err == nil {
		return share.Source{}, false // a peer's volume that the share serves at another path
	}
	return old, true
}
