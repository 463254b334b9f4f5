package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
)

func TestAPass(t *testing.T) {
	change := func(f func(*ledger.Record)) func(*ledger.Record) { return f }
	elsewhere := change(func(r *ledger.Record) { r.Cluster = "elsewhere" })
	young := change(func(r *ledger.Record) { r.Created = time.Now().Add(-50 * time.Minute) })
	adopted := change(func(r *ledger.Record) { r.Adopted = true })
	nameless := change(func(r *ledger.Record) { r.Claim.UID = "" })
	for name, tt := range map[string]struct {
		set     func(t *testing.T, w *world)
		want    []string // on the share
		told    []string
		removed int
	}{
		"an empty directory that was never completed": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Creating, "pvc-1", "a")
			w.Tree(t, "a/")
		}, removed: 1},
		"a record without directory": {set: func(t *testing.T, w *world) { w.record(t, ledger.Creating, "pvc-1", "a") }, removed: 1},
		"an empty directory whose volume is gone": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Active, "pvc-1", "a")
			w.Tree(t, "a/")
		}, removed: 1},
		"a directory above it is told of at once": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Active, "pvc-1", "team/a")
			w.Tree(t, "team/a/")
		}, removed: 1, want: []string{"team"}, told: []string{"directory team"}},
		"what has content is kept": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Active, "pvc-1", "a")
			w.record(t, ledger.Creating, "pvc-2", "b")
			w.Tree(t, "a/file", "b/sub/")
		}, want: []string{"a", "a = pvc-1 active", "a/file", "b", "b = pvc-2 creating", "b/sub"}, told: []string{"record a", "record b"}},
		"what was adopted is kept": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Active, "pvc-1", "a", adopted)
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active"}, told: []string{"record a"}},
		"an adopted record without directory": {set: func(t *testing.T, w *world) { w.record(t, ledger.Active, "pvc-1", "a", adopted) }, removed: 1},
		"another cluster's is kept": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Active, "pvc-1", "a", elsewhere)
			w.record(t, ledger.Creating, "pvc-2", "b", elsewhere)
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active", "b = pvc-2 creating"}},
		"younger than the grace": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Creating, "pvc-1", "a", young)
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 creating"}},
		"a claim that waits": {set: func(t *testing.T, w *world) {
			w.claim(t, "data", "pvc-1")
			w.record(t, ledger.Creating, "pvc-1", "a")
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 creating"}},
		"a volume that names an earlier address of the share": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-1", "a")
			w.volume(t, "pvc-2", "b")
			w.readdress(t, "pvc-1", "pvc-2")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.record(t, ledger.Active, "pvc-2", "b") // was not copied
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active", "b = pvc-2 active"}},
		"a volume that another share serves": {set: func(t *testing.T, w *world) {
			w.config.Others = []share.Source{earlier}
			w.volume(t, "pvc-1", "a")
			w.readdress(t, "pvc-1")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active"}, told: []string{"record a"}},
		"a claim whose volume is lost": {set: func(t *testing.T, w *world) {
			w.claim(t, "data", "pvc-1")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active"}, told: []string{"record a"}},
		"a claim of the same name and another UID": {set: func(t *testing.T, w *world) {
			w.claim(t, "data", "pvc-9")
			w.record(t, ledger.Creating, "pvc-1", "a")
			w.Tree(t, "a/")
		}, removed: 1},
		"a record that does not say for what claim": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Creating, "pvc-1", "a", nameless)
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 creating"}, told: []string{"record a"}},
		"a volume": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-1", "a")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 active"}},
		"a volume that was begun in two places": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-1", "a")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.record(t, ledger.Creating, "pvc-1", "b")
			w.Tree(t, "a/", "b/")
		}, want: []string{"a", "a = pvc-1 active", "b", "b = pvc-1 creating"}, told: []string{"record b"}},
		"a PersistentVolume that has its directory": {set: func(t *testing.T, w *world) {
			w.volume(t, "by-hand", "a")
			w.record(t, ledger.Creating, "pvc-1", "a")
			w.Tree(t, "a/")
		}, want: []string{"a", "a = pvc-1 creating"}, told: []string{"record a"}},
		"one that lies inside": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-2", "a/b")
			w.record(t, ledger.Active, "pvc-1", "a")
			w.record(t, ledger.Active, "pvc-2", "a/b")
		}, want: []string{"a = pvc-1 active", "a/b = pvc-2 active"}, told: []string{"record a"}},
		"what was retained and archived": {set: func(t *testing.T, w *world) {
			w.record(t, ledger.Retained, "pvc-1", "a")
			w.record(t, ledger.Archived, "pvc-2", "archived-ns-data-pvc-2")
			w.record(t, ledger.Retained, "pvc-3", "gone")
			w.record(t, ledger.Archived, "pvc-4", "archived-gone")
			w.Tree(t, "a/", "archived-ns-data-pvc-2/")
		}, want: []string{"a", "a = pvc-1 retained", "archived-ns-data-pvc-2", "archived-ns-data-pvc-2 = pvc-2 archived", "gone = pvc-3 retained", "archived-gone = pvc-4 archived"},
			told: []string{"record archived-gone", "record gone"}},
		"a directory that no record names": {set: func(t *testing.T, w *world) { w.Tree(t, "a/") }, want: []string{"a"}, told: []string{"directory a"}},
	} {
		for _, identified := range []bool{true, false} { // older records do not say which directory they are of
			t.Run(fmt.Sprintf("%s, identified %v", name, identified), func(t *testing.T) {
				w := newWorld(t, time.Hour)
				tt.set(t, w)
				if identified {
					w.identify(t)
				}
				must(t, w.pass(t.Context()))
				w.Holds(t, tt.want...)
				w.told(t, tt.told...)
				if removed := int(testutil.ToFloat64(w.metrics.removed)); removed != tt.removed {
					t.Errorf("it counts %d as removed, want %d", removed, tt.removed)
				}
				if len(w.reports) > 0 {
					t.Errorf("reported %+v", w.reports)
				}
			})
		}
	}
}

// An answer that is not a plain "there is none" keeps everything.
func TestErrorsKeepEverything(t *testing.T) {
	failed := errors.New("etcdserver: request timed out")
	for name, tt := range map[string]struct {
		verb, resource string
		passes         bool
	}{
		"all volumes":    {"list", "persistentvolumes", false},
		"the one volume": {"get", "persistentvolumes", true},
		"the claim":      {"get", "persistentvolumeclaims", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0)
			w.record(t, ledger.Active, "pvc-1", "a")
			w.Tree(t, "a/")
			w.client.PrependReactor(tt.verb, tt.resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, failed })
			if err := w.pass(t.Context()); (err == nil) != tt.passes || err != nil && !errors.Is(err, failed) {
				t.Error(err)
			}
			w.Holds(t, "a", "a = pvc-1 active")
			if ended := testutil.ToFloat64(w.metrics.ended); (ended > 0) != tt.passes {
				t.Errorf("the last look ended %v", ended)
			}
		})
	}
}

// Under the lock everything is asked once more.
func TestAVolumeThatComesMeanwhile(t *testing.T) {
	w := newWorld(t, 0)
	w.record(t, ledger.Active, "pvc-1", "a")
	w.Tree(t, "a/")
	asked := 0
	w.client.PrependReactor("get", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		if asked++; asked < 2 {
			return false, nil, nil
		}
		return true, newClaim("data", "pvc-1"), nil
	})
	must(t, w.pass(t.Context()))
	w.Holds(t, "a", "a = pvc-1 active")
	if asked != 2 {
		t.Errorf("it asked %d times", asked)
	}
}

func TestWhatIsFoundIsLoggedOnce(t *testing.T) {
	w := newWorld(t, time.Hour)
	if _, ended := w.Found(); !ended.IsZero() {
		t.Errorf("a pass has ended at %v", ended)
	}
	w.record(t, ledger.Active, "pvc-1", "a")
	w.Tree(t, "a/file", "b/")
	var log bytes.Buffer
	ctx := klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))))
	must(t, w.pass(ctx))
	must(t, w.pass(ctx))
	if n := strings.Count(log.String(), "Found an orphan"); n != 2 || !strings.Contains(log.String(), `object="a"`) || !strings.Contains(log.String(), "remedy=") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
	w.Tree(t, "c/")
	must(t, w.pass(ctx))
	if n := strings.Count(log.String(), "Found an orphan"); n != 3 {
		t.Errorf("%d lines:\n%s", n, &log)
	}
	findings, ended := w.Found()
	var objects []string
	for _, f := range findings {
		objects = append(objects, f.Kind+" "+f.Object)
	}
	if !slices.Equal(objects, []string{"directory b", "directory c", "record a"}) || time.Since(ended) > time.Minute {
		t.Errorf("known are %q of %v", objects, ended)
	}
}

func TestWhatIsUnderWayIsNotTold(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.Tree(t, "a/", "b/")
	looks := 0
	w.client.PrependReactor("list", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		if looks++; looks == 2 { // the second look
			must(t, os.Remove(w.Dir+"/a"))
			must(t, os.Mkdir(w.Dir+"/c", 0o755))
		}
		return false, nil, nil
	})
	must(t, w.pass(t.Context()))
	w.told(t, "directory b")
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, time.Hour)
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.Collectors() {
		must(t, registry.Register(c))
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	compare := func(records, directories, removed int) {
		t.Helper()
		must(t, testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`# HELP claimdir_orphans Orphaned records, directories and snapshots on the share at the last sweep; claimdir doctor lists them.
# TYPE claimdir_orphans gauge
claimdir_orphans{kind="directory",share=""} %d
claimdir_orphans{kind="record",share=""} %d
claimdir_orphans{kind="snapshot",share=""} 0
# HELP claimdir_orphans_removed_total Orphaned records that the sweep has removed, with their empty directory or by undoing a restore.
# TYPE claimdir_orphans_removed_total counter
claimdir_orphans_removed_total{share=""} %d
`, directories, records, removed)), "claimdir_orphans", "claimdir_orphans_removed_total"))
	}
	compare(0, 0, 0)
	w.record(t, ledger.Active, "pvc-1", "a")
	w.record(t, ledger.Active, "pvc-2", "b")
	w.Tree(t, "a/file", "c/", "d/")
	must(t, w.pass(t.Context()))
	compare(1, 2, 1)
	must(t, os.RemoveAll(w.Dir+"/a"))
	must(t, os.RemoveAll(w.Dir+"/c"))
	must(t, w.pass(t.Context()))
	compare(0, 1, 2)
	if ended := testutil.ToFloat64(w.metrics.ended); time.Since(time.UnixMilli(int64(1000*ended))) > time.Minute {
		t.Error(ended)
	}
}

// later lets two hours pass by the server's clock, which it returns: nobody can make a file
// that was changed so long ago.
func (w *world) later(t *testing.T) time.Time {
	t.Helper()
	now := time.Now().Add(2 * time.Hour)
	w.Hook(func(name string, call func() error) error {
		err := call()
		if name == "write probe.share-1" {
			for _, in := range []string{"staged", "moving"} {
				if probe := w.Dir + "/.claimdir/" + in + "/probe.share-1"; os.Chtimes(probe, now, now) == nil {
					return err
				}
			}
			t.Error("there is no probe")
		}
		return err
	})
	return now
}

// What a kill left half made goes after an hour, by the server's clock.
func TestTemporaryFilesGo(t *testing.T) {
	w := newWorld(t, time.Hour)
	now := w.later(t)
	for _, in := range []string{"staged", "moving"} {
		in := w.Dir + "/.claimdir/" + in
		must(t, os.MkdirAll(in+"/old", 0o700))
		must(t, os.MkdirAll(in+"/young", 0o700))
		must(t, os.WriteFile(in+"/old/pvc-1@.json.new", nil, 0o600))
		must(t, os.WriteFile(in+"/old-file", nil, 0o600))
		must(t, os.Chtimes(in+"/young", now, now))
	}
	must(t, os.MkdirAll(w.Dir+"/.claimdir/moving/a-volumes/volume/sub", 0o755))
	must(t, w.pass(t.Context()))
	for _, in := range []string{"staged", "moving"} {
		left, err := os.ReadDir(w.Dir + "/.claimdir/" + in)
		must(t, err)
		var names []string
		for _, e := range left {
			names = append(names, e.Name())
		}
		if want := map[string]string{"staged": "young", "moving": "a-volumes young"}[in]; strings.Join(names, " ") != want {
			t.Errorf("in %s are %q, want %s", in, names, want)
		}
	}
	if _, err := os.Stat(w.Dir + "/.claimdir/moving/a-volumes/volume/sub"); err != nil {
		t.Error(err)
	}
}

// Run looks soon after start, again after a failure, and ends with its context.
func TestRun(t *testing.T) {
	w := newWorld(t, 0)
	w.retry = time.Millisecond
	w.Tree(t, "a/")
	failures := 0
	w.client.PrependReactor("list", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		failures++
		return failures < 3, nil, errors.New("no answer")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		w.Sweeper.mu.Lock()
		found := len(w.findings)
		w.Sweeper.mu.Unlock()
		if found == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it finds nothing")
		}
	}
	cancel()
	<-ended
}

// A removal that hangs is waited for, also after its time-out: a sweep never has two calls
// under way for one orphan.
func TestARemovalThatHangsIsWaitedFor(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.WithTimeout(50 * time.Millisecond)
	w.start(t, time.Hour)
	w.record(t, ledger.Active, "pvc-1", "a")
	w.Tree(t, "a/")
	answer, hangs := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.Hook(func(name string, call func() error) error {
		if strings.HasPrefix(name, "unlink") {
			once.Do(func() { close(hangs); <-answer })
		}
		return call()
	})
	path, record := sharetest.PathOf(t, "a"), w.Record(t, "a")
	removed := make(chan error, 1)
	go func() { removed <- w.remove(t.Context(), path, record) }()
	<-hangs
	select {
	case err := <-removed:
		t.Errorf("the removal returned while a call hung: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	close(answer)
	if err := <-removed; err != nil { // given up for want of an answer in time
		t.Log(err)
	}
	w.Holds(t)
}
