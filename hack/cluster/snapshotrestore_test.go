package cluster

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
	"claimdir/provisioner/volpath"
)

// restoredFrom lets a claim be restored from a VolumeSnapshot.
func restoredFrom(snapshot string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: new("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: snapshot}
	}
}

// A claim is restored from a snapshot also when the volume that this is of has changed or is gone, and the snapshot stays as
// it is. One of another namespace, one that does not exist and one that is larger is refused with an event.
func testSnapshotRestored(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	source := w.Bound("data")
	w.fill(w.directoryOf(source), 100)
	kept := t.TempDir()
	w.Must(exec.CommandContext(t.Context(), "cp", "-a", w.directoryOf(source)+"/.", kept).Run())
	w.Claim("early", restoredFrom("snap"), requesting("10Mi"))
	w.Event(w.Name, "early", `spec.dataSource: VolumeSnapshot "snap" does not exist in namespace ".*"; create it, or delete this claim`)
	w.snapshot("snap", "data", w.Name)
	_, content := w.ready("snap")
	w.Must(exec.CommandContext(t.Context(), "rm", "-rf", w.directoryOf(source)+"/many").Run())
	for _, claim := range []string{"early", "restored"} {
		if claim != "early" {
			w.DeleteClaim("data")
			w.VolumeGone(source.Name)
			w.Claim(claim, restoredFrom("snap"), requesting("10Mi"))
		}
		pv := w.Bound(claim)
		w.same(kept, w.directoryOf(pv))
		if text := pv.Annotations["claimdir/copied"]; !strings.HasPrefix(text, "snapshot data, from ") {
			t.Errorf("the PersistentVolume of claim %s says %q of the copy", claim, text)
		}
	}
	w.same(kept, w.share+"/"+w.treeOf(content.GetName()))
	w.Claim("small", restoredFrom("snap"), requesting("512Ki"))
	w.Event(w.Name, "small", `spec.resources.requests.storage 512Ki: VolumeSnapshot "snap" has 1Mi; a claim that is restored from it must request at least as much`)

	other := clustertest.New(t, bed.Admin, patience, 50*time.Millisecond, nil)
	other.Claim("thief", clustertest.OfClass(w.Name), restoredFrom("snap"), requesting("10Mi"))
	other.Event(other.Name, "thief", `spec.dataSource: VolumeSnapshot "snap" does not exist in namespace "`+other.Name)
	w.nothingCopied()
}

// The cluster is lost, and its share is not: recover prints what brings its snapshots back, and claims are restored from them. They stay
// when the objects go.
func testSnapshotRecovered(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	w.snapshot("monday", "data", w.Name)
	_, content := w.ready("monday")
	name := content.GetName()
	w.process.Kill()
	w.loseSnapshot("monday", name)
	tree := w.giveToLostCluster(name, "lost-cluster")
	w.process = w.start()

	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	if manifests, err := bed.Run(t.Context(), config, "recover", "--snapshots"); err != nil {
		t.Fatal(err)
	} else if _, err := bed.KubectlInput(t.Context(), manifests, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, manifests)
	}
	ready, again := w.ready("monday")
	if handle := field(again, "spec", "source", "snapshotHandle"); handle != w.shareID()+"/"+name+"@lost-cluster" || field(ready, "status", "restoreSize") != "1Mi" {
		t.Errorf("the handle is %s, and the status %v", handle, ready.Object["status"])
	}
	w.Claim("restored", restoredFrom("monday"))
	w.wantFile(w.dirOf("restored")+"/file", "first")
	if manifests, err := bed.Run(t.Context(), config, "recover", "--snapshots"); err != nil || strings.Contains(manifests, "\nkind: ") {
		t.Errorf("recover prints what the cluster has: %v, %s", err, manifests)
	}
	w.deleteSnapshot("monday")
	w.snapshotGone("monday")
	w.deleteContent(name)
	w.contentGone(name)
	w.wantFile(tree+"/file", "first")
	w.healthy()
}

// loseSnapshot removes a VolumeSnapshot and its content while claimdir does not run, as if they had never been.
func (w *world) loseSnapshot(name, content string) {
	w.T.Helper()
	w.deleteSnapshot(name)
	w.Eventually("the objects are gone", func() error {
		_, err := w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotcontents")).Patch(w.T.Context(), content, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if _, err := w.getContent(content); !apierrors.IsNotFound(err) {
			return errors.New("the content is there")
		}
		_, err = w.getSnapshot(name)
		return clustertest.NotFound(err)
	})
}

// giveToLostCluster makes a snapshot that of another cluster, and returns its tree.
func (w *world) giveToLostCluster(content, cluster string) (tree string) {
	w.T.Helper()
	record := w.snapshotRecord(content)
	record["cluster"] = cluster
	data, err := json.Marshal(record)
	w.Must(err)
	dir := snapshotsDir + "/" + volpath.Own(content, cluster)
	w.Must(os.Rename(filepath.Join(w.share, snapshotsDir, w.own(content)), filepath.Join(w.share, dir)))
	w.Must(os.WriteFile(filepath.Join(w.share, dir, "record.json"), data, 0o600))
	return dir + "/volume"
}
