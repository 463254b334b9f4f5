package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/volpath"
)

// testDoctor: as the ServiceAccount of the manifests, beside the controller.
func testDoctor(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	for _, claim := range []string{"well", "gone", "unrecorded"} {
		w.Claim(claim)
		w.Bound(claim)
	}
	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	out, err := bed.Run(t.Context(), config, "doctor")
	if err != nil || !strings.Contains(out, "Checked 1 class, 3 volumes, 3 records, 3 directories: 0 findings.") {
		t.Fatalf("%v\n%s", err, out)
	}

	w.Must(os.Remove(filepath.Join(w.share, w.Name, "gone")))
	w.Must(os.RemoveAll(filepath.Join(w.share, recordsDir, recordKey(w.Name+"/unrecorded"))))
	w.Must(os.MkdirAll(filepath.Join(w.share, w.Name, "nobodys"), 0o755))
	w.Must(os.Mkdir(filepath.Join(w.share, "lost+found"), 0o755)) // as file systems have it
	w.Must(os.Mkdir(filepath.Join(w.share, "archived-by-hand"), 0o755))
	w.Must(os.Mkdir(filepath.Join(w.share, recordsDir, "bad"), 0o700))
	w.put(recordsDir+"/bad/x@00000000.json", "{")
	w.copyRecord(w.Name+"/well", "newer", map[string]any{"layout": 3})
	w.copyRecord(w.Name+"/well", "lost", map[string]any{"pv": "pvc-lost"})
	w.copyRecord(w.Name+"/well", "half", map[string]any{"pv": "pvc-half", "state": "creating"})
	w.copyRecord(w.Name+"/well", "kept", map[string]any{"pv": "pvc-kept", "state": "retained"})
	w.copyRecord(w.Name+"/well", "archived-gone", map[string]any{"pv": "pvc-gone", "state": "archived", "origin": "gone"})
	w.copyRecord(w.Name+"/well", w.Name+"/well/deep", map[string]any{"pv": "pvc-deep", "cluster": "elsewhere"})
	w.peerClass(w.provisioner, "bad", "onDelete", "shred")
	w.peerVolume("somebody.else/"+w.Name, "inside", "none") // has its directory, which is not nobody's
	moved := w.handVolume("moved", "old.example.com", "/export/moved", w.provisioner)
	nested := w.handVolume("nested", testbed.Server, "/export/"+w.Name+"/well/nested", "")
	w.handVolume("whole", testbed.Server, "/export", "") // as claimdir's own
	gone, unrecorded := w.Bound("gone").Name, w.Bound("unrecorded").Name
	cluster := []string{"class " + w.Name + "-bad", "overlap " + nested, "volume " + moved} // what it alone can tell
	before := w.allRecords()
	report := w.doctor(config, append(cluster,
		"directory "+w.Name+"/nobodys", "overlap "+w.Name+"/well/deep",
		"record .claimdir/records", "record .claimdir/records", "record lost", "record half", "record kept", "record archived-gone",
		"volume "+gone, "volume "+unrecorded)...)
	if len(report.NotChecked) != 1 || !strings.Contains(report.NotChecked[0], "1 record of volumes of other clusters") {
		t.Errorf("it leaves out %q", report.NotChecked)
	}
	out, err = bed.Run(t.Context(), config, "doctor")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(out, "WHAT TO DO") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(fmt.Sprint("\n", out))
	if _, err = bed.Run(t.Context(), config, "doctor", "-o", "xml"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("wrong usage ends with %v", err)
	}
	if after := w.allRecords(); !slices.Equal(before, after) {
		t.Errorf("it changed the records: %q, %q", before, after)
	}

	// What it says about the lost record is right.
	w.kubectl("", "annotate", "pv", unrecorded, "claimdir/path-", "claimdir/on-delete-")
	w.process.Stop()
	w.process = w.start()
	w.Eventually("the record is written anew", func() error {
		_, err := os.Stat(filepath.Join(w.share, w.recordFile(w.Name+"/unrecorded", unrecorded)))
		return err
	})

	// From a workstation: no share, and it says how to check the rest.
	config.Share = filepath.Join(t.TempDir(), "none")
	report = w.doctor(config, cluster...)
	if len(report.NotChecked) != 1 || !strings.Contains(report.NotChecked[0], "kubectl -n claimdir exec") {
		t.Errorf("it leaves out %q", report.NotChecked)
	}
}

// doctor runs it, and compares kind and object of what it finds.
func (w *world) doctor(config testbed.Config, want ...string) (report doctor.Report) {
	w.T.Helper()
	out, err := w.bed.Run(w.T.Context(), config, "doctor", "-o", "json")
	if len(want) == 0 {
		w.Must(err)
	} else if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		w.T.Errorf("it ended with %v", err)
	}
	w.Must(json.Unmarshal([]byte(out), &report))
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Kind+" "+f.Object)
		if f.Problem == "" || f.Remedy == "" {
			w.T.Errorf("%+v", f)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.T.Errorf("found\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), out)
	}
	return report
}

// copyRecord writes the record of the volume at the path well for another path, changed
// and two hours old. It names no directory: the one at well is another.
func (w *world) copyRecord(well, path string, changes map[string]any) {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.share, w.recordOf(well)))
	w.Must(err)
	record := map[string]any{}
	w.Must(json.Unmarshal(data, &record))
	record["path"], record["created"] = path, time.Now().Add(-2*time.Hour).UTC()
	delete(record, "directory")
	maps.Copy(record, changes)
	data, err = json.Marshal(record)
	w.Must(err)
	pv, _ := record["pv"].(string)
	cluster, _ := record["cluster"].(string)
	w.Must(os.Mkdir(filepath.Join(w.share, recordsDir, recordKey(path)), 0o700))
	w.put(recordsDir+"/"+recordKey(path)+"/"+volpath.Own(pv, cluster)+".json", string(data))
}

// handVolume makes a PersistentVolume without a claim and returns its name.
func (w *world) handVolume(name, server, path, provisioner string) string {
	w.T.Helper()
	pv := handPV(w.Name+"-"+name, server, path)
	if provisioner != "" {
		pv.Annotations["pv.kubernetes.io/provisioned-by"] = provisioner
	}
	_, err := w.bed.Admin.CoreV1().PersistentVolumes().Create(w.T.Context(), pv, metav1.CreateOptions{})
	w.Must(err)
	return pv.Name
}

func handPV(name, server, path string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Capacity:                      v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimRetain,
			StorageClassName:              "by-hand",
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: path}},
		},
	}
}
