package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// TestMemoryOfManyArchives: 100,000 archives cost less than 200 MB through start, sweep and doctor. They take
// 165 to 176, as the garbage collector comes sooner or later.
func TestMemoryOfManyArchives(t *testing.T) {
	const archives, most = 100_000, 200_000_000
	w := newQuietWorld(t, begin(t))
	w.Patience = 5 * time.Minute
	w.class()
	w.process = w.start()
	w.Claim("data")
	pv := w.Bound("data")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.healthy()
	w.multiplyArchive("archived-"+pv.Annotations["claimdir/path"], archives)

	w.process = w.start("SWEEP_INTERVAL=1s")
	w.sweeps(3)
	w.healthy()
	report, doctor, err := w.bed.RunMeasured(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "doctor")
	if err != nil || !strings.Contains(report, "0 findings") {
		t.Errorf("doctor: %v\n%s", err, report)
	}
	t.Logf("%d archives: claimdir has at most %d MB resident, doctor %d MB", archives, w.process.PeakMemory()/1e6, doctor/1e6)
	if peak := max(w.process.PeakMemory(), doctor); peak > most {
		t.Errorf("that is more than %d MB", most/1_000_000)
	}
}

// TestMemoryOfLargeClaims: 1,000 pending claims of a class of somebody else, each as large as
// Kubernetes lets annotations be, cost less than 120 MB, at start and when they come.
func TestMemoryOfLargeClaims(t *testing.T) {
	const claims, most = 1000, 120_000_000
	w := newWorld(t, begin(t))
	text := strings.Repeat("x", 255<<10)
	for i := range claims {
		w.Claim(fmt.Sprintf("claim-%04d", i), clustertest.OfClass("nobody-s"), clustertest.Annotated("example.com/text", text))
	}
	w.class()
	w.Claim("last")
	w.Bound("last")
	w.healthy()
	came := w.process.PeakMemory()
	w.process = w.start()
	w.Claim("again")
	w.Bound("again")
	w.healthy()
	t.Logf("%d claims: %d MB resident at most while they come, %d MB after a start", claims, came/1e6, w.process.PeakMemory()/1e6)
	if peak := max(came, w.process.PeakMemory()); peak > most {
		t.Errorf("that is more than %d MB", most/1_000_000)
	}
}

// multiplyArchive makes n copies of an archive, with a volume and a directory of their own each.
func (w *world) multiplyArchive(archive string, n int) {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.share, w.recordOf(archive)))
	w.Must(err)
	var r ledger.Record
	w.Must(json.Unmarshal(data, &r))
	dirs, err := share.Open(w.share)
	w.Must(err)
	began := time.Now()
	for i := range n {
		copied := r
		copied.PV = fmt.Sprintf("pvc-0c6ae3b5-2a0e-4f8e-9f5e-%012d", i)
		copied.Claim.UID = strings.TrimPrefix(copied.PV, "pvc-")
		copied.Path = strings.ReplaceAll(r.Path, r.PV, copied.PV)
		copied.Origin = strings.ReplaceAll(r.Origin, r.PV, copied.PV)
		w.Must(os.Mkdir(filepath.Join(w.share, copied.Path), 0o700))
		path, err := volpath.ParseRecorded(copied.Path)
		w.Must(err)
		copied.Directory, err = dirs.Identify(path)
		w.Must(err)
		copied.Directory.Place = r.Directory.Place // only the share's own process knows it
		text, err := json.MarshalIndent(copied, "", "  ")
		w.Must(err)
		w.Must(os.Mkdir(filepath.Join(w.share, recordsDir, recordKey(copied.Path)), 0o700))
		w.put(recordsDir+"/"+recordKey(copied.Path)+"/"+volpath.Own(copied.PV, copied.Cluster)+".json", string(text))
	}
	w.T.Logf("%d archives made in %v", n, time.Since(began).Round(time.Millisecond))
}
