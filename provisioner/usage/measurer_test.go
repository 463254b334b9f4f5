package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
)

func TestWhatWasMeasuredOutlivesTheProcess(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 600<<10)
	w.volume("other", "", 100<<10)
	w.round(0)
	first, found := w.usage("data")
	if !found || first.Bytes < 600<<10 || first.Bytes > 700<<10 || first.Files != 1 || first.Directories != 1 || !first.Began.Equal(w.clock) {
		t.Fatalf("measured %+v", first)
	}
	bytes, at, known := w.Used("data", "pvc-data")
	_, _, another := w.Used("data", "pvc-other")
	if !known || bytes != first.Bytes || !at.Equal(first.Began) || another {
		t.Errorf("known are %d bytes of %v, %v, and of another volume: %v", bytes, at, known, another)
	}
	w.Restart(t)
	w.start()
	w.fill("data", 200<<10)
	w.round(time.Minute)
	if now, _ := w.usage("data"); now != first {
		t.Errorf("a new process measured at once: %+v", now)
	}
	w.round(time.Hour)
	if now, _ := w.usage("data"); now.Bytes < 200<<10 || now.Bytes > 300<<10 {
		t.Errorf("after the interval it is %+v", now)
	}
	w.Holds(t, "data", "data/file", "data = pvc-data active", "other", "other/file", "other = pvc-other active")
}

func TestArchivesRetainedDirectoriesAndTheTrashAreMeasured(t *testing.T) {
	w := newWorld(t)
	w.volume("kept", "", 100<<10)
	store := w.Store(t)
	must(t, store.Records.Retain(sharetest.PathOf(t, "kept"), w.Record(t, "kept"), nil))
	w.Tree(t, "archived-team-old-pvc-old/file")
	id, err := store.Dirs.Identify(sharetest.PathOf(t, "archived-team-old-pvc-old"))
	must(t, err)
	must(t, store.Records.Archive(sharetest.PathOf(t, "archived-team-old-pvc-old"), ledger.Record{
		Path: "old", PV: "pvc-old", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "team", Name: "old", UID: "uid-old"}, Size: "1Gi",
	}, id))
	w.Tree(t, ".claimdir/trash/pvc-gone@x-1/volume/file")
	w.round(0)
	report := Find([]Share{{Store: store}}, w.clock)
	var got []string
	for _, d := range report.Directories {
		if d.Used == nil {
			t.Errorf("not measured: %+v", d)
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %d", d.Kind, d.Path, d.Used.Files))
	}
	slices.Sort(got)
	if want := []string{"archive archived-team-old-pvc-old 1", "retained kept 1", "trash .claimdir/trash 1"}; !slices.Equal(got, want) || len(report.Unread) > 0 {
		t.Errorf("%q, want %q; unread %v", got, want, report.Unread)
	}
}

// A directory of another cluster is that cluster's claimdir's to measure.
func TestOnlyDirectoriesOfThisClusterAreMeasured(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	other := w.Beside(t, "cluster-2")
	m := New(Config{Keeper: other.Keeper, Steps: other.Steps, Objects: w, Client: w.client, Interval: time.Hour})
	must(t, m.pass(t.Context()))
	if _, found := w.usage("data"); found {
		t.Error("it was measured")
	}
	w.round(0)
	before, _ := w.usage("data")
	must(t, m.pass(t.Context()))
	if now, _ := w.usage("data"); now != before || before.Began.IsZero() {
		t.Errorf("another cluster changed what was measured: %+v, %+v", before, now)
	}
}

func TestFiguresGoWithTheirRecord(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.volume("other", "", 0)
	w.round(0)
	store := w.Store(t)
	must(t, store.Records.Remove(sharetest.PathOf(t, "data"), w.Record(t, "data")))
	must(t, os.WriteFile(w.Dir+"/.claimdir/usage/damaged.json", []byte("{"), 0o600))
	damaged := w.Dir + "/.claimdir/records/other/" + filepath.Base(ledger.File(sharetest.PathOf(t, "other"), w.Record(t, "other")))
	whole, err := os.ReadFile(damaged)
	must(t, err)
	must(t, os.WriteFile(damaged, []byte("{"), 0o600))
	w.round(time.Minute)
	if _, found := w.usage("data"); !found {
		t.Error("figures went although a record cannot be read")
	}
	must(t, os.WriteFile(damaged, whole, 0o600))
	w.round(time.Minute)
	left, err := filepath.Glob(w.Dir + "/.claimdir/usage/*")
	must(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"+trash.json", "other.json"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

// Figures are never those of another volume.
func TestFiguresAreOfTheVolumeThatHasThePath(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 700<<10)
	w.round(0)
	old := w.Record(t, "data")
	store, path := w.Store(t), sharetest.PathOf(t, "data")
	must(t, store.Records.Remove(path, old))
	old.PV, old.Claim.UID = "pvc-new", "uid-new"
	taken, err := store.Records.Take(path, old, false)
	must(t, err)
	must(t, store.Records.Activate(path, taken, old.Directory))
	report := Find([]Share{{Store: store}}, w.clock)
	if i := slices.IndexFunc(report.Directories, func(d Directory) bool { return d.Volume == "pvc-new" }); i < 0 || report.Directories[i].Used != nil {
		t.Errorf("%+v", report.Directories)
	}
	w.round(time.Minute)
	if u, _, err := store.Records.Usage(path, old); err != nil || !u.OfVolume(old) || !u.Began.Equal(w.clock) {
		t.Errorf("%+v, %v", u, err)
	}
}

// Whichever call is refused or meets a stale handle, the next rounds complete what was left.
func TestAPassThatIsCutOffAnywhereIsCompleted(t *testing.T) {
	for _, fault := range []error{errors.New("killed"), syscall.ESTALE} {
		for n, hit := 1, "some call"; hit != ""; n++ {
			w := newWorld(t)
			w.class("nfs", "tell")
			w.volume("data", "nfs", 900<<10)
			w.volume("other", "", 0)
			w.round(0)
			must(t, w.Store(t).Records.Remove(sharetest.PathOf(t, "other"), w.Record(t, "other")))
			w.fill("data", 2000<<10)
			w.clock = w.clock.Add(time.Hour)
			hit = ""
			calls := 0
			w.Hook(func(name string, call func() error) error {
				if calls++; calls < n || fault == syscall.ESTALE && calls > n { //nolint:errorlint // it is that very error
					return call()
				}
				hit = name
				return fault
			})
			_ = w.pass(t.Context())
			w.Restart(t)
			w.start()
			w.round(time.Minute)
			if fault == syscall.ESTALE && hit == "measure" { //nolint:errorlint // see above: a stale entry counts as gone
				w.round(time.Hour)
			}
			if u, _ := w.usage("data"); u.Bytes < 1900<<10 || u.Told != 100 {
				t.Fatalf("%v at call %d, %q: %+v", fault, n, hit, u)
			}
			if _, found := w.usage("other"); found {
				t.Fatalf("%v at call %d, %q: the figures of a volume that is gone stay", fault, n, hit)
			}
			if _, over := w.conditions("data")[ConditionOverSize]; !over || !strings.Contains(strings.Join(w.told, "\n"), "VolumeOverSize") {
				t.Fatalf("%v at call %d, %q: told %q", fault, n, hit, w.told)
			}
			w.End()
		}
	}
}

// A stop waits for one call, not for the walk.
func TestAStopEndsAWalk(t *testing.T) {
	w := newWorld(t)
	w.rate = 10
	w.start()
	w.volume("data", "", 0)
	for i := range 200 {
		w.Tree(t, fmt.Sprintf("data/%d", i))
	}
	stopping, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(stopping)
	}()
	time.Sleep(200 * time.Millisecond)
	begin := time.Now()
	stop()
	<-done
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if _, found := w.usage("data"); found {
		t.Error("half a walk counts")
	}
}

func TestAnIntervalThatIsTooShortIsSaid(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	var log bytes.Buffer
	ctx := klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))))
	w.Measurer.round(ctx)
	if log.Len() > 0 {
		t.Errorf("of a pass in time it logs %s", &log)
	}
	w.clock = w.clock.Add(time.Hour)
	w.Hook(func(name string, call func() error) error {
		if name == "measure" {
			w.clock = w.clock.Add(time.Hour)
		}
		return call()
	})
	w.Measurer.round(ctx)
	if text := log.String(); !strings.Contains(text, "USAGE_INTERVAL is too short") || !strings.Contains(text, `USAGE_INTERVAL="1h0m0s"`) {
		t.Errorf("it logs %q", text)
	}
}

// One directory that cannot be measured holds up no other.
func TestOneBadDirectoryHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "", 0)
	w.volume("b", "", 0)
	w.volume("c", "", 0)
	must(t, os.RemoveAll(w.Dir+"/a"))
	must(t, os.Rename(w.Dir+"/b", w.Dir+"/b.old"))
	must(t, os.Mkdir(w.Dir+"/b", 0o755))
	w.round(0)
	for name, want := range map[string]bool{"a": false, "b": false, "c": true} {
		if _, found := w.usage(name); found != want {
			t.Errorf("%s measured: %v", name, found)
		}
	}
}
