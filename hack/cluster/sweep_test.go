package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"claimdir/hack/testbed"
)

// testSweep: what nobody comes back for is removed if it is empty, and only then;
// as the ServiceAccount of the manifests.
func testSweep(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.name}")
	w.Claim("well")
	w.Bound("well")
	w.process.Stop()
	gone := map[string]any{"namespace": w.Name, "name": "gone", "uid": "gone"}
	w.copyRecord("well", "empty", map[string]any{"pv": "pvc-empty", "claim": gone})
	w.copyRecord("well", "full", map[string]any{"pv": "pvc-full", "claim": gone})
	w.copyRecord("well", "missing", map[string]any{"pv": "pvc-missing", "claim": gone, "state": "creating"})
	w.Must(os.Mkdir(filepath.Join(w.share, "empty"), 0o755))
	w.Must(os.MkdirAll(filepath.Join(w.share, "full/data"), 0o755))

	w.process = w.start("SWEEP_INTERVAL=1s")
	w.logged("Removed what was left of a volume", "empty")
	w.logged("Removed what was left of a volume", "missing")
	w.logged("Found an orphan", "full")
	w.wantEntries("", "full", "well")
	config := testbed.Config{Share: w.share, Provisioner: w.provisioner}
	out, err := bed.Run(t.Context(), config, "doctor", "--fix", "--yes")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	w.wantEntries("", "archived-"+w.Name+"-gone-pvc-full", "well")
}
