package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

const cluster = "cluster-1"

// world is a share with a trash and its Emptier.
type world struct {
	*Emptier

	dir    string
	dirs   *share.Share
	ledger *ledger.Ledger

	mu       sync.Mutex
	failures []Failure
	putBack  []string
	call     share.Call // each call that the Emptier makes; nil makes it
	back     map[string]*v1.PersistentVolume
	silent   func() error // what the cluster answers instead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := openWorld(t)
	w.start(t, 20*time.Second)
	w.every, w.first = 20*time.Millisecond, 50*time.Millisecond
	return w
}

// openWorld makes a share without an Emptier.
func openWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var err error
	w.dirs, err = share.Open(w.dir)
	must(t, err)
	w.ledger, err = ledger.Open(w.dirs, "share-1")
	must(t, err)
	return w
}

// start makes the Emptier, on a share that gives up a call after timeout.
func (w *world) start(t *testing.T, timeout time.Duration) {
	t.Helper()
	k := access.New(w.kept(timeout))
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go k.Run(ctx)
	must(t, k.WaitReady(t.Context()))
	w.Emptier = w.emptier(k)
}

func (w *world) kept(timeout time.Duration) access.Config {
	return access.Config{
		Mount: share.Mount{Dir: w.dir, Source: share.Source{Server: "nfs.example.com", Path: "/export"}}, NewID: "share-1",
		Timeout: timeout, Slots: 2 * AtOnce, Changed: func() {}, Known: func() ([]volpath.Path, bool) { return nil, true },
		Call: func(name string, call func() error) error {
			w.mu.Lock()
			through := w.call
			w.mu.Unlock()
			if through == nil {
				return call()
			}
			return through(name, call)
		},
	}
}

func (w *world) emptier(k *access.Keeper) *Emptier {
	report := func(_ context.Context, r ledger.Record, reason, text string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.putBack = append(w.putBack, reason+" "+r.PV+": "+text)
	}
	return New(Config{Keeper: k, Steps: steps.New(steps.Config{Cluster: cluster, Volume: w.volumeNow, Report: report}), Remover: share.NewRemover(4, 0), Report: w.report})
}

// volumeNow is the cluster: it has the PersistentVolumes in back.
func (w *world) volumeNow(_ context.Context, name string) (*v1.PersistentVolume, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent != nil {
		return nil, w.silent()
	}
	return w.back[name], nil
}

// through makes the calls of the Emptier from now on.
func (w *world) through(call share.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call = call
}

// Whichever call meets a stale handle, before or after it is made: the operation is run
// again, and that is no failure of the directory.
func TestStaleHandlesHoldNothingUp(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := int32(1); n <= 60; n++ {
			w := newWorld(t)
			w.discard(t, "pvc-1", 3)
			var made atomic.Int32
			hit := ""
			w.through(func(name string, call func() error) error {
				if made.Add(1) != n {
					return call()
				}
				if hit = name; after {
					_ = call()
				}
				return syscall.ESTALE
			})
			w.run(t, func() bool { return w.left(t) == 0 && made.Load() >= n })
			if failures := w.reported(); len(failures) > 0 {
				t.Fatalf("call %d, %q, made %v: %v", n, hit, after, failures)
			}
		}
	}
}

func (w *world) report(_ context.Context, f Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, f)
}

func (w *world) reported() []Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Failure(nil), w.failures...)
}

// discard makes a volume with files and moves it into the trash.
func (w *world) discard(t *testing.T, pv string, files int) (name string) {
	t.Helper()
	r := w.volume(t, pv, "team-"+pv, cluster)
	for i := range files {
		must(t, os.MkdirAll(fmt.Sprintf("%s/team-%s/%d", w.dir, pv, i%7), 0o755))
		must(t, os.WriteFile(fmt.Sprintf("%s/team-%s/%d/%d", w.dir, pv, i%7, i), nil, 0o644))
	}
	name, path := volpath.Trash(pv, cluster, 1), sharetest.PathOf(t, r.Path)
	err := w.dirs.SetAside(path, share.TrashDir, name, r.Directory)
	for range 20 { // a release is repeated if the emptier has removed the directory it made, which was still empty
		if err == nil {
			break
		}
		err = w.dirs.SetAside(path, share.TrashDir, name, r.Directory)
	}
	must(t, err)
	must(t, w.ledger.Discard(path, r, name))
	return name
}

// volume makes a complete volume with an empty directory.
func (w *world) volume(t *testing.T, pv, at, cluster string) ledger.Record {
	t.Helper()
	path := sharetest.PathOf(t, at)
	r, err := w.ledger.Take(path, ledger.Record{State: ledger.Active, PV: pv, Cluster: cluster, Class: "nfs", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}}, false)
	must(t, err)
	must(t, os.MkdirAll(w.dir+"/"+at, 0o755))
	id, err := w.dirs.Identify(path)
	must(t, err)
	must(t, w.ledger.Activate(path, r, id))
	r, _, err = w.ledger.Own(path, pv, cluster)
	must(t, err)
	return r
}

// run runs the Emptier until the trash is as wanted, and returns when it ended.
func (w *world) run(t *testing.T, wanted func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	until(t, wanted)
	cancel()
	<-ended
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to that")
		}
	}
}

func (w *world) left(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(w.dir + "/.claimdir/trash")
	must(t, err)
	return len(entries)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheTrashIsEmptiedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.dir+"/team-other/sub", 0o755))
	for i := range 12 {
		w.discard(t, fmt.Sprintf("pvc-%d", i), i*sharetest.Times(20, 2))
	}
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/of-an-older-process-1/half", 0o755)) // no record
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/stray-1", nil, 0o644))
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/pvc-gone-1.json", []byte("{"), 0o600)) // its directory went in an earlier run
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/pvc-first-1", 0o755))                   // of layout 1
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/pvc-first-1/file", nil, 0o644))
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/pvc-first-1.json", []byte(`{"layout": 1, "path": "team/first", "pv": "pvc-first", "state": "active"}`), 0o600))
	must(t, os.Mkdir(w.dir+"/.claimdir/trash/"+volpath.Trash("pvc-cut", cluster, 1), 0o700)) // cut off before the directory came
	w.run(t, func() bool { return w.left(t) == 0 && testutil.ToFloat64(w.metrics.waiting) == 0 })
	if _, err := os.Stat(w.dir + "/team-other/sub"); err != nil {
		t.Error(err)
	}
	if failures := w.reported(); len(failures) > 0 {
		t.Errorf("%v", failures)
	}
	want := fmt.Sprintf(`# HELP claimdir_trash_removed_files_total Files removed from the trash.
# TYPE claimdir_trash_removed_files_total counter
claimdir_trash_removed_files_total{share=""} %d
# HELP claimdir_trash_volumes Directories of released volumes in the trash.
# TYPE claimdir_trash_volumes gauge
claimdir_trash_volumes{share=""} 0
`, 66*sharetest.Times(20, 2)+2)
	must(t, testutil.GatherAndCompare(w.registry(t), strings.NewReader(want), "claimdir_trash_removed_files_total", "claimdir_trash_volumes"))
}

func TestWhatIsMadeWhileItRunsIsRemovedToo(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	for i := range 5 {
		w.discard(t, fmt.Sprintf("pvc-%d", i), 30)
		until(t, func() bool { return w.left(t) == 0 })
	}
	cancel()
	<-ended
}

// A large directory is left half removed when the Emptier ends; the next one
// goes on with it, after a small one that does not wait for it.
func TestAnEmptierThatEndsIsContinuedByTheNext(t *testing.T) {
	w := newWorld(t)
	files := sharetest.Times(2000, 350)
	large := w.discard(t, "pvc-large", files)
	w.config.Remover = share.NewRemover(0, files/2)
	before := w.left(t)
	w.run(t, func() bool {
		entries, _ := os.ReadDir(w.dir + "/.claimdir/trash/" + large + "/volume/0")
		return len(entries) < 250
	})
	if w.left(t) != before {
		t.Fatalf("%d entries are left of %d", w.left(t), before)
	}
	if failures := w.reported(); len(failures) > 0 {
		t.Errorf("to be ended is no failure: %v", failures)
	}
	small := w.discard(t, "pvc-small", 3)
	next := New(w.config)
	next.every = w.every
	w.Emptier = next
	w.run(t, func() bool {
		_, err := os.Stat(w.dir + "/.claimdir/trash/" + small)
		return errors.Is(err, os.ErrNotExist)
	})
	if _, err := os.Stat(w.dir + "/.claimdir/trash/" + large); err != nil {
		t.Errorf("the large one went first: %v", err)
	}
	w.config.Remover = share.NewRemover(4, 0)
	w.run(t, func() bool { return w.left(t) == 0 })
}

// That of a directory which is gone, and which cannot be removed.
func TestARecordThatStaysHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/pvc-gone-1.json/x", 0o755))
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+volpath.Trash("pvc-gone", cluster, 1)+"/record.json/x", 0o755))
	name := w.discard(t, "pvc-1", 3)
	w.run(t, func() bool {
		_, err := os.Stat(w.dir + "/.claimdir/trash/" + name)
		return errors.Is(err, os.ErrNotExist)
	})
}

// As many as are removed at once are large, or somebody is filling them: a small one
// is not held up, and nothing is told as failed.
func TestLargeDirectoriesTakeTurns(t *testing.T) {
	w := newWorld(t)
	var large []string
	for i := range AtOnce {
		large = append(large, w.discard(t, fmt.Sprintf("pvc-a-%d", i), 300))
	}
	small := w.discard(t, "pvc-small", 3)
	w.config.Remover = share.NewRemover(4, 300)
	w.turn = 200 * time.Millisecond
	w.run(t, func() bool {
		_, err := os.Stat(w.dir + "/.claimdir/trash/" + small)
		return errors.Is(err, os.ErrNotExist)
	})
	for _, name := range large {
		if _, err := os.Stat(w.dir + "/.claimdir/trash/" + name); err != nil {
			t.Errorf("a large one went first: %v", err)
		}
	}
	w.config.Remover = share.NewRemover(4, 0)
	w.run(t, func() bool { return w.left(t) == 0 })
	if failures := w.reported(); len(failures) > 0 {
		t.Errorf("failures %v", failures)
	}
}

// Else each try would leave one more call behind, until the share has no room for
// anybody's.
func TestADirectoryThatHangsHangsOnce(t *testing.T) {
	w := openWorld(t)
	w.start(t, 100*time.Millisecond)
	w.every = 20 * time.Millisecond
	bad, answer := w.discard(t, "pvc-bad", 3), make(chan struct{})
	var inside atomic.Int32
	w.through(func(name string, call func() error) error {
		if name == "open "+bad {
			inside.Add(1)
			<-answer
		}
		return call()
	})
	ended := make(chan struct{})
	running, stop := context.WithCancel(t.Context())
	go func() { defer close(ended); w.Run(running) }()
	time.Sleep(time.Second) // ten times what a call may take
	w.discard(t, "pvc-good", 3)
	until(t, func() bool { return w.left(t) == 1 })
	if tries := inside.Load(); tries != 1 {
		t.Errorf("%d tries hang beside each other, want 1", tries)
	}
	k := w.config.Keeper
	must(t, k.Ready())
	stop()
	<-ended
	close(answer)
	until(t, func() bool { return k.Stuck() == 0 })
}

func TestClaimsGoBeforeTheTrash(t *testing.T) {
	busy, at := true, time.Now()
	e := New(Config{Keeper: named("fast"), Busy: func() bool { return busy }})
	wait := func(d time.Duration, want bool) {
		t.Helper()
		if at = at.Add(d); e.postponed(at) != want {
			t.Errorf("after %s: want postponed %v", d, want)
		}
	}
	wait(0, true)
	wait(postponeMost-time.Second, true)
	busy = false
	wait(0, false)
	busy = true
	wait(time.Second, true)
	wait(postponeMost-time.Second, true)
	wait(time.Second, false) // claims may come for ever
	wait(time.Hour, false)
}
