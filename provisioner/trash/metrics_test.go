package trash

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/access"
	"claimdir/provisioner/share"
)

// registry holds the metrics of the world's Emptier.
func (w *world) registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	return register(t, w.Emptier)
}

func register(t *testing.T, emptiers ...*Emptier) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, e := range emptiers {
		for _, c := range e.Collectors() {
			must(t, registry.Register(c))
		}
	}
	return registry
}

// named is a Keeper of which only the name is asked.
func named(name string) *access.Keeper {
	return access.New(access.Config{Mount: share.Mount{Name: name}, Slots: 1})
}

// Every series is there from the start, for each share: an alert on one that is missing
// would never fire.
func TestMetricsOfSeveralShares(t *testing.T) {
	registry := register(t, New(Config{Keeper: named("fast")}), New(Config{Keeper: named("slow")}))
	const want = `# HELP claimdir_trash_failing_volumes Released directories whose removal has failed so far, by reason.
# TYPE claimdir_trash_failing_volumes gauge
claimdir_trash_failing_volumes{reason="busy",share="fast"} 0
claimdir_trash_failing_volumes{reason="busy",share="slow"} 0
claimdir_trash_failing_volumes{reason="filled",share="fast"} 0
claimdir_trash_failing_volumes{reason="filled",share="slow"} 0
claimdir_trash_failing_volumes{reason="mounted",share="fast"} 0
claimdir_trash_failing_volumes{reason="mounted",share="slow"} 0
claimdir_trash_failing_volumes{reason="other",share="fast"} 0
claimdir_trash_failing_volumes{reason="other",share="slow"} 0
claimdir_trash_failing_volumes{reason="permission",share="fast"} 0
claimdir_trash_failing_volumes{reason="permission",share="slow"} 0
# HELP claimdir_trash_failures_total Failed attempts to remove a released directory, by reason.
# TYPE claimdir_trash_failures_total counter
claimdir_trash_failures_total{reason="busy",share="fast"} 0
claimdir_trash_failures_total{reason="busy",share="slow"} 0
claimdir_trash_failures_total{reason="filled",share="fast"} 0
claimdir_trash_failures_total{reason="filled",share="slow"} 0
claimdir_trash_failures_total{reason="mounted",share="fast"} 0
claimdir_trash_failures_total{reason="mounted",share="slow"} 0
claimdir_trash_failures_total{reason="other",share="fast"} 0
claimdir_trash_failures_total{reason="other",share="slow"} 0
claimdir_trash_failures_total{reason="permission",share="fast"} 0
claimdir_trash_failures_total{reason="permission",share="slow"} 0
# HELP claimdir_trash_removed_directories_total Directories removed from the trash.
# TYPE claimdir_trash_removed_directories_total counter
claimdir_trash_removed_directories_total{share="fast"} 0
claimdir_trash_removed_directories_total{share="slow"} 0
# HELP claimdir_trash_removed_files_total Files removed from the trash.
# TYPE claimdir_trash_removed_files_total counter
claimdir_trash_removed_files_total{share="fast"} 0
claimdir_trash_removed_files_total{share="slow"} 0
# HELP claimdir_trash_volumes Directories of released volumes in the trash.
# TYPE claimdir_trash_volumes gauge
claimdir_trash_volumes{share="fast"} 0
claimdir_trash_volumes{share="slow"} 0
`
	must(t, testutil.GatherAndCompare(registry, strings.NewReader(want)))
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestWhatWaitsIsKnown(t *testing.T) {
	w := newWorld(t)
	if n, failing, known := w.Waiting(); n != 0 || len(failing) != 0 || known {
		t.Errorf("before it runs: %d, %v, %v", n, failing, known)
	}
	stays := w.discard(t, "pvc-1", 1)
	w.discard(t, "pvc-2", 3)
	var healed atomic.Bool
	w.through(func(name string, call func() error) error {
		if name == "open "+stays && !healed.Load() {
			return syscall.EACCES
		}
		return call()
	})
	w.run(t, func() bool {
		n, failing, known := w.Waiting()
		switch {
		case !known:
		case !healed.Load():
			healed.Store(n == 1 && len(failing) == 1 && failing["permission"] == 1)
		default:
			return n == 0 && len(failing) == 0
		}
		return false
	})
}

// oldest returns when the oldest directory came into the trash, as the metric says, or 0 if there is no series.
func (w *world) oldest(t *testing.T) float64 {
	t.Helper()
	families, err := w.registry(t).Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() == "claimdir_trash_oldest_timestamp_seconds" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

// What is in the trash longest is known, also to the next process; and nothing when the trash is empty.
func TestTheOldestInTheTrash(t *testing.T) {
	w := newWorld(t)
	stays := w.discard(t, "pvc-1", 1)
	time.Sleep(20 * time.Millisecond) // file systems tell times a tick of the clock apart
	w.discard(t, "pvc-0", 1)
	at, err := w.ledger.TrashedAt(stays)
	must(t, err)
	want := float64(at.UnixMilli()) / 1000
	var healed atomic.Bool
	w.through(func(name string, call func() error) error {
		if strings.HasSuffix(name, " "+stays) && strings.HasPrefix(name, "open") && !healed.Load() {
			return syscall.EACCES
		}
		return call()
	})
	if got := w.oldest(t); got != 0 {
		t.Errorf("before it runs: %v", got)
	}
	alone := func() bool { n, _, known := w.Waiting(); return known && n == 1 }
	w.run(t, alone)
	if got := w.oldest(t); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	w.start(t, 20*time.Second)
	w.run(t, alone)
	if got := w.oldest(t); got != want {
		t.Errorf("the next process says %v, want %v", got, want)
	}
	healed.Store(true)
	w.start(t, 20*time.Second)
	w.run(t, func() bool { n, _, known := w.Waiting(); return known && n == 0 })
	if got := w.oldest(t); got != 0 {
		t.Errorf("the trash is empty, and its oldest directory is of %v", got)
	}
}

// A directory that does not say since when it is there is removed as any other.
func TestADirectoryWithoutATimeHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	odd := w.discard(t, "pvc-1", 1)
	w.discard(t, "pvc-2", 1)
	var looked atomic.Bool
	w.through(func(name string, call func() error) error {
		if name == "look at "+odd && looked.CompareAndSwap(false, true) {
			return syscall.EACCES
		}
		return call()
	})
	w.run(t, func() bool { return w.left(t) == 0 })
	if !looked.Load() {
		t.Error("nobody asked for its time, so this tests nothing")
	}
}
