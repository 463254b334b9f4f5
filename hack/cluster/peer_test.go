package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// testPeerVolumes: a cluster in which the peer was replaced by claimdir under
// a name of its own. What is bound stays so; on release the peer's classes mean
// what they meant; nothing on the share is touched before.
func testPeerVolumes(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	peer := "cluster.local/" + w.Name
	archive, remove := w.peerClass(peer, "archive", "archiveOnDelete", "true"), w.peerClass(peer, "delete", "archiveOnDelete", "false")
	keeps := w.peerVolume(peer, "keeps", archive)
	goes := w.peerVolume(peer, "goes", remove)
	classless := w.peerVolume(peer, "classless", remove+"-gone")
	stays := w.peerVolume(peer, "stays", archive)
	before := w.entries(".")

	w.process = w.start("ADDITIONAL_PROVISIONER_NAMES=" + peer)
	w.logged("Took over volumes that others made", "volumes=4")
	w.wantEntries(".", before...)
	w.wantRecord(dirOf(stays), map[string]any{"state": "active", "pv": stays.Name, "class": archive})

	for claim, pv := range map[string]*v1.PersistentVolume{"keeps": keeps, "goes": goes, "classless": classless} {
		w.DeleteClaim(claim)
		w.VolumeGone(pv.Name)
	}
	w.wantFile("archived-"+dirOf(keeps)+"/file", "keeps")
	w.wantFile("archived-"+dirOf(classless)+"/file", "classless")
	w.wantFile(dirOf(stays)+"/file", "stays")
	w.wantEntries(".", "archived-"+dirOf(classless), "archived-"+dirOf(keeps), dirOf(stays))

	// The peer's class goes on serving, and no claim gets into a volume of the peer.
	w.Claim("new", clustertest.OfClass(remove))
	w.Bound("new")
	w.class("pathPattern", dirOf(stays)+"/${.PVC.name}", "onExisting", "adopt")
	w.Claim("inside")
	w.Event(w.Name, "inside", "ProvisioningFailed: .*volume "+stays.Name)
}

// testUnrecorded: the objects of another cluster are restored here, whose directories are
// on the same export and in use there. Nothing is deleted; an administrator decides.
func testUnrecorded(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("onDelete", "delete")
	w.Claim("data")
	w.Bound("data") // the share has records
	for _, decision := range []string{"retain", "archive"} {
		dir := w.Name + "-photos-" + decision
		w.Must(os.Mkdir(filepath.Join(w.share, dir), 0o777))
		w.put(dir+"/file", "in use")
		pv := w.saveVolume("pvc-"+dir, w.provisioner, w.Name, dir, v1.ObjectReference{Name: "gone", UID: "6f9619ff-8b86-d011-b42d-00cf4fc964ff"})
		w.Event("default", pv.Name, `VolumeFailedDelete: no record on the share says that directory "`+dir+`" is this volume's.*claimdir/on-delete=retain`)
		w.wantFile(dir+"/file", "in use")
		w.patchVolume(pv.Name, `{"metadata":{"annotations":{"claimdir/on-delete":"`+decision+`"}}}`)
		w.VolumeGone(pv.Name)
		if decision == "archive" {
			dir = "archived-" + w.Name + "-gone-" + pv.Name
		}
		w.wantFile(dir+"/file", "in use")
	}
}

func dirOf(pv *v1.PersistentVolume) string { return strings.TrimPrefix(pv.Spec.NFS.Path, "/export/") }

func (w *world) peerClass(provisioner, name string, parameters ...string) string {
	w.T.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name + "-" + name}, Provisioner: provisioner,
		Parameters: map[string]string{parameters[0]: parameters[1]},
	}
	return w.createClass(class).Name
}

// peerVolume makes what nfs-subdir-external-provisioner makes for a claim.
func (w *world) peerVolume(provisioner, claim, class string) *v1.PersistentVolume {
	w.T.Helper()
	pvc := w.Claim(claim, clustertest.OfClass(class), func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-" + w.Name + "-" + claim })
	dir := w.Name + "-" + claim + "-" + pvc.Spec.VolumeName
	w.Must(os.Mkdir(filepath.Join(w.share, dir), 0o777))
	w.put(dir+"/file", claim)
	w.saveVolume(pvc.Spec.VolumeName, provisioner, class, dir, v1.ObjectReference{Name: claim, UID: pvc.UID})
	return w.Bound(claim)
}

// saveVolume saves a PersistentVolume of a directory, as the peer does: for a claim of the
// world's namespace, and without annotations of claimdir.
func (w *world) saveVolume(name, provisioner, class, dir string, claim v1.ObjectReference) *v1.PersistentVolume {
	w.T.Helper()
	claim.Kind, claim.APIVersion, claim.Namespace = "PersistentVolumeClaim", "v1", w.Name
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Capacity:                      v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			ClaimRef:                      &claim,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			StorageClassName:              class,
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: testbed.Server, Path: "/export/" + dir}},
		},
	}
	saved, err := w.bed.Admin.CoreV1().PersistentVolumes().Create(w.T.Context(), pv, metav1.CreateOptions{})
	w.Must(err)
	return saved
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
