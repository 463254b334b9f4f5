package sweep

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// copying makes the record of a copy of the volume pvc-0.
func copying(r *ledger.Record) {
	r.Layout = 3
	r.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim, Path: "source", PV: "pvc-0", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "source", UID: "uid-pvc-0"}}
}

// staged makes what a copy has written, and returns its own name.
func (w *world) staged(t *testing.T, pv, cluster, path string) string {
	t.Helper()
	own := volpath.OwnAt(pv, cluster, sharetest.PathOf(t, path))
	w.Tree(t, ".claimdir/copies/"+own+"/tree/file")
	return own
}

// copies are the names for which something is copied.
func (w *world) copies(t *testing.T) []string {
	t.Helper()
	names, err := w.Store(t).Dirs.ListCopies()
	must(t, err)
	return names
}

func TestACopyWithoutARecordGoesIntoTheTrash(t *testing.T) {
	w := newWorld(t, 0)
	stray := w.staged(t, "pvc-1", sharetest.Cluster, "a")
	w.claim(t, "data", "pvc-2")
	w.record(t, ledger.Creating, "pvc-2", "b", copying)
	here := w.staged(t, "pvc-2", sharetest.Cluster, "b")
	w.record(t, ledger.Creating, "pvc-3", "c", copying, func(r *ledger.Record) { r.Cluster = "elsewhere" })
	elsewhere := w.staged(t, "pvc-3", "elsewhere", "c")
	w.record(t, ledger.Active, "pvc-4", "d", func(r *ledger.Record) { r.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim}; r.Cluster = "elsewhere" })
	complete := w.staged(t, "pvc-4", "elsewhere", "d")
	w.Tree(t, ".claimdir/copies/lost+found") // not a copy
	must(t, w.pass(t.Context()))
	if got := w.copies(t); len(got) != 5 {
		t.Errorf("after one pass there is %q left", got)
	}
	must(t, w.pass(t.Context()))
	if got, want := w.copies(t), []string{"lost+found", here, elsewhere}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q: not %q and %q", got, want, stray, complete)
	}
	if got := w.Trash(t); len(got) != 2 {
		t.Errorf("in the trash: %q", got)
	}
	w.EmptyTrash(t)
	if got := w.Trash(t); len(got) > 0 {
		t.Errorf("the trash keeps %q", got)
	}
	w.told(t)
}

// snapshot records a snapshot of the volume pvc-0, which is whole if it has a tree.
func (w *world) snapshot(t *testing.T, content, cluster string, whole bool) ledger.Snapshot {
	t.Helper()
	r := ledger.Snapshot{Content: content, Name: "now", Record: ledger.Record{
		PV: "pvc-0", Path: "source", Cluster: cluster, Size: "1Gi", Claim: ledger.Claim{Namespace: "ns", Name: "source", UID: "uid-pvc-0"}, CopyOf: &ledger.Copy{Kind: ledger.CopyClaim},
	}}
	records := w.Store(t).Records
	must(t, records.BeginSnapshot(r))
	if !whole {
		return r
	}
	w.Tree(t, ledger.SnapshotPath(r.Own())+"/file")
	var err error
	r.Directory, err = w.Store(t).Dirs.Snapshot(r.Own())
	must(t, err)
	must(t, records.UpdateSnapshot(r))
	return r
}

// A copy for a snapshot is like one for a volume: one that was under way when its snapshot was removed, and a kill just then, leave it.
func TestACopyForNoSnapshotGoesIntoTheTrash(t *testing.T) {
	w := newWorld(t, 0)
	stray, emptied := ledger.SnapshotOwn("snapcontent-gone", sharetest.Cluster), ledger.SnapshotOwn("snapcontent-empty", sharetest.Cluster)
	here, elsewhere := w.snapshot(t, "snapcontent-here", sharetest.Cluster, false).Own(), w.snapshot(t, "snapcontent-here", "elsewhere", false).Own()
	must(t, w.Store(t).Dirs.MakeSnapshot(emptied)) // a directory that a removal has left
	for _, own := range []string{stray, emptied, here, elsewhere} {
		w.Tree(t, ".claimdir/copies/"+own+"/tree/file")
	}
	must(t, w.pass(t.Context()))
	if got := w.copies(t); len(got) != 4 {
		t.Errorf("after one pass there is %q left", got)
	}
	must(t, w.pass(t.Context()))
	want := []string{here, elsewhere}
	slices.Sort(want)
	if got := w.copies(t); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if got := w.Trash(t); len(got) != 2 {
		t.Errorf("in the trash: %q", got)
	}
	w.told(t)
}

// The record of a snapshot that cannot be read may be that of any copy, too.
func TestACopyStaysAsLongAsTheRecordOfASnapshotCannotBeRead(t *testing.T) {
	w := newWorld(t, 0)
	r := w.snapshot(t, "snapcontent-1", sharetest.Cluster, false)
	w.Tree(t, ".claimdir/copies/"+r.Own()+"/tree/file")
	must(t, os.WriteFile(w.Dir+"/.claimdir/snapshots/"+r.Own()+"/record.json", []byte("{"), 0o600))
	for range 3 {
		must(t, w.pass(t.Context()))
	}
	if got := w.copies(t); !slices.Equal(got, []string{r.Own()}) {
		t.Errorf("left are %q", got)
	}
	w.told(t, "snapshot .claimdir/snapshots")
}

func TestOrphanedSnapshotsAreCounted(t *testing.T) {
	w := newWorld(t, 0)
	for _, name := range []string{"snapcontent-whole", "snapcontent-lost", "snapcontent-late"} {
		w.snapshot(t, name, sharetest.Cluster, true)
	}
	w.snapshot(t, "snapcontent-making", sharetest.Cluster, false)
	lost := ledger.SnapshotPath(ledger.SnapshotOwn("snapcontent-lost", sharetest.Cluster))
	must(t, os.RemoveAll(w.Dir+"/"+lost))
	others := ledger.SnapshotPath(w.snapshot(t, "snapcontent-lost", "elsewhere", true).Own())
	must(t, os.RemoveAll(w.Dir+"/"+others))
	id := w.Store(t).Records.ID()
	w.contents = []doctor.Content{{Name: "snapcontent-whole", Handle: id + "/snapcontent-whole"}, {Name: "snapcontent-none", Handle: id + "/snapcontent-none"}}
	must(t, w.pass(t.Context()))
	w.told(t, "snapshot "+lost, "snapshot snapcontent-none")
	if got := testutil.ToFloat64(w.metrics.orphans.WithLabelValues("snapshot")); got != 2 {
		t.Errorf("claimdir_orphans of snapshots is %v", got)
	}
	w.contents = w.contents[:1]
	must(t, w.Store(t).Records.RemoveSnapshot(ledger.Snapshot{Content: "snapcontent-lost", Record: ledger.Record{Cluster: sharetest.Cluster}}))
	must(t, w.pass(t.Context()))
	w.told(t)
}

// A record that cannot be read may be that of any copy.
func TestACopyStaysAsLongAsARecordCannotBeRead(t *testing.T) {
	w := newWorld(t, 0)
	stray := w.staged(t, "pvc-1", sharetest.Cluster, "a")
	w.record(t, ledger.Creating, "pvc-2", "b", copying)
	file := w.Dir + "/" + ledger.File(sharetest.PathOf(t, "b"), ledger.Record{PV: "pvc-2", Cluster: sharetest.Cluster})
	whole, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("{"), 0o600))
	for range 3 {
		must(t, w.pass(t.Context()))
	}
	if got := w.copies(t); !slices.Equal(got, []string{stray}) {
		t.Errorf("left are %q", got)
	}
	must(t, os.WriteFile(file, whole, 0o600))
	w.claim(t, "data", "pvc-2")
	for range 2 {
		must(t, w.pass(t.Context()))
	}
	if got := w.copies(t); len(got) > 0 {
		t.Errorf("left are %q", got)
	}
}

// A copy is under way for hours: that is no problem as long as its claim exists.
func TestACopyUnderWayIsNoProblem(t *testing.T) {
	w := newWorld(t, 0)
	w.claim(t, "data", "pvc-1")
	w.record(t, ledger.Creating, "pvc-1", "a", copying)
	own := w.staged(t, "pvc-1", sharetest.Cluster, "a")
	for range 2 {
		must(t, w.pass(t.Context()))
	}
	w.told(t)
	if got := w.copies(t); !slices.Equal(got, []string{own}) {
		t.Errorf("left are %q", got)
	}
	// The claim goes: what was copied goes with it.
	must(t, w.client.CoreV1().PersistentVolumeClaims("ns").Delete(context.WithoutCancel(t.Context()), "data", metav1.DeleteOptions{}))
	must(t, w.pass(t.Context()))
	w.told(t)
	w.Holds(t)
	if got := w.Trash(t); !slices.Equal(got, []string{"pvc-1"}) {
		t.Errorf("in the trash: %q", got)
	}
}

// A claim whose labels or annotations change while it is copied gets its volume at another path.
func TestACopyThatWasBegunAtAnotherPathIsGivenUp(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.claim(t, "data", "pvc-1")
	w.record(t, ledger.Creating, "pvc-1", "a", copying)
	w.staged(t, "pvc-1", sharetest.Cluster, "a")
	w.record(t, ledger.Active, "pvc-1", "b")
	w.Tree(t, "b/file")
	w.volume(t, "pvc-1", "b")
	w.identify(t)
	must(t, w.pass(t.Context()))
	w.told(t)
	w.Holds(t, "b", "b/file", "b = pvc-1 active")
	if removed := testutil.ToFloat64(w.metrics.removed); removed != 1 {
		t.Errorf("it counts %v as removed", removed)
	}
	w.EmptyTrash(t)
	w.Holds(t, "b", "b/file", "b = pvc-1 active")
	// One at the path of the volume itself is about to be completed.
	w = newWorld(t, 0)
	w.claim(t, "data", "pvc-1")
	w.record(t, ledger.Creating, "pvc-1", "a", copying)
	own := w.staged(t, "pvc-1", sharetest.Cluster, "a")
	w.volume(t, "pvc-1", "a")
	must(t, w.pass(t.Context()))
	if got := w.copies(t); !slices.Equal(got, []string{own}) {
		t.Errorf("left are %q", got)
	}
}
