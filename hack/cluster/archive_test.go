package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

const annRestore = "claimdir/restore"

// released makes a claim with a file in its volume and deletes it, and returns
// the volume's name.
func (w *world) released(name, text string) (pv string) {
	w.T.Helper()
	w.Claim(name)
	pv = w.Bound(name).Name
	w.put(w.Name+"/"+name+"/file", text)
	w.DeleteClaim(name)
	w.VolumeGone(pv)
	return pv
}

// testRestore: a claim gets an archive of its namespace back, by its name and as
// the latest; of two that ask for one archive one gets it.
func testRestore(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	first := w.released("data", "first")
	second := w.released("data", "second")
	w.Claim("data", clustertest.Annotated(annRestore, "latest"))
	w.Bound("data")
	w.wantFile(w.Name+"/data/file", "second")
	w.wantRecord(w.Name+"/data", map[string]any{"state": "active", "restoredFrom": "archived-" + w.Name + "-data-" + second})

	claims := []string{"one", "two"}
	for _, name := range claims {
		w.Claim(name, clustertest.Annotated(annRestore, first))
	}
	winner := w.oneBound(claims)
	loser := map[string]string{"one": "two", "two": "one"}[winner]
	w.wantFile(w.Name+"/"+winner+"/file", "first")
	w.Event(w.Name, loser, `ProvisioningFailed: .*(no archive of volume "`+first+`"|is not there)`)

	other := clustertest.New(t, bed.Admin, patience, w.Poll, nil)
	other.Claim("thief", clustertest.Annotated(annRestore, first), clustertest.OfClass(w.Name))
	other.Event(other.Name, "thief", `no archive of volume "`+first+`"`)
}

// testReplace: a claim is deleted and made anew in the same moment, as kubectl
// replace --force does, so that Kubernetes is still to call the old volume Released.
func testReplace(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class()
	w.Claim("data")
	for _, round := range []string{"1", "2", "3"} {
		pv := w.Bound("data")
		path := pv.Annotations["claimdir/path"]
		if round != "1" {
			w.wantFile(path+"/round-before", round)
		}
		w.put(path+"/round-before", string(round[0]+1))
		w.DeleteClaim("data")
		w.claimGone("data", pv.Spec.ClaimRef.UID)
		w.Claim("data", clustertest.Annotated(annRestore, "latest"), clustertest.Annotated("volume.kubernetes.io/storage-provisioner", w.provisioner))
	}
}

// claimGone waits, without a pause, until a claim is not there any more.
func (w *world) claimGone(name string, uid types.UID) {
	w.T.Helper()
	for {
		claim, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && claim.UID != uid {
			return
		}
		w.Must(err)
	}
}

// oneBound waits until one of the claims is Bound, and returns its name.
func (w *world) oneBound(names []string) (bound string) {
	w.T.Helper()
	w.Eventually("one of the claims is Bound", func() error {
		for _, name := range names {
			claim, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if claim.Status.Phase == v1.ClaimBound {
				bound = name
				return nil
			}
		}
		return errors.New("none is")
	})
	return bound
}

// testRetention: an archive goes into the trash when its time, which the volume
// says, is over.
func testRetention(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "archiveRetention", "30d")
	kept := w.released("kept", "kept")
	w.Claim("data")
	pv := w.Bound("data")
	if got := pv.Annotations["claimdir/archive-retention"]; got != "720h" {
		t.Errorf("the volume's retention is %q", got)
	}
	w.patchVolume(pv.Name, `{"metadata":{"annotations":{"claimdir/archive-retention":"1s"}}}`)
	w.put(w.Name+"/data/file", "short-lived")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.logged("Archive expired, moved it into the trash", pv.Name)
	w.trashEmptied(w.inTrash(pv.Name))
	w.wantFile("archived-"+w.Name+"-kept-"+kept+"/file", "kept")
	w.wantEntries(recordsDir, "archived-"+w.Name+"-kept-"+kept)
}

// testObjectsBack: a volume and its claim come back after the release, as from a backup of
// the cluster. The archive, which is all the data that they have, does not expire, and
// doctor puts it back.
func testObjectsBack(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "archiveRetention", "1s")
	w.Claim("data")
	pv := w.Bound("data")
	w.put(w.Name+"/data/file", "precious")
	w.process.Kill() // nobody expires the archive before the objects are back
	w.DeleteClaim("data")
	w.phase(pv.Name, v1.VolumeReleased)
	w.patchVolume(pv.Name, `{"metadata":{"annotations":{"claimdir/archive-retention":"2h"}}}`)
	w.process = w.start()
	w.VolumeGone(pv.Name)
	archive := "archived-" + w.Name + "-data-" + pv.Name
	w.wantFile(archive+"/file", "precious")

	w.backAgain("data", pv)
	w.expireNow(archive)
	w.process.Kill()
	w.process = w.start() // reads the record anew
	w.Event("default", w.Name, `ArchiveNotEnded: .*PersistentVolume `+pv.Name+` exists again, and archive `+archive+` may be all its data`)
	w.wantFile(archive+"/file", "precious")

	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	out, err := bed.Run(t.Context(), config, "doctor")
	if err == nil || !strings.Contains(out, `its archive lies at "`+archive+`"`) {
		t.Errorf("doctor says %v:\n%s", err, out)
	}
	if out, err := bed.Run(t.Context(), config, "archive", "purge", pv.Name, "--yes"); err == nil || !strings.Contains(err.Error(), "PersistentVolume "+pv.Name+" exists again") {
		t.Errorf("archive purge says %v:\n%s", err, out)
	}
	w.wantFile(archive+"/file", "precious")
	if out, err := bed.Run(t.Context(), config, "doctor", "--fix", "--yes"); err != nil {
		t.Errorf("doctor --fix says %v:\n%s", err, out)
	}
	w.wantFile(w.Name+"/data/file", "precious")
	w.wantRecord(w.Name+"/data", map[string]any{"state": "active", "pv": pv.Name})
	w.wantEntries(recordsDir, recordKey(w.Name+"/data"))
}

// backAgain makes the objects of a claim and its volume anew, as a backup of the cluster has them.
func (w *world) backAgain(name string, pv *v1.PersistentVolume) {
	w.T.Helper()
	claim := w.Claim(name, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = pv.Name })
	back := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pv.Name, Annotations: pv.Annotations}, Spec: pv.Spec}
	back.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: w.Name, Name: name, UID: claim.UID}
	_, err := w.bed.Admin.CoreV1().PersistentVolumes().Create(w.T.Context(), back, metav1.CreateOptions{})
	w.Must(err)
	w.Bound(name)
}

// testTrashBack: the same for a volume that was to be deleted, whose directory is still in the
// trash: it is not emptied while the volume is there, and doctor puts it back. In the end the volume is
// released again, and goes as any other.
func testTrashBack(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "TRASH_RATE=1")
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", "delete")
	volumes := map[string]*v1.PersistentVolume{}
	for _, name := range []string{"slow", "data"} {
		w.Claim(name)
		volumes[name] = w.Bound(name)
		w.put(w.Name+"/"+name+"/file", "precious")
	}
	for i := range 200 { // at one file a second nobody else gets a turn meanwhile
		w.put(fmt.Sprintf("%s/slow/%d", w.Name, i), "")
	}
	w.DeleteClaim("slow")
	w.VolumeGone(volumes["slow"].Name)
	w.Eventually("the trash is being emptied of the first", func() error {
		_, err := os.Stat(filepath.Join(w.share, w.inTrash(volumes["slow"].Name), "emptying"))
		return err
	})
	w.DeleteClaim("data")
	pv := volumes["data"]
	w.VolumeGone(pv.Name)
	w.process.Kill()
	inTrash := w.inTrash(pv.Name)
	w.wantFile(inTrash+"/volume/file", "precious")

	w.backAgain("data", pv)
	w.backAgain("slow", volumes["slow"])
	w.process = w.start()
	w.Event("default", w.Name, `TrashNotEmptied: .*PersistentVolume `+pv.Name+` exists again, and this may be all its data: claimdir doctor --fix puts it back`)
	w.Event("default", w.Name, `TrashNotEmptied: .*PersistentVolume `+volumes["slow"].Name+` exists again, and this is what is left of its data`)
	w.wantFile(inTrash+"/volume/file", "precious")

	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	report := w.doctor(config, "volume "+pv.Name, "volume "+volumes["slow"].Name)
	for _, f := range report.Findings {
		if data := f.Object == pv.Name; data != (f.Fix != "") || !strings.Contains(f.Problem, trashDir) {
			t.Errorf("doctor says %+v", f)
		}
	}
	if out, err := bed.Run(t.Context(), config, "doctor", "--fix", "--yes"); err == nil || !strings.Contains(err.Error(), "doctor found 1 problem") || !strings.Contains(err.Error(), "put the directory back from the trash") {
		t.Errorf("doctor --fix says %v:\n%s", err, out) // the other one is left
	}
	w.wantFile(w.Name+"/data/file", "precious")
	w.wantRecord(w.Name+"/data", map[string]any{"state": "active", "pv": pv.Name})

	for _, name := range []string{"data", "slow"} {
		w.DeleteClaim(name)
		w.VolumeGone(volumes[name].Name)
	}
	w.process.Kill()
	w.process = w.start() // what waits before the next try is tried at once
	w.Eventually("the trash is empty", func() error {
		if left := w.entries(trashDir); len(left) > 0 {
			return fmt.Errorf("it holds %q", left)
		}
		return nil
	})
	w.wantEntries(recordsDir)
}

// expireNow lets an archive expire at once.
func (w *world) expireNow(archive string) {
	w.T.Helper()
	file := filepath.Join(w.share, w.recordOf(archive))
	data, err := os.ReadFile(file)
	w.Must(err)
	past := regexp.MustCompile(`"until": "[^"]*"`).ReplaceAll(data, []byte(`"until": "`+time.Now().UTC().Add(-time.Second).Format(time.RFC3339)+`"`))
	w.Must(os.WriteFile(file, past, 0o600))
}
