package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// world is a share with a trash and its Emptier.
type world struct {
	*Emptier

	dir    string
	dirs   *share.Share
	ledger *ledger.Ledger

	mu       sync.Mutex
	failures []Failure
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var err error
	w.dirs, err = share.Open(w.dir)
	must(t, err)
	w.ledger, err = ledger.Open(w.dirs, "share-1")
	must(t, err)
	k := keeper.New(keeper.Config{
		Mount: share.Mount{Dir: w.dir, Source: share.Source{Server: "nfs.example.com", Path: "/export"}}, NewID: "share-1",
		Timeout: 20 * time.Second, Slots: AtOnce + 1, Changed: func() {}, Known: func() ([]volpath.Path, bool) { return nil, true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go k.Run(ctx)
	must(t, k.WaitReady(t.Context()))
	w.Emptier = New(Config{Keeper: k, Remover: share.NewRemover(4, 0), Report: w.report})
	w.every, w.first = 20*time.Millisecond, 50*time.Millisecond
	return w
}

// stale is a Keeper on whose share each operation meets a stale handle at its end,
// and so is run a second time.
type stale struct{ Keeper }

func (s stale) Background(ctx context.Context, name string, work keeper.Work) error {
	runs := 0
	return s.Keeper.Background(ctx, name, func(ctx context.Context, do, undo keeper.View) (func(bool), error) {
		runs++
		end, err := work(ctx, do, undo)
		if runs == 1 {
			err = syscall.ESTALE
		}
		return end, err
	})
}

func TestStaleHandlesHoldNothingUp(t *testing.T) {
	w := newWorld(t)
	w.config.Keeper = stale{w.config.Keeper}
	for i := range 3 {
		w.discard(t, fmt.Sprintf("pvc-%d", i), 3)
		w.run(t, func() bool { return w.left(t) == 0 })
	}
	if failures := w.reported(); len(failures) > 0 {
		t.Error(failures)
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
	path, err := volpath.Parse("team-" + pv)
	must(t, err)
	_, err = w.ledger.Claim(path, ledger.Record{State: ledger.Active, PV: pv, Cluster: "c", Class: "nfs", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}}, false)
	must(t, err)
	for i := range files {
		must(t, os.MkdirAll(fmt.Sprintf("%s/team-%s/%d", w.dir, pv, i%7), 0o755))
		must(t, os.WriteFile(fmt.Sprintf("%s/team-%s/%d/%d", w.dir, pv, i%7, i), nil, 0o644))
	}
	must(t, os.MkdirAll(w.dir+"/team-"+pv, 0o755))
	name, err = w.dirs.Discard(path, pv)
	must(t, err)
	must(t, w.ledger.Discard(path, name))
	return name
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

// times is how many there are of something: fewer with CLAIMDIR_TEST_BRIEF set,
// for a slow share.
func times(fast, slow int) int {
	if os.Getenv("CLAIMDIR_TEST_BRIEF") != "" {
		return slow
	}
	return fast
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
		w.discard(t, fmt.Sprintf("pvc-%d", i), i*times(20, 2))
	}
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/of-an-older-process-1/half", 0o755)) // no record
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/stray-1", nil, 0o644))
	must(t, os.WriteFile(w.dir+"/.claimdir/trash/pvc-gone-1.json", []byte("{"), 0o600)) // its directory went in an earlier run
	w.run(t, func() bool { return w.left(t) == 0 && w.known() == 0 })
	if _, err := os.Stat(w.dir + "/team-other/sub"); err != nil {
		t.Error(err)
	}
	if failures := w.reported(); len(failures) > 0 {
		t.Errorf("%v", failures)
	}
	want := fmt.Sprintf(`# HELP claimdir_trash_removed_files_total Files removed from the trash.
# TYPE claimdir_trash_removed_files_total counter
claimdir_trash_removed_files_total{share=""} %d
# HELP claimdir_trash_volumes Released volumes' directories that wait in the trash.
# TYPE claimdir_trash_volumes gauge
claimdir_trash_volumes{share=""} 0
`, 66*times(20, 2)+1)
	must(t, testutil.CollectAndCompare(NewCollector(w.Emptier), strings.NewReader(want), "claimdir_trash_removed_files_total", "claimdir_trash_volumes"))
	if problems, err := testutil.CollectAndLint(NewCollector(w.Emptier)); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
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
	files := times(2000, 350)
	large := w.discard(t, "pvc-large", files)
	w.config.Remover = share.NewRemover(0, files/2)
	before := w.left(t)
	w.run(t, func() bool {
		entries, _ := os.ReadDir(w.dir + "/.claimdir/trash/" + large + "/0")
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
	if failures := w.reported(); len(failures) > 0 || len(w.turns) > 0 {
		t.Errorf("failures %v, turns %v", failures, w.turns)
	}
}

// hanging is a share on which one directory of the trash gets no answer.
type hanging struct {
	*keeper.Keeper

	name   string
	inside atomic.Int32
	answer chan struct{}
}

func (h *hanging) Background(ctx context.Context, name string, work keeper.Work) error {
	if strings.HasSuffix(name, h.name) {
		return h.Keeper.Background(ctx, name, func(context.Context, keeper.View, keeper.View) (func(bool), error) {
			h.inside.Add(1)
			<-h.answer
			return nil, nil
		})
	}
	return h.Keeper.Background(ctx, name, work)
}

// Else each try would leave one more call behind, until the share has no room for
// anybody's.
func TestADirectoryThatHangsHangsOnce(t *testing.T) {
	w := newWorld(t)
	k := keeper.New(keeper.Config{
		Mount: share.Mount{Dir: w.dir, Source: share.Source{Server: "nfs.example.com", Path: "/export"}}, NewID: "share-1",
		Timeout: 100 * time.Millisecond, Slots: 2 * AtOnce, Changed: func() {}, Known: func() ([]volpath.Path, bool) { return nil, true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go k.Run(ctx)
	must(t, k.WaitReady(t.Context()))
	h := &hanging{Keeper: k, name: w.discard(t, "pvc-bad", 3), answer: make(chan struct{})}
	w.config.Keeper = h
	ended := make(chan struct{})
	running, stop := context.WithCancel(t.Context())
	go func() { defer close(ended); w.Run(running) }()
	time.Sleep(time.Second) // ten times what a call may take
	w.discard(t, "pvc-good", 3)
	until(t, func() bool { return w.left(t) == 2 })
	if tries := h.inside.Load(); tries != 1 {
		t.Errorf("%d tries hang beside each other, want 1", tries)
	}
	must(t, k.Ready())
	stop()
	<-ended
	close(h.answer)
	until(t, func() bool { return k.Stuck() == 0 })
}

func TestWhatFailsIsToldAndTriedAgainLater(t *testing.T) {
	w := newWorld(t)
	record := ledger.Record{PV: "pvc-1", Path: "team/data", Claim: ledger.Claim{Namespace: "team", Name: "data"}}
	first := w.failed("pvc-1-1", record, fmt.Errorf("remove: sub/file: %w", os.ErrPermission))
	second := w.failed("pvc-1-1", record, fmt.Errorf("remove: sub/file: %w", os.ErrPermission))
	for range 20 {
		_ = w.failed("pvc-1-1", record, os.ErrPermission)
	}
	if first.Retry != w.first || second.Retry != 2*w.first || w.Emptier.failing["pvc-1-1"].wait != retryMost {
		t.Errorf("waits %v, %v, %v", first.Retry, second.Retry, w.Emptier.failing["pvc-1-1"].wait)
	}
	for _, word := range []string{"pvc-1", "team/data", "sub/file", "tried again in"} {
		if !strings.Contains(first.Error(), word) {
			t.Errorf("%q does not say %q", first, word)
		}
	}
	if due := w.due([]string{"pvc-1-1", "pvc-2-1"}); len(due) != 1 || due[0] != "pvc-2-1" {
		t.Errorf("due are %q", due)
	}
	const want = `# HELP claimdir_trash_failing_volumes Released directories whose removal has failed so far, by reason.
# TYPE claimdir_trash_failing_volumes gauge
claimdir_trash_failing_volumes{reason="busy",share=""} 0
claimdir_trash_failing_volumes{reason="filled",share=""} 0
claimdir_trash_failing_volumes{reason="mounted",share=""} 0
claimdir_trash_failing_volumes{reason="other",share=""} 0
claimdir_trash_failing_volumes{reason="permission",share=""} 1
`
	must(t, testutil.CollectAndCompare(NewCollector(w.Emptier), strings.NewReader(want), "claimdir_trash_failing_volumes"))
	if w.due(nil); len(w.failing()) > 0 {
		t.Error("what is gone still fails")
	}
}

// known is how many directories the metric shows: the next listing corrects it where
// one was removed during the last.
func (w *world) known() int {
	w.Emptier.mu.Lock()
	defer w.Emptier.mu.Unlock()
	return w.waiting
}

func (w *world) failing() []string {
	w.Emptier.mu.Lock()
	defer w.Emptier.mu.Unlock()
	var names []string
	for name := range w.Emptier.failing {
		names = append(names, name)
	}
	return names
}

func TestADirectoryThatFailedIsDueAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{})
		_ = e.failed("pvc-1-1", ledger.Record{}, os.ErrPermission)
		if due := e.due([]string{"pvc-1-1"}); len(due) > 0 {
			t.Errorf("due at once: %q", due)
		}
		time.Sleep(retryFirst)
		if due := e.due([]string{"pvc-1-1"}); len(due) != 1 {
			t.Errorf("not due: %q", due)
		}
		// Those that take long to fail would else hold up what comes behind them for good.
		if due := e.due([]string{"pvc-1-1", "pvc-2-1"}); !slices.Equal(due, []string{"pvc-2-1", "pvc-1-1"}) {
			t.Errorf("due are %q", due)
		}
	})
}
