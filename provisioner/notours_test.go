package provisioner

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/refusal"
)

// A PersistentVolume that claimdir cannot have made is refused, and nothing on the
// share is touched. Which these are in full, package volume tests.
func TestReleaseRefusesVolumesThatAreNotOurs(t *testing.T) {
	for says, change := range map[string]func(*v1.PersistentVolume){
		"spec.nfs is missing": func(pv *v1.PersistentVolume) { pv.Spec.NFS = nil },
		"spec.nfs.server":     func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "other.example.com" },
		`element ".."`:        func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = "/export/other/../team/data" },
		"reserved name":       func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = "/export/.claimdir/records" },
		`annotation claimdir/path is "team/data", but spec.nfs.path says "team/other"`: func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = "/export/team/other" },
		"no provisioner made this volume":                                              func(pv *v1.PersistentVolume) { pv.Annotations, pv.Spec.ClaimRef = nil, nil },
		`"shred" is not allowed`:                                                       func(pv *v1.PersistentVolume) { pv.Annotations["claimdir/on-delete"] = "shred" },
	} {
		t.Run(says, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "delete")))
			w.provision(t, options("ns/other", "pvc-2", at("team/other")))
			w.Tree(t, "team/data/file", "team/other/file")
			before := w.Snapshot(t)
			change(pv)
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonVolume, true, says, "nothing was changed")
			w.Untouched(t, before)
		})
	}
}
