package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// The objects in testdata are what nfs-subdir-external-provisioner and
// nfs-client-provisioner publish, as their users have them.

func testPeerAnnotatedClaim(t *testing.T, bed *testbed.Bed) {
	w := newPeerWorld(t, bed, "fuseim.pri/ifs")
	w.apply("class.yaml")
	w.apply("claim-by-annotation.yaml")
	pv := w.Bound("test-claim")
	w.wantEntries(".", w.Name+"-test-claim-"+pv.Name)
	w.DeleteClaim("test-claim")
	w.VolumeGone(pv.Name)
	w.wantEntries(".") // archiveOnDelete: "false" in the peer's class
}

func testPeerArchiveOnDelete(t *testing.T, bed *testbed.Bed) {
	w := newPeerWorld(t, bed, "xsky.nfs/v1")
	w.apply("class-xsky.yaml")
	w.apply("claim-xsky.yaml")
	pv := w.Bound("test-claim")
	w.put(w.Name+"-test-claim-"+pv.Name+"/file", "x")
	w.DeleteClaim("test-claim")
	w.VolumeGone(pv.Name)
	w.wantEntries(".")
}

func testPeerEnvironment(t *testing.T, bed *testbed.Bed) {
	for _, path := range []string{"/ifs/kubernetes", "/ifs/kubernetes/", "/"} {
		t.Run("NFS_PATH="+path, func(t *testing.T) {
			w := newWorld(t, bed, "NFS_SERVER=10.3.243.101", "NFS_PATH="+path, "ENABLE_LEADER_ELECTION=true")
			w.class("archiveOnDelete", "true")
			w.Claim("data")
			pv := w.Bound("data")
			dir := w.Name + "-data-" + pv.Name
			if want := strings.TrimSuffix(path, "/") + "/" + dir; pv.Spec.NFS.Path != want || pv.Spec.NFS.Server != "10.3.243.101" {
				t.Errorf("the volume is %s:%s, want 10.3.243.101:%s", pv.Spec.NFS.Server, pv.Spec.NFS.Path, want)
			}
			w.DeleteClaim("data")
			w.VolumeGone(pv.Name)
			w.wantEntries(".", "archived-"+dir) // the very name that the peer gives
		})
	}
}

func testPeerPattern(t *testing.T, bed *testbed.Bed) {
	const name = "k8s-sigs.io/nfs-subdir-external-provisioner"
	w := newPeerWorld(t, bed, name)
	w.apply("class-pattern.yaml")
	w.apply("claim-readme.yaml") // has the annotation
	w.Claim("without", clustertest.OfClass("nfs-client"))
	w.Bound("test-claim")
	without := w.Bound("without")
	fallback := w.Name + "-without-" + without.Name
	w.wantEntries(w.Name, fallback, "test-path")
	w.DeleteClaim("without")
	w.VolumeGone(without.Name)
	w.wantEntries(w.Name, "test-path") // and not the whole namespace
}

// newPeerWorld serves the provisioner name that the peer's objects have.
func newPeerWorld(t *testing.T, bed *testbed.Bed, provisioner string) *world {
	t.Helper()
	w := newQuietWorld(t, bed)
	w.provisioner = provisioner
	w.process = w.start()
	return w
}

// apply applies a file of testdata in the world's namespace.
func (w *world) apply(file string) {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	w.Must(err)
	_, err = w.bed.KubectlInput(w.T.Context(), string(data), "apply", "-n", w.Name, "-f", "-")
	w.Must(err)
}
