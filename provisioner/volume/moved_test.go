package volume

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

func TestMovedFrom(t *testing.T) {
	type world struct {
		pv     *v1.PersistentVolume
		r      ledger.Record
		source share.Source
	}
	for name, tt := range map[string]struct {
		change func(w *world)
		want   string // server:export; empty if it has not moved
	}{
		"another server":                  {func(*world) {}, "nas:/export"},
		"another export":                  {func(w *world) { w.source = share.Source{Server: "nas", Path: "/srv/nfs"} }, "nas:/export"},
		"the export is a part of the old": {func(w *world) { w.source = share.Source{Server: "nas", Path: "/export/sub"} }, "nas:/export"},
		"the export was a part":           {func(w *world) { w.source = share.Source{Server: "nas", Path: "/"} }, "nas:/export"},
		"the export was the root": {func(w *world) {
			w.pv.Spec.NFS.Path = "/team/data"
			w.source = share.Source{Server: "nas", Path: "/export"}
		}, "nas:/"},
		"slashes": {func(w *world) { w.pv.Spec.NFS.Path = "//export//team/data/" }, "nas:/export"},
		"taken over from another provisioner": {func(w *world) {
			delete(w.pv.Annotations, AnnotationPath)
			w.pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "data"}
		}, "nas:/export"},
		"recovered here from a lost cluster": {func(w *world) {
			w.r.Cluster, w.pv.Annotations[AnnotationRecoveredFrom] = "lost", "lost"
		}, "nas:/export"},

		"nothing":                        {func(w *world) { w.source = share.Source{Server: "nas", Path: "/export"} }, ""},
		"another spelling of the server": {func(w *world) { w.source = share.Source{Server: "NAS.", Path: "/export"} }, ""},
		"a record of another volume":     {func(w *world) { w.r.PV = "pvc-2" }, ""},
		"a record of another cluster":    {func(w *world) { w.r.Cluster = "other" }, ""},
		"a retained directory":           {func(w *world) { w.r.State = ledger.Retained }, ""},
		"another path in the record":     {func(w *world) { w.r.Path = "data" }, ""},
		"another path in the annotation": {func(w *world) { w.pv.Annotations[AnnotationPath] = "data" }, ""},
		"a path that only ends like it":  {func(w *world) { w.pv.Spec.NFS.Path = "/export/xteam/data" }, ""},
		"no NFS volume":                  {func(w *world) { w.pv.Spec.NFS = nil }, ""},
		"another provisioner's, in the export": {func(w *world) {
			delete(w.pv.Annotations, AnnotationPath)
			w.pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "data"}
			w.source = share.Source{Server: "nas", Path: "/"}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{
				pv: &v1.PersistentVolume{
					ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", Annotations: map[string]string{AnnotationPath: "team/data", AnnotationOnDelete: "delete"}},
					Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/export/team/data"}}},
				},
				r:      ledger.Record{State: ledger.Active, PV: "pvc-1", Path: "team/data", Cluster: "here"},
				source: share.Source{Server: "nas2", Path: "/export"},
			}
			tt.change(w)
			old, moved := MovedFrom(w.source, w.pv, w.r, "here")
			got := ""
			if moved {
				got = old.Server + ":" + old.Path
			}
			if got != tt.want {
				t.Errorf("moved from %q, want %q", got, tt.want)
			}
		})
	}
}
