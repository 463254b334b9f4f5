package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// testHandOver: a volume is handed to a claim of another namespace, as people move a claim:
// while claimdir runs and while it is down. From then on the old namespace gets nothing of
// it, and the new one everything.
func testHandOver(t *testing.T, bed *testbed.Bed) {
	for _, policy := range []string{"archive", "retain", "delete"} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, down %v", policy, down), func(t *testing.T) {
				t.Parallel()
				handOver(t, bed, policy, down)
			})
		}
	}
}

func handOver(t *testing.T, bed *testbed.Bed, policy string, down bool) {
	w := newWorld(t, bed)
	path := w.Name + "-shared" // the same for claims of all namespaces
	class := w.createClass(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: w.provisioner,
		Parameters: map[string]string{"onDelete": policy, "pathPattern": path},
	})
	ofClass := clustertest.OfClass(class.Name)
	w.Claim("data")
	pv := w.Bound("data")
	w.put(path+"/secret", "of the new owner")
	other := clustertest.New(t, bed.Admin, patience, w.Poll, nil)
	if down {
		w.process.Kill()
	}

	w.patchVolume(pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	w.DeleteClaim("data")
	w.phase(pv.Name, v1.VolumeReleased)
	w.patchVolume(pv.Name, `{"spec":{"claimRef":null}}`)
	other.Claim("mine", ofClass, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = pv.Name })
	if got := other.Bound("mine").Name; got != pv.Name {
		t.Fatalf("claim mine is bound to %s", got)
	}
	w.patchVolume(pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	if !down {
		w.recordIsOf(path, other.Name, "mine")
	}
	other.DeleteClaim("mine")
	if down {
		w.phase(pv.Name, v1.VolumeReleased)
		w.process = w.start()
	}
	w.VolumeGone(pv.Name)

	archive := "archived-" + other.Name + "-mine-" + pv.Name
	switch policy {
	case "archive":
		w.wantFile(archive+"/secret", "of the new owner")
		w.recordIsOf(archive, other.Name, "mine")
		w.Claim("data", clustertest.Annotated(annRestore, pv.Name))
		w.Event(w.Name, "data", `no archive of volume "`+pv.Name+`"`)
		other.Claim("mine", ofClass, clustertest.Annotated(annRestore, pv.Name))
		other.Bound("mine")
		w.wantFile(path+"/secret", "of the new owner")
	case "retain":
		w.recordIsOf(path, other.Name, "mine")
		w.Claim("data")
		w.Event(w.Name, "data", `path "`+path+`" belongs to the volume`)
		other.Claim("mine", ofClass)
		other.Bound("mine")
		w.wantFile(path+"/secret", "of the new owner")
	case "delete":
		w.trashEmptied(w.inTrash(pv.Name))
		w.wantEntries("")
	}
	for _, message := range w.Warnings(w.Name, "data") {
		if strings.Contains(message, other.Name) || strings.Contains(message, "mine") {
			t.Errorf("the old owner reads of the new one: %s", message)
		}
	}
}

func (w *world) patchVolume(name, patch string) {
	w.T.Helper()
	_, err := w.bed.Admin.CoreV1().PersistentVolumes().Patch(w.T.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	w.Must(err)
}

func (w *world) phase(pv string, want v1.PersistentVolumePhase) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("volume %s is %s", pv, want), func() error {
		now, err := w.bed.Admin.CoreV1().PersistentVolumes().Get(w.T.Context(), pv, metav1.GetOptions{})
		if err == nil && now.Status.Phase != want {
			err = fmt.Errorf("it is %s", now.Status.Phase)
		}
		return err
	})
}

// recordIsOf waits until the record of a path names a claim.
func (w *world) recordIsOf(path, namespace, name string) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("the record of %s names %s/%s", path, namespace, name), func() error {
		data, err := os.ReadFile(filepath.Join(w.share, w.recordOf(path)))
		if err != nil {
			return err
		}
		var r struct {
			Claim struct{ Namespace, Name string }
		}
		if err := json.Unmarshal(data, &r); err != nil || r.Claim.Namespace != namespace || r.Claim.Name != name {
			return fmt.Errorf("it names %v (%w)", r.Claim, err)
		}
		return nil
	})
}

// testLost: somebody removes a PersistentVolume by force, as advice for one that is stuck
// says. Its claim is Lost, and is made again.
func testLost(t *testing.T, bed *testbed.Bed) {
	for _, policy := range []string{"archive", "retain", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bed)
			w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", policy)
			w.Claim("data")
			pv := w.Bound("data")
			w.put(w.Name+"/data/file", "precious")
			w.Must(bed.Admin.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
			w.patchVolume(pv.Name, `{"metadata":{"finalizers":null}}`)
			w.VolumeGone(pv.Name)
			w.DeleteClaim("data")
			w.claimGone("data", pv.Spec.ClaimRef.UID)
			w.Claim("data")
			w.Bound("data")
			archive := "archived-" + w.Name + "-data-" + pv.Name
			if policy == "retain" {
				w.wantFile(w.Name+"/data/file", "precious")
				return
			}
			w.wantFile(archive+"/file", "precious")
			w.wantEntries(w.Name + "/data")
			w.wantRecord(archive, map[string]any{"state": "archived", "pv": pv.Name})
			if policy == "delete" {
				w.Event("default", w.Name, "ArchivedInsteadOfDeleted: .*it is archive "+archive+" for 1h0m0s")
			}
		})
	}
}
