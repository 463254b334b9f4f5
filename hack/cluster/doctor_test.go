package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claimdir/hack/testbed"
	"claimdir/provisioner/doctor"
)

// testDoctor: as the ServiceAccount of the manifests, beside the controller.
func testDoctor(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	for _, claim := range []string{"well", "gone", "unrecorded", "lost"} {
		w.Claim(claim)
		w.Bound(claim)
	}
	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	out, err := bed.Run(t.Context(), config, "doctor")
	if err != nil || !strings.Contains(out, "Checked 1 classes, 4 volumes, 4 records, 4 directories: 0 findings.") {
		t.Fatalf("%v\n%s", err, out)
	}

	w.Must(os.Remove(filepath.Join(w.share, w.Name, "gone")))
	w.Must(os.Remove(filepath.Join(w.share, ".claimdir/volumes", w.Name+"%2Funrecorded.json")))
	w.Must(os.Mkdir(filepath.Join(w.share, w.Name, "nobodys"), 0o755))
	w.put(".claimdir/volumes/bad.json", "{")
	w.peerClass(w.provisioner, "bad", "onDelete", "shred")
	inside := w.peerVolume("somebody.else/"+w.Name, "inside", "none")
	before := w.entries(".claimdir/volumes")
	out, err = bed.Run(t.Context(), config, "doctor", "-o", "json")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("it ended with %v", err)
	}
	var report doctor.Report
	w.Must(json.Unmarshal([]byte(out), &report))
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Kind+" "+f.Object)
		if f.Problem == "" || f.Remedy == "" {
			t.Errorf("%+v", f)
		}
	}
	want := []string{
		"class " + w.Name + "-bad", "directory " + dirOf(inside), "directory " + w.Name + "/nobodys", "record .claimdir/volumes",
		"volume " + w.Bound("gone").Name, "volume " + w.Bound("unrecorded").Name,
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), out)
	}
	if after := w.entries(".claimdir/volumes"); !slices.Equal(before, after) {
		t.Errorf("it changed the records: %q, %q", before, after)
	}

	// From a workstation: no share, and it says how to check the rest.
	config.Share = filepath.Join(t.TempDir(), "none")
	out, err = bed.Run(t.Context(), config, "doctor")
	if err == nil || !strings.Contains(out, w.Name+"-bad") || !strings.Contains(out, "Not checked: records and directories") || !strings.Contains(out, "kubectl -n claimdir exec") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(fmt.Sprint("\n", out))
}
