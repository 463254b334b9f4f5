package provisioner

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
)

// foreign is a PersistentVolume that an administrator made of a directory.
func (w *world) foreign(name, export string) {
	w.Seen.Foreign = append(w.Seen.Foreign, &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nfs.example.com", Path: export}}},
	})
}

// Inside somebody else's volume nothing is adopted, and a claim may still have a directory
// of its own there.
func TestNothingIsAdoptedInsideSomebodyElsesVolume(t *testing.T) {
	for name, tt := range map[string]struct {
		foreign string
		refused bool
	}{
		"right above":     {"/export/lib", true},
		"the whole share": {"/export", false}, // people look at it
		"above the share": {"/", false},
		"beside":          {"/export/li", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.foreign("secret-name", tt.foreign)
			w.Tree(t, "lib/a/file")
			before := w.Snapshot(t)
			adopting := at("lib/a", "onDelete", "delete", "onExisting", "adopt")
			_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", adopting))
			if !tt.refused {
				must(t, err)
				return
			}
			refused(t, err, refusal.ReasonTaken, false, `path "lib/a" exists inside the directory of a PersistentVolume that claimdir did not make`, "nothing was changed")
			if strings.Contains(err.Error(), "secret-name") {
				t.Errorf("it names the other volume: %v", err)
			}
			w.Untouched(t, before)
			pv := w.provision(t, options("ns/data", "pvc-2", at("lib/new", "onDelete", "delete")))
			must(t, w.Delete(t.Context(), pv))
			w.Holds(t, "lib", "lib/a", "lib/a/file")
		})
	}
}

// What was adopted before the other volume was made is not deleted.
func TestWhatWasAdoptedInsideSomebodyElsesVolumeIsNotDeleted(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			w.Tree(t, "lib/a/file")
			pv := w.provision(t, options("ns/data", "pvc-1", at("lib/a", "onDelete", policy, "onExisting", "adopt")))
			w.foreign("lib", "/export/lib")
			must(t, w.Delete(t.Context(), pv))
			must(t, w.Delete(t.Context(), pv))
			if policy == "retain" {
				w.Holds(t, "lib", "lib/a", "lib/a/file", "lib/a = pvc-1 retained")
			} else {
				const archive = "archived-ns-data-pvc-1"
				w.Holds(t, "lib", archive, archive+"/file", archive+" = pvc-1 archived")
			}
			reports := w.Reports()
			if policy != "delete" {
				if len(reports) > 0 {
					t.Errorf("reported %+v", reports)
				}
				return
			}
			if len(reports) != 1 || reports[0].Reason != steps.EventArchived || !strings.Contains(reports[0].Text, "PersistentVolume lib") || !strings.Contains(reports[0].Text, "claimdir archive purge pvc-1") {
				t.Errorf("reported %+v", reports)
			}
		})
	}
}

// A kill anywhere in that release leaves no more than one archive.
func TestAnAdoptedDirectoryInsideIsArchivedLikeAnyOther(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	everywhere(t, func(t *testing.T, w *world) func() error {
		w.Tree(t, "lib/a/file")
		pv := w.provision(t, options("ns/data", "pvc-1", at("lib/a", "onDelete", "delete", "onExisting", "adopt")))
		w.foreign("lib", "/export/lib")
		return func() error { return w.Delete(t.Context(), pv) }
	}, "lib", archive, archive+"/file", archive+" = pvc-1 archived")
}

// A peer's volume there goes as its class says.
func TestAPeersVolumeInsideIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	w.foreign("lib", "/export/lib")
	w.Seen.Classes["nfs-client"] = &storage.StorageClass{Parameters: map[string]string{"archiveOnDelete": "false"}}
	pv := w.peerVolume(t, "ns/data", "pvc-1", "lib/a")
	w.Start(t.Context())
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, "lib")
}
