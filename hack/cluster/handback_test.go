package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

const libraryFinalizer = "external-provisioner.volume.kubernetes.io/finalizer"

// testHandback: the volumes go back to the peer, which takes no finalizer off; and claimdir
// may come back.
func testHandback(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	peer := "cluster.local/" + w.Name
	old := w.peerVolume(peer, "old", w.peerClass(peer, "archives", "archiveOnDelete", "true"))
	w.process = w.start("ADDITIONAL_PROVISIONER_NAMES=" + peer)
	w.class("archiveOnDelete", "true")
	for _, claim := range []string{"made", "late"} {
		w.Claim(claim)
		w.Bound(claim)
	}
	made, late := w.Bound("made"), w.Bound("late")
	w.Eventually("all volumes have the finalizer", func() error {
		for _, pv := range []*v1.PersistentVolume{old, made, late} {
			if now := w.volume(pv.Name); !slices.Contains(now.Finalizers, libraryFinalizer) {
				return fmt.Errorf("%s has %q", pv.Name, now.Finalizers)
			}
		}
		return nil
	})

	config := testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: []string{"ADDITIONAL_PROVISIONER_NAMES=" + peer}}
	if out, err := bed.Run(t.Context(), config, "handback", "--yes"); err == nil || !strings.Contains(err.Error(), "a claimdir leads") {
		t.Errorf("beside the leader: %v\n%s", err, out)
	}
	w.healthy()
	w.DeleteClaim("late")
	w.Eventually("a volume is to be released", func() error {
		if now := w.volume(late.Name); now.Status.Phase != v1.VolumeReleased {
			return fmt.Errorf("it is %s", now.Status.Phase)
		}
		return nil
	})
	before := w.volume(made.Name)
	if _, err := bed.Run(t.Context(), config, "handback"); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("without an answer: %v", err)
	}
	if now := w.volume(made.Name); now.ResourceVersion != before.ResourceVersion {
		t.Errorf("without an answer the volume was changed: %+v", now)
	}

	out, err := bed.Run(t.Context(), config, "handback", "--yes")
	if err == nil || !strings.Contains(err.Error(), late.Name+" is left: it is to be released") || !strings.Contains(out, "Handed back 2 of 2 volumes.") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s%v", out, err)
	for pv, provisioner := range map[string]string{old.Name: peer, made.Name: w.provisioner} {
		now := w.volume(pv)
		if slices.Contains(now.Finalizers, libraryFinalizer) || !slices.Contains(now.Finalizers, "kubernetes.io/pv-protection") || now.Annotations["pv.kubernetes.io/provisioned-by"] != provisioner {
			t.Errorf("%s: finalizers %q, annotations %q", pv, now.Finalizers, now.Annotations)
		}
		for name := range now.Annotations {
			if strings.HasPrefix(name, "claimdir/") {
				t.Errorf("%s has annotation %s", pv, name)
			}
		}
	}
	if now := w.volume(late.Name); !slices.Contains(now.Finalizers, libraryFinalizer) || now.Annotations["claimdir/path"] == "" {
		t.Errorf("a volume that claimdir must release was changed: %+v", now)
	}
	w.patchVolume(late.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	if out, err := bed.Run(t.Context(), config, "handback", "--yes"); err != nil || !strings.Contains(out, "Handed back 1 of 1 volume.") {
		t.Errorf("%v\n%s", err, out)
	}

	// The peer releases one, and it goes.
	w.DeleteClaim("made")
	dir := dirOf(made)
	w.Must(os.Rename(filepath.Join(w.share, dir), filepath.Join(w.share, "archived-"+dir)))
	w.Must(bed.Admin.CoreV1().PersistentVolumes().Delete(t.Context(), made.Name, metav1.DeleteOptions{}))
	w.VolumeGone(made.Name)

	// claimdir comes back: it serves what there is, and what the peer released is no matter.
	w.process = w.start("ADDITIONAL_PROVISIONER_NAMES="+peer, "SWEEP_INTERVAL=1s", "ORPHAN_GRACE=1s")
	w.DeleteClaim("old")
	w.VolumeGone(old.Name)
	w.wantFile("archived-"+dirOf(old)+"/file", "old")
	w.Claim("new", clustertest.OfClass(w.Name))
	w.Bound("new")
	w.Eventually("the record of the volume that the peer released is gone", func() error {
		if records := w.records(); slices.Contains(records, recordKey(dir)) {
			return fmt.Errorf("there are %q", records)
		}
		return nil
	})
}

// volume reads a PersistentVolume.
func (w *world) volume(name string) *v1.PersistentVolume {
	w.T.Helper()
	pv, err := w.bed.Admin.CoreV1().PersistentVolumes().Get(w.T.Context(), name, metav1.GetOptions{})
	w.Must(err)
	return pv
}
