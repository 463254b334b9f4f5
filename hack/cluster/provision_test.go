package cluster

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

const finalizer = "external-provisioner.volume.kubernetes.io/finalizer"

func testBind(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class()
	w.Claim("data")
	pv := w.Bound("data")
	dir := w.Name + "-data-" + pv.Name
	w.wantEntries(".", dir)
	w.wantEntries(dir)
	w.wantMode(dir, 0o777)
	if want := "/export/" + dir; pv.Spec.NFS == nil || pv.Spec.NFS.Path != want || pv.Spec.NFS.Server != testbed.Server {
		t.Errorf("the volume's source is %+v, want %s:%s", pv.Spec.NFS, testbed.Server, want)
	}
	if !slices.Contains(pv.Finalizers, finalizer) {
		t.Errorf("the volume's finalizers are %q", pv.Finalizers)
	}
	w.logged("Created directory", dir)
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.healthy()
}

func testVolumeFields(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	reclaim := v1.PersistentVolumeReclaimRetain
	w.createClass(&storagev1.StorageClass{
		ObjectMeta:    metav1.ObjectMeta{Name: w.Name},
		Provisioner:   w.provisioner,
		ReclaimPolicy: &reclaim,
		MountOptions:  []string{"nfsvers=4.1", "noatime"},
		Parameters: map[string]string{
			"pathPattern": "${.PVC.namespace}/${.PVC.labels.app:-none}/${.PVC.name}",
			"onDelete":    "Retain", "mode": "2770", "uid": "1000", "gid": "2000",
		},
	})
	w.Claim("data", func(c *v1.PersistentVolumeClaim) {
		c.Labels = map[string]string{"app": "web"}
		c.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce, v1.ReadOnlyMany}
		c.Spec.Resources.Requests[v1.ResourceStorage] = resource.MustParse("3Gi")
	})
	pv := w.Bound("data")
	path := w.Name + "/web/data"
	filesystem := v1.PersistentVolumeFilesystem
	capacity := pv.Spec.Capacity[v1.ResourceStorage]
	for what, got := range map[string]bool{
		"source":         pv.Spec.NFS.Path == "/export/"+path && !pv.Spec.NFS.ReadOnly,
		"capacity":       capacity.String() == "3Gi",
		"access modes":   slices.Equal(pv.Spec.AccessModes, []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce, v1.ReadOnlyMany}),
		"volume mode":    *pv.Spec.VolumeMode == filesystem,
		"mount options":  slices.Equal(pv.Spec.MountOptions, []string{"nfsvers=4.1", "noatime"}),
		"reclaim policy": pv.Spec.PersistentVolumeReclaimPolicy == reclaim,
		"path":           pv.Annotations["claimdir/path"] == path,
		"policy":         pv.Annotations["claimdir/on-delete"] == "retain",
		"class":          pv.Spec.StorageClassName == w.Name,
		"provisioner":    pv.Annotations["pv.kubernetes.io/provisioned-by"] == w.provisioner,
	} {
		if !got {
			t.Errorf("%s is wrong in %+v", what, pv)
		}
	}
	w.wantMode(path, 0o770|fs.ModeSetgid)
	w.wantMode(w.Name, 0o745) // marked as claimdir's
	w.wantMode(w.Name+"/web", 0o745)
	w.wantRecord(path, map[string]any{"state": "active", "pv": pv.Name, "policy": "retain", "size": "3Gi", "mode": "02770"})
}

func testLateBinding(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	late := storagev1.VolumeBindingWaitForFirstConsumer
	w.createClass(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: w.provisioner, VolumeBindingMode: &late,
	})
	w.Claim("data")
	w.Eventually("the claim waits for a consumer", func() error {
		events, err := bed.Admin.CoreV1().Events(w.Name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=WaitForFirstConsumer"})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("no such event")
		}
		return err
	})
	w.wantEntries(".")
	// This is what the scheduler does; the node exists nowhere.
	patch := []byte(`{"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"node-that-nobody-knows"}}}`)
	_, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Patch(t.Context(), "data", "application/merge-patch+json", patch, metav1.PatchOptions{})
	w.Must(err)
	pv := w.Bound("data")
	if pv.Spec.NodeAffinity != nil {
		t.Errorf("the volume is tied to a node: %+v", pv.Spec.NodeAffinity)
	}
}

func testMany(t *testing.T, bed *testbed.Bed) {
	const n = 200
	w := newWorld(t, bed)
	w.class("onDelete", "delete", "pathPattern", "${.PVC.namespace}/${.PVC.name}")
	begin := time.Now()
	for i := range n {
		w.Claim(fmt.Sprintf("claim-%03d", i))
	}
	for i := range n {
		w.Bound(fmt.Sprintf("claim-%03d", i))
	}
	t.Logf("%d claims made and bound in %v, beside the other cases", n, time.Since(begin).Round(time.Millisecond))
	if got := len(w.entries(w.Name)); got != n {
		t.Errorf("%d directories for %d claims", got, n)
	}
	w.Must(bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	w.Eventually("all directories and records are gone", func() error {
		if left, records := w.entries("."), w.records(); len(left)+len(records) > 0 { // the parent, too
			return fmt.Errorf("%q, %d records", left, len(records))
		}
		return nil
	})
}

func testSamePath(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/shared", "onDelete", "delete")
	w.Claim("first")
	pv := w.Bound("first")
	w.put(w.Name+"/shared/file", "first's")
	w.Claim("second")
	w.Event(w.Name, "second", `ProvisioningFailed: .*path "`+w.Name+`/shared" belongs to the volume `+pv.Name+` of claim `+w.Name+`/first`)
	w.wantFile(w.Name+"/shared/file", "first's")
	w.DeleteClaim("first")
	w.VolumeGone(pv.Name)
	w.Bound("second")
	w.wantEntries(w.Name + "/shared")
}

func testDeletedClaim(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.class()
	w.Claim("going", func(c *v1.PersistentVolumeClaim) { c.Finalizers = []string{"test.claimdir/hold"} })
	w.DeleteClaim("going")
	w.process = w.start()
	w.Claim("staying")
	w.Bound("staying")
	for _, entry := range w.entries(".") {
		if strings.Contains(entry, "going") {
			t.Errorf("a claim that is being deleted got %s", entry)
		}
	}
	_, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Patch(t.Context(), "going", "application/merge-patch+json",
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	w.Must(err)
}

func testPopulator(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class()
	group := "populators.example.com"
	w.Claim("foreign", func(c *v1.PersistentVolumeClaim) {
		c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: &group, Kind: "Picture", Name: "x"}
	})
	w.Claim("plain")
	w.Bound("plain")
	if messages := w.Warnings(w.Name, "foreign"); len(messages) > 0 {
		t.Errorf("events on a populator's claim: %q", messages)
	}
	if entries := w.entries("."); len(entries) != 1 {
		t.Errorf("the share holds %q", entries)
	}
}

func (w *world) wantMode(path string, want fs.FileMode) {
	w.T.Helper()
	info, err := os.Stat(filepath.Join(w.share, path))
	w.Must(err)
	if got := info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky | fs.ModeSetuid); got != want {
		w.T.Errorf("%s has mode %v, want %v", path, got, want)
	}
}

// wantRecord compares fields of the record of path.
func (w *world) wantRecord(path string, want map[string]any) {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.share, w.recordOf(path)))
	w.Must(err)
	var got map[string]any
	w.Must(json.Unmarshal(data, &got))
	for field, value := range want {
		if got[field] != value {
			w.T.Errorf("record of %s: %s is %v, want %v", path, field, got[field], value)
		}
	}
}
