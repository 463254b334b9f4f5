package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
	"claimdir/provisioner/share"
)

// testNewAddress: the NFS server gets another name, or the export another path, while claims
// are Bound. doctor says so once, nothing is removed, and what recover --readdress prints
// gives the volumes their new address, whether claimdir runs meanwhile or not.
func testNewAddress(t *testing.T, bed *testbed.Bed) {
	for name, next := range map[string]share.Source{
		"server": {Server: "new", Path: testbed.Export},
		"path":   {Server: "old", Path: "/"}, // the earlier one lies below it
		"both":   {Server: "new", Path: "/srv/nfs"},
	} {
		for _, down := range []bool{false, true} {
			if down && name != "server" {
				continue // the others differ in what a running claimdir sees
			}
			t.Run(fmt.Sprintf("%s, down %v", name, down), func(t *testing.T) {
				t.Parallel()
				newAddress(t, bed, next, down)
			})
		}
	}
}

// testLostAndDeleted: the script breaks off between the two halves of a volume, and somebody deletes the
// claim that is Lost then. The data stays, although the policy is delete, until an administrator decides.
func testLostAndDeleted(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	old, next := share.Source{Server: "old." + w.Name, Path: "/"}, share.Source{Server: "new." + w.Name, Path: "/"}
	w.process = w.start(addressed(old)...)
	w.class("pathPattern", "${.PVC.name}", "onDelete", "delete")
	w.Claim("data")
	pv := w.Bound("data")
	w.put("data/file", "precious")
	w.process.Stop()
	w.startSweeping(next)
	script, err := bed.Run(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: addressed(next)}, "recover", "--readdress")
	w.Must(err)
	w.breakOff(script)
	w.VolumeGone(pv.Name)
	w.DeleteClaim("data")
	w.claimGone("data", pv.Spec.ClaimRef.UID)
	// The controller manager sees claims in their order: when a later one is Bound, it knows that this one is gone. Before, it may bind the volume.
	w.Claim("later")
	later := w.Bound("later")
	w.DeleteClaim("later")
	w.VolumeGone(later.Name)
	if out, err := bed.Shell(t.Context(), "exec 2>&1\n"+script, "PATIENCE=2s"); err != nil || !strings.Contains(out, "its claim was deleted. The reclaim policy stays Retain") {
		t.Fatalf("%v\n%s", err, out)
	}
	w.phase(pv.Name, v1.VolumeReleased)
	w.sweeps(3)
	w.wantFile("data/file", "precious")
	w.patchVolume(pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	w.VolumeGone(pv.Name)
	w.wantEntries("")
}

// boundVolumes are volumes with content, by their claims.
type boundVolumes map[string]*v1.PersistentVolume

func newAddress(t *testing.T, bed *testbed.Bed, next share.Source, down bool) {
	w := newQuietWorld(t, bed)
	// Servers of its own, so that no volume of another test overlaps.
	old := share.Source{Server: "old." + w.Name, Path: testbed.Export}
	next.Server += "." + w.Name
	w.process = w.start(addressed(old)...)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", "delete")
	volumes := boundVolumes{}
	for _, claim := range []string{"deleted", "archived", "retained", "released"} {
		w.Claim(claim)
		volumes[claim] = w.Bound(claim)
		w.put(w.Name+"/"+claim+"/file", "of "+claim)
	}
	// What administrators have changed since stays.
	w.patchVolume(volumes["archived"].Name, `{"metadata":{"annotations":{"claimdir/on-delete":"archive","claimdir/archive-retention":"720h"},"labels":{"tier":"gold"}}}`)
	w.patchVolume(volumes["retained"].Name, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	w.patchVolume(volumes["released"].Name, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	w.DeleteClaim("released")
	w.phase(volumes["released"].Name, v1.VolumeReleased)
	for claim, pv := range volumes {
		volumes[claim] = w.volume(pv.Name)
	}
	time.Sleep(1100 * time.Millisecond) // older than ORPHAN_GRACE
	w.process.Stop()
	config := testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: addressed(next)}
	if !down {
		w.startSweeping(next)
	}

	address := old.Server + ":" + old.Path
	report := w.doctor(config, "address "+address)
	if want := "4 volumes of " + address + ", such as "; len(report.Findings) != 1 || !strings.HasPrefix(report.Findings[0].Problem, want) || !strings.Contains(report.Findings[0].Remedy, "recover --readdress") {
		t.Errorf("%+v", report.Findings)
	}
	manifests, err := bed.Run(t.Context(), config, "recover")
	if n := strings.Count(manifests, "kind: PersistentVolume\n"); err != nil || n != 1 { // the one that is released
		t.Errorf("recover prints %d volumes of a cluster that has them, %v", n, err)
	}
	w.readdress(config, volumes, down)
	for claim, before := range volumes {
		w.wantReaddressed(claim, before, next)
	}
	if down {
		w.startSweeping(next)
	}
	w.noOrphans()
	w.releaseAll(volumes)
}

func addressed(address share.Source) []string {
	return []string{"NFS_SERVER=" + address.Server, "NFS_PATH=" + address.Path}
}

// startSweeping starts claimdir at that address, and waits until it has swept the share.
func (w *world) startSweeping(address share.Source) {
	w.T.Helper()
	w.process = w.start(append(addressed(address), "SWEEP_INTERVAL=1s", "ORPHAN_GRACE=1s")...)
	w.noOrphans()
}

// readdress runs the script: it fails in the middle, and then a second and a third time.
func (w *world) readdress(config testbed.Config, volumes boundVolumes, down bool) {
	w.T.Helper()
	script, err := w.bed.Run(w.T.Context(), config, "recover", "--readdress")
	w.Must(err)
	w.breakOff(script)
	if !down { // one PersistentVolume is gone now, and its directory needs to stay
		w.sweeps(3)
	}
	w.wantContent(volumes)
	out, err := w.bed.Shell(w.T.Context(), script)
	if err != nil || strings.Count(out, "created") != len(volumes) {
		w.T.Fatalf("%v\n%s", err, out)
	}
	out, err = w.bed.Shell(w.T.Context(), script)
	if err != nil || strings.Count(out, "has its new address already") != len(volumes) || strings.Contains(out, "created") || strings.Contains(out, "deleted") {
		w.T.Errorf("a second time: %v\n%s", err, out)
	}
	if again, err := w.bed.Run(w.T.Context(), config, "recover", "--readdress"); err != nil || strings.Contains(again, "\nreaddress '") {
		w.T.Errorf("there is something left, %v:\n%s", err, again)
	}
	w.wantContent(volumes)
	if out, err := w.bed.Run(w.T.Context(), config, "doctor"); err != nil {
		w.T.Errorf("%v\n%s", err, out)
	}
}

// breakOff runs the script until it has deleted the first PersistentVolume and cannot create it.
func (w *world) breakOff(script string) {
	w.T.Helper()
	failing := filepath.Join(w.T.TempDir(), "kubectl")
	w.Must(os.WriteFile(failing, []byte("#!/bin/sh\nif [ \"$1\" = create ]; then echo no >&2; exit 1; fi\nexec $REAL \"$@\"\n"), 0o755))
	real, err := w.bed.Shell(w.T.Context(), `printf %s "$KUBECTL"`)
	w.Must(err)
	if out, err := w.bed.Shell(w.T.Context(), script, "KUBECTL="+failing, "REAL="+real); err == nil || strings.Count(out, "deleted") != 1 {
		w.T.Fatalf("it does not stop at the first error: %v\n%s", err, out)
	}
}

func (w *world) wantContent(volumes boundVolumes) {
	w.T.Helper()
	for claim := range volumes {
		w.wantFile(w.Name+"/"+claim+"/file", "of "+claim)
	}
}

// wantReaddressed: the claim is the same, and Bound to a volume that differs in its address alone.
func (w *world) wantReaddressed(claim string, before *v1.PersistentVolume, address share.Source) {
	w.T.Helper()
	now := w.volume(before.Name)
	if claim != "released" {
		now = w.Bound(claim)
	} else {
		w.phase(before.Name, v1.VolumeReleased)
	}
	if want := filepath.Join(address.Path, w.Name, claim); now.Spec.NFS.Server != address.Server || now.Spec.NFS.Path != want || now.UID == before.UID {
		w.T.Errorf("%s has %v, want %s:%s", claim, now.Spec.NFS, address.Server, want)
	}
	now.Spec.NFS, before.Spec.NFS.Server, before.Spec.NFS.Path = before.Spec.NFS, "", ""
	before.Spec.ClaimRef.ResourceVersion, now.Spec.ClaimRef.ResourceVersion = "", ""
	now.ObjectMeta = metav1.ObjectMeta{Name: now.Name, Labels: now.Labels, Annotations: now.Annotations}
	old := metav1.ObjectMeta{Name: before.Name, Labels: before.Labels, Annotations: before.Annotations}
	if !equality.Semantic.DeepEqual(now.Spec, before.Spec) || !equality.Semantic.DeepEqual(now.ObjectMeta, old) {
		w.T.Errorf("claim %s: it is\n%+v %+v\nand was\n%+v %+v", claim, now.ObjectMeta, now.Spec, old, before.Spec)
	}
	w.Eventually(claim+" has its finalizers again", func() error { // claimdir takes its own off while the reclaim policy is Retain
		got, want := slices.Sorted(slices.Values(w.volume(before.Name).Finalizers)), slices.Sorted(slices.Values(before.Finalizers))
		if !slices.Equal(got, want) {
			return fmt.Errorf("they are %q, and were %q", got, want)
		}
		return nil
	})
}

// noOrphans waits for the end of a sweep, and wants it to count no orphans.
func (w *world) noOrphans() {
	w.T.Helper()
	w.Eventually("a sweep has ended", func() error {
		metrics, err := w.process.Get(w.T.Context(), "/metrics")
		if err != nil {
			return err
		}
		if !regexp.MustCompile(`(?m)^claimdir_orphans_last_look_timestamp_seconds\{.*\} [1-9]`).MatchString(metrics) {
			return fmt.Errorf("none has ended")
		}
		if found := regexp.MustCompile(`(?m)^claimdir_orphans\{.*\} [^0].*$`).FindString(metrics); found != "" {
			w.T.Errorf("it counts %s", found)
		}
		return nil
	})
}

// releaseAll: the volumes end as they would have at their earlier address.
func (w *world) releaseAll(volumes boundVolumes) {
	w.T.Helper()
	w.patchVolume(volumes["released"].Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	for _, claim := range []string{"deleted", "archived", "retained"} {
		w.DeleteClaim(claim)
	}
	for _, claim := range []string{"deleted", "archived", "released"} {
		w.VolumeGone(volumes[claim].Name)
	}
	w.phase(volumes["retained"].Name, v1.VolumeReleased)
	archive := "archived-" + w.Name + "-archived-" + volumes["archived"].Name
	w.wantFile(archive+"/file", "of archived")
	w.wantFile(w.Name+"/retained/file", "of retained")
	w.wantEntries("", archive, w.Name)
	w.wantEntries(w.Name, "retained")
	w.Claim("new")
	if pv := w.Bound("new"); !strings.HasSuffix(pv.Spec.NFS.Path, "/"+w.Name+"/new") {
		w.T.Errorf("a new claim has %v", pv.Spec.NFS)
	}
}
