package cluster

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
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
