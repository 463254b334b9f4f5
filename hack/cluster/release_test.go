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
	w.T.Helper()
	w.class(append([]string{"pathPattern", "${.PVC.namespace}/${.PVC.name}"}, parameters...)...)
	w.Claim("data")
	w.Claim("neighbour")
	pv := w.Bound("data")
	w.Bound("neighbour")
	w.put(w.Name+"/data/file", "precious")
	w.put(w.Name+"/neighbour/file", "untouched")
	w.T.Cleanup(func() { w.wantFile(w.Name+"/neighbour/file", "untouched") })
	return pv
}

func testDelete(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantEntries(w.Name, "neighbour")
	w.logged("Moved directory into the trash", w.Name+"/data")
	w.trashEmptied(w.inTrash(pv.Name))
}

// trashEmptied waits until what was in the trash is gone, with its record.
func (w *world) trashEmptied(name string) {
	w.T.Helper()
	w.Eventually(name+" is gone", func() error {
		if _, err := os.Lstat(filepath.Join(w.share, name)); !os.IsNotExist(err) {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	})
}

// A volume of many files goes as fast as an empty one; a kill while the trash is
// emptied leaves nothing behind.
func testDeleteKilled(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "TRASH_RATE=200")
	pv := w.filled("onDelete", "delete")
	for d := range 50 {
		w.Must(os.Mkdir(filepath.Join(w.share, w.Name, "data", fmt.Sprint(d)), 0o755))
		for f := range 100 {
			w.put(fmt.Sprintf("%s/data/%d/%d", w.Name, d, f), "")
		}
	}
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	left := func() bool {
		_, whole := os.Stat(filepath.Join(w.share, w.inTrash(pv.Name), "volume"))
		_, begun := os.Stat(filepath.Join(w.share, w.inTrash(pv.Name), "emptying"))
		return whole == nil || begun == nil
	}
	if !left() {
		t.Error("25 seconds' worth of files were gone at once")
	}
	w.process.Kill()
	if !left() {
		t.Error("it is gone")
	}
	w.process = w.start("TRASH_RATE=0")
	w.trashEmptied(w.inTrash(pv.Name))
}

func testArchive(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	first := w.filled() // archive is the default
	w.DeleteClaim("data")
	w.VolumeGone(first.Name)
	w.wantEntries(w.Name, "neighbour")
	archive := "archived-" + w.Name + "-data-" + first.Name
	w.wantFile(archive+"/file", "precious")
	w.wantRecord(archive, map[string]any{"state": "archived", "origin": w.Name + "/data", "pv": first.Name})

	// The same claim again, and its archive does not collide with the first.
	w.Claim("data")
	second := w.Bound("data")
	w.wantEntries(w.Name + "/data")
	w.put(w.Name+"/data/file", "second")
	w.DeleteClaim("data")
	w.VolumeGone(second.Name)
	w.wantFile(archive+"/file", "precious")
	w.wantFile("archived-"+w.Name+"-data-"+second.Name+"/file", "second")
}

func testRetain(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	first := w.filled("onDelete", "retain")
	w.DeleteClaim("data")
	w.VolumeGone(first.Name)
	w.wantFile(w.Name+"/data/file", "precious")
	w.wantRecord(w.Name+"/data", map[string]any{"state": "retained", "pv": first.Name})
	w.Claim("data")
	second := w.Bound("data")
	w.wantFile(w.Name+"/data/file", "precious")
	w.wantRecord(w.Name+"/data", map[string]any{"state": "active", "pv": second.Name})
}

func testPolicyOnVolume(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClass()
	w.class("onDelete", "delete") // still delete; the volume says otherwise
	w.patchVolume(pv.Name, `{"metadata":{"annotations":{"claimdir/on-delete":"retain"}}}`)
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantFile(w.Name+"/data/file", "precious")
}

func testVolumeFirst(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled()
	w.Must(bed.Admin.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
	w.wantFile(w.Name+"/data/file", "precious") // still bound: it only waits
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantEntries(w.Name, "neighbour")
	w.wantFile("archived-"+w.Name+"-data-"+pv.Name+"/file", "precious")
}

func testClassGone(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClass()
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantEntries(w.Name, "neighbour")
}

func testDirectoryGone(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.Must(os.RemoveAll(filepath.Join(w.share, w.Name, "data")))
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.logged("already gone, the volume is let go", w.Name+"/data")
	w.wantEntries(recordsDir, recordKey(w.Name+"/neighbour"))
}

// testRefusedVolumes: volumes with our provisioner's name on them, as an
// administrator with a mistake or an attacker with access to volumes makes
// them. Each must stay, say why, and leave the share as it is.
func testRefusedVolumes(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	real := w.filled("onDelete", "delete")
	outside := filepath.Join(filepath.Dir(w.share), "outside-"+w.Name)
	w.Must(os.Mkdir(outside, 0o755))
	w.Must(os.Mkdir(filepath.Join(w.share, "by-hand"), 0o755))
	w.put("by-hand/file", "by hand")
	data, byHand := w.Name+"/data", "by-hand"
	for i, tc := range []struct {
		server, path, annotation, policy, want string
	}{
		{"other.example.com", "/export/" + data, data, "delete", `spec.nfs.server "other.example.com": this claimdir serves "nas.example.com"`},
		{testbed.Server, "/exports/" + data, data, "delete", `"/exports/` + data + `" is not below the export "/export"`},
		{testbed.Server, "/", data, "delete", `"/" is not below the export`},
		{testbed.Server, "/export", "", "delete", `"/export" is not below the export`},
		{testbed.Server, "/export/.claimdir/records", ".claimdir/records", "delete", `\.claimdir`},
		{testbed.Server, "/export/" + w.Name + "//data", w.Name + "//data", "delete", `spec.nfs.path`},
		{testbed.Server, "/export/" + byHand, byHand, "delete", `no record on the share says that directory "by-hand" is this volume's`},
		{testbed.Server, "/export/" + data, w.Name + "/other", "delete", `annotation claimdir/path is`},
		{testbed.Server, "/export/" + data, data, "shred", `annotation claimdir/on-delete: .*"shred".*"delete", "archive" and "retain"|annotation claimdir/on-delete: .*shred.*delete.*archive.*retain`},
	} {
		name := fmt.Sprintf("%s-hostile-%d", w.Name, i)
		pv := real.DeepCopy()
		pv.ObjectMeta = metav1.ObjectMeta{Name: name, Finalizers: []string{finalizer}, Annotations: map[string]string{
			"pv.kubernetes.io/provisioned-by": w.provisioner,
		}}
		pv.Annotations["claimdir/path"], pv.Annotations["claimdir/on-delete"] = tc.annotation, tc.policy
		pv.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: w.Name, Name: "gone", UID: "00000000-0000-0000-0000-000000000000"}
		pv.Spec.NFS.Server, pv.Spec.NFS.Path = tc.server, tc.path
		_, err := bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{})
		w.Must(err)
		w.Event("default", name, `VolumeFailedDelete: .*`+tc.want)
	}
	w.wantFile(w.Name+"/data/file", "precious")
	w.wantFile("by-hand/file", "by hand")
	w.wantEntries(".", "by-hand", w.Name)
}
