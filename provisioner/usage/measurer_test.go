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
	report := Find([]Share{{Store: store}}, Of{}, w.clock)
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
	w.round(time.Hour)
	if _, found := w.usage("data"); !found {
		t.Error("figures went although a record cannot be read")
	}
	must(t, os.WriteFile(damaged, whole, 0o600))
	w.round(time.Hour)
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
	report := Find([]Share{{Store: store}}, Of{}, w.clock)
	if i := slices.IndexFunc(report.Directories, func(d Directory) bool { return d.Volume == "pvc-new" }); i < 0 || report.Directories[i].Used != nil {
		t.Errorf("%+v", report.Directories)
	}
	w.round(time.Hour)
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

// logged returns what a round logs.
func (w *world) logged(t *testing.T) string {
	t.Helper()
	var log bytes.Buffer
	w.Measurer.round(klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log)))))
	return log.String()
}

func TestAnIntervalThatIsTooShortIsSaid(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.volume("other", "", 0)
	if text := w.logged(t); text != "" {
		t.Errorf("of a pass in time it logs %s", text)
	}
	late := w.known["data"]
	late.Began = w.clock.Add(-3 * time.Hour)
	w.clock = w.clock.Add(time.Minute)
	w.known["data"] = late
	w.Hook(func(name string, call func() error) error {
		if name == "open data" {
			return syscall.EIO
		}
		return call()
	})
	if text := w.logged(t); !strings.Contains(text, "USAGE_INTERVAL is too short to measure all directories at USAGE_RATE: give it more time, or a higher rate") {
		t.Errorf("it logs %q", text)
	}
	if text := w.logged(t); text != "" {
		t.Errorf("it says once more %q", text)
	}
}

// A share that is full cannot keep figures. They count all the same, are measured no oftener, and people are told once.
func TestAFullShareIsMeasured(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "freeze")
	w.volume("data", "nfs", 2000<<10)
	w.volume("other", "nfs", 0)
	measured := 0
	w.Hook(func(name string, call func() error) error {
		if strings.HasPrefix(name, "create ") {
			return syscall.ENOSPC
		}
		if name == "open other" {
			measured++
		}
		return call()
	})
	if text := w.logged(t); !strings.Contains(text, "Cannot keep on the share what was measured") || !strings.Contains(text, "no space left") {
		t.Errorf("it logs %q", text)
	}
	once := measured
	for range 3 {
		w.clock = w.clock.Add(time.Minute)
		if text := w.logged(t); text != "" {
			t.Errorf("it logs once more %q", text)
		}
	}
	if over := w.overSize("nfs"); len(over) != 1 || len(w.told) != 1 || measured != once {
		t.Errorf("over %q, told %q, opened %d times, then %d", over, w.told, once, measured)
	}
}

// A tree that cannot be counted in time counts with what was counted, and others have their turn.
func TestAnEndlessTreeHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	w.rate = 100
	w.start()
	w.config.Interval = 2 * time.Second
	w.now = time.Now
	w.volume("endless", "", 0)
	for i := range 400 {
		w.Tree(t, fmt.Sprintf("endless/%d", i))
	}
	w.volume("other", "", 0)
	for range 4 {
		must(t, w.pass(t.Context()))
	}
	u, _ := w.usage("endless")
	if _, found := w.usage("other"); !found || !u.Partial || u.Files == 0 || u.Files > 300 {
		t.Errorf("%+v, the other one: %v", u, found)
	}
}

// A clock that was ahead once does not stop the measurements.
func TestAClockThatWasAheadDoesNotMatter(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.round(365 * 24 * time.Hour)
	w.Restart(t)
	w.start()
	w.round(-365 * 24 * time.Hour)
	if u, _ := w.usage("data"); !u.Began.Equal(w.clock) {
		t.Errorf("%+v", u)
	}
	if u, _, err := w.Store(t).Records.TrashUsage(); err != nil || !u.Began.Equal(w.clock) {
		t.Errorf("trash: %+v, %v", u, err)
	}
}

// What is no file among the figures is nobody's figure.
func TestABadFileAmongTheFiguresHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.volume("other", "", 0)
	w.Tree(t, ".claimdir/usage/other.json/", ".claimdir/usage/stray.json/")
	w.round(0)
	if _, found := w.usage("data"); !found || w.known["other"].Began.IsZero() {
		t.Error("nothing is measured")
	}
	w.overSize("")
}

// Between two intervals a round reads no record that it knows.
func TestARoundReadsOnlyNewRecords(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.volume(fmt.Sprint("data-", i), "", 0)
	}
	w.round(0)
	w.volume("new", "", 0)
	calls := 0
	w.Hook(func(_ string, call func() error) error {
		calls++
		return call()
	})
	w.round(time.Minute)
	if _, found := w.usage("new"); !found || calls > 60 {
		t.Errorf("%d calls; the new volume was measured: %v", calls, found)
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
