package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// filled makes a claim with a file in its volume and a neighbour that nothing
// may happen to.
func (w *world) filled(parameters ...string) *v1.PersistentVolume {
	w.t.Helper()
	w.class(append([]string{"pathPattern", "${.PVC.namespace}/${.PVC.name}"}, parameters...)...)
	w.claim("data")
	w.claim("neighbour")
	pv := w.bound("data")
	w.bound("neighbour")
	w.put(w.name+"/data/file", "precious")
	w.put(w.name+"/neighbour/file", "untouched")
	w.t.Cleanup(func() { w.wantFile(w.name+"/neighbour/file", "untouched") })
	return pv
}

func testDelete(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	w.wantEntries(w.name, "neighbour")
	w.logged("Removed directory", w.name+"/data")
}

func testArchive(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	first := w.filled() // archive is the default
	w.deleteClaim("data")
	w.volumeGone(first.Name)
	w.wantEntries(w.name, "neighbour")
	archive := "archived-" + w.name + "-data-" + first.Name
	w.wantFile(archive+"/file", "precious")
	w.wantRecord(archive, map[string]any{"state": "archived", "origin": w.name + "/data", "pv": first.Name})

	// The same claim again, and its archive does not collide with the first.
	w.claim("data")
	second := w.bound("data")
	w.wantEntries(w.name + "/data")
	w.put(w.name+"/data/file", "second")
	w.deleteClaim("data")
	w.volumeGone(second.Name)
	w.wantFile(archive+"/file", "precious")
	w.wantFile("archived-"+w.name+"-data-"+second.Name+"/file", "second")
}

func testRetain(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	first := w.filled("onDelete", "retain")
	w.deleteClaim("data")
	w.volumeGone(first.Name)
	w.wantFile(w.name+"/data/file", "precious")
	w.wantRecord(w.name+"/data", map[string]any{"state": "retained", "pv": first.Name})
	w.claim("data")
	second := w.bound("data")
	w.wantFile(w.name+"/data/file", "precious")
	w.wantRecord(w.name+"/data", map[string]any{"state": "active", "pv": second.Name})
}

func testPolicyOnVolume(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClass()
	w.class("onDelete", "delete") // still delete; the volume says otherwise
	_, err := bed.Admin.CoreV1().PersistentVolumes().Patch(t.Context(), pv.Name, "application/merge-patch+json",
		[]byte(`{"metadata":{"annotations":{"claimdir/on-delete":"retain"}}}`), metav1.PatchOptions{})
	w.must(err)
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	w.wantFile(w.name+"/data/file", "precious")
}

func testVolumeFirst(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled()
	w.must(bed.Admin.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
	w.wantFile(w.name+"/data/file", "precious") // still bound: it only waits
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	w.wantEntries(w.name, "neighbour")
	w.wantFile("archived-"+w.name+"-data-"+pv.Name+"/file", "precious")
}

func testClassGone(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClass()
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	w.wantEntries(w.name, "neighbour")
}

func testDirectoryGone(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.must(os.RemoveAll(filepath.Join(w.share, w.name, "data")))
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	w.logged("already gone, the volume is let go", w.name+"/data")
	w.wantEntries(".claimdir/volumes", w.name+"%2Fneighbour.json")
}

// testRefusedVolumes: volumes with our provisioner's name on them, as an
// administrator with a mistake or an attacker with access to volumes makes
// them. Each must stay, say why, and leave the share as it is.
func testRefusedVolumes(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	real := w.filled("onDelete", "delete")
	outside := filepath.Join(filepath.Dir(w.share), "outside-"+w.name)
	w.must(os.Mkdir(outside, 0o755))
	w.must(os.Mkdir(filepath.Join(w.share, "by-hand"), 0o755))
	w.put("by-hand/file", "by hand")
	data, byHand := w.name+"/data", "by-hand"
	for i, tc := range []struct {
		server, path, annotation, policy, want string
	}{
		{"other.example.com", "/export/" + data, data, "delete", `spec.nfs.server "other.example.com": this claimdir serves "nas.example.com"`},
		{testbed.Server, "/exports/" + data, data, "delete", `"/exports/` + data + `" is not below the export "/export"`},
		{testbed.Server, "/", data, "delete", `"/" is not below the export`},
		{testbed.Server, "/export", "", "delete", `"/export" is not below the export`},
		{testbed.Server, "/export/.claimdir/volumes", ".claimdir/volumes", "delete", `\.claimdir`},
		{testbed.Server, "/export/" + w.name + "//data", w.name + "//data", "delete", `spec.nfs.path`},
		{testbed.Server, "/export/" + byHand, byHand, "delete", `no record on the share says that directory "by-hand" is this volume's`},
		{testbed.Server, "/export/" + data, w.name + "/other", "delete", `annotation claimdir/path is`},
		{testbed.Server, "/export/" + data, data, "shred", `annotation claimdir/on-delete: .*"shred".*"delete", "archive" and "retain"|annotation claimdir/on-delete: .*shred.*delete.*archive.*retain`},
		{testbed.Server, "/export/" + byHand, "", "", `annotation claimdir/path is missing: claimdir did not make this volume`},
	} {
		name := fmt.Sprintf("%s-hostile-%d", w.name, i)
		pv := real.DeepCopy()
		pv.ObjectMeta = metav1.ObjectMeta{Name: name, Finalizers: []string{finalizer}, Annotations: map[string]string{
			"pv.kubernetes.io/provisioned-by": w.provisioner,
		}}
		if tc.policy != "" {
			pv.Annotations["claimdir/path"], pv.Annotations["claimdir/on-delete"] = tc.annotation, tc.policy
		}
		pv.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: w.name, Name: "gone", UID: "00000000-0000-0000-0000-000000000000"}
		pv.Spec.NFS.Server, pv.Spec.NFS.Path = tc.server, tc.path
		_, err := bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{})
		w.must(err)
		w.event("default", name, `VolumeFailedDelete: .*`+tc.want)
	}
	w.wantFile(w.name+"/data/file", "precious")
	w.wantFile("by-hand/file", "by hand")
	w.wantEntries(".", "by-hand", w.name)
}
