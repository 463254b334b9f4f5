package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const (
	timeout  = 100 * time.Millisecond
	patience = 20 * time.Second
	slots    = 3
)

// world is a kept share in a local directory, whose probes and operations hang
// on demand.
type world struct {
	*Keeper

	t       *testing.T
	dir     string
	every   time.Duration
	timeout time.Duration
	changes atomic.Int32
	mu      sync.Mutex
	mounted func() error
	paths   []volpath.Path
	untold  bool
	call    share.Call
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir() + "/share", every: 10 * time.Millisecond, timeout: timeout, mounted: func() error { return nil }}
	must(t, os.Mkdir(w.dir, 0o755))
	return w
}

func (w *world) start() *world {
	w.t.Helper()
	w.Keeper = New(Config{
		Mount:   share.Mount{Name: "fast", Dir: w.dir, Source: share.Source{Server: "nas", Path: "/export"}},
		Mounted: func() error { w.mu.Lock(); mounted := w.mounted; w.mu.Unlock(); return mounted() },
		Known:   func() ([]volpath.Path, bool) { w.mu.Lock(); defer w.mu.Unlock(); return w.paths, !w.untold },
		NewID:   "share-1", Timeout: w.timeout, Slots: slots, Call: w.call, Changed: func() { w.changes.Add(1) },
	})
	w.Keeper.every = w.every
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return w
}

// ready starts the keeper of a share that is in order.
func (w *world) ready() *world {
	w.t.Helper()
	w.start()
	w.eventually("the share is ready", func() bool { return w.Ready() == nil })
	return w
}

// hang lets probes hang until release.
func (w *world) hang() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := make(chan struct{})
	w.mounted = func() error { <-wait; return nil }
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.mounted = func() error { return nil }
		w.mu.Unlock()
		close(wait)
	})
}

func (w *world) trouble(kind Kind, words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the share is %s, %q", kind, words), func() bool { return isTrouble(w.Ready(), kind, words...) })
}

func isTrouble(err error, kind Kind, words ...string) bool {
	trouble, ok := errors.AsType[*Trouble](err)
	if !ok || trouble.Kind != kind {
		return false
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			return false
		}
	}
	return true
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !condition(); {
		if time.Now().After(end) {
			w.t.Fatalf("not in time: %s; the share says %v", what, w.Ready())
		}
		<-time.After(2 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.Parse(s)
	must(t, err)
	return p
}

// makeDirectory makes a directory on the share, as an operation does.
func makeDirectory(t *testing.T, store ledger.Store, path string) error {
	t.Helper()
	_, err := store.Dirs.Create(pathOf(t, path), share.Attributes{Mode: 0o755}, func() error { return nil })
	return err
}

func TestAnOperationWorksOnTheShare(t *testing.T) {
	w := newWorld(t).ready()
	want := errors.New("as it says")
	err := w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error {
		must(t, makeDirectory(t, store, "data"))
		if id, err := store.Records.Identity(); err != nil || id.ID != "share-1" {
			t.Error(id, err)
		}
		return want
	})
	if !errors.Is(err, want) {
		t.Error(err)
	}
	if _, err := os.Stat(w.dir + "/data"); err != nil {
		t.Error(err)
	}
	if w.ID() != "share-1" || w.Room().Size == 0 {
		t.Error(w.ID(), w.Room())
	}
}

// One call that hangs: the caller is told in time, and no call is made behind the one that
// comes late, by the directories or by the records.
func TestAnOperationThatGetsNoAnswerIsGivenUp(t *testing.T) {
	for name, late := range map[string]struct {
		result error
	}{"and succeeds late": {nil}, "and fails late": {syscall.EIO}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			release, ended := make(chan struct{}), make(chan struct{})
			var calls atomic.Int32
			w.call = func(name string, call func() error) error {
				calls.Add(1)
				if name == "make made" {
					<-release
					return errors.Join(call(), late.result)
				}
				return call()
			}
			w.ready()
			began := time.Now()
			err := w.Do(t.Context(), "test", func(ctx context.Context, store ledger.Store) error {
				defer close(ended)
				err := makeDirectory(t, store, "made")
				if !errors.Is(err, errGivenUp) && !errors.Is(err, syscall.EIO) {
					t.Errorf("the call that hung: %v", err)
				}
				made := calls.Load()
				if _, err := store.Dirs.Exists(pathOf(t, "made")); !errors.Is(err, errGivenUp) || ctx.Err() == nil {
					t.Errorf("the next call: %v", err)
				}
				if _, err := store.Records.Identity(); !errors.Is(err, errGivenUp) {
					t.Errorf("the next call of the ledger: %v", err)
				}
				if err := makeDirectory(t, store, "next"); !errors.Is(err, errGivenUp) {
					t.Errorf("the next change: %v", err)
				}
				if n := calls.Load(); n != made {
					t.Errorf("%d calls were made", n-made)
				}
				return err
			})
			if !isTrouble(err, Stalled, `share "fast" (nas:/export) has not answered since `) {
				t.Error(err)
			}
			if waited := time.Since(began); waited < timeout || waited > patience/2 {
				t.Errorf("given up after %s", waited)
			}
			if w.Stuck() != 1 || w.Ready() != nil {
				t.Errorf("%d stuck, %v", w.Stuck(), w.Ready())
			}
			before := w.changes.Load()
			close(release)
			<-ended
			w.eventually("it has ended and is told", func() bool { return w.Stuck() == 0 && w.changes.Load() > before })
			if _, err := os.Stat(w.dir + "/next"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it went on: %v", err)
			}
		})
	}
}

// A process that may make no calls any more makes none, and the operation has the reason.
func TestACallThatIsRefusedIsNotMade(t *testing.T) {
	w := newWorld(t)
	refused := errors.New("the lease is over")
	var over atomic.Bool
	w.call = func(_ string, call func() error) error {
		if over.Load() {
			return refused
		}
		return call()
	}
	w.ready()
	err := w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error {
		must(t, makeDirectory(t, store, "one"))
		over.Store(true)
		if _, err := store.Records.Identity(); !errors.Is(err, refused) {
			t.Errorf("the ledger: %v", err)
		}
		return makeDirectory(t, store, "two")
	})
	if !errors.Is(err, refused) || w.Ready() != nil {
		t.Error(err, w.Ready())
	}
	if _, err := os.Stat(w.dir + "/two"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it is made:", err)
	}
	over.Store(false)
	must(t, w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error { return makeDirectory(t, store, "two") }))
}

// What is under way when the process is asked to stop is finished.
func TestAnOperationOutlivesItsContext(t *testing.T) {
	w := newWorld(t).ready()
	ctx, cancel := context.WithCancel(t.Context())
	must(t, w.Do(ctx, "test", func(ctx context.Context, store ledger.Store) error {
		cancel()
		return errors.Join(ctx.Err(), makeDirectory(t, store, "data"))
	}))
}

// An operation of many calls may take as long as it needs.
func TestAnOperationWhoseCallsAreAnsweredIsNotGivenUp(t *testing.T) {
	w := newWorld(t).ready()
	err := w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error {
		for range 8 {
			<-time.After(timeout / 3)
			if _, err := store.Dirs.Exists(pathOf(t, "data")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// However many come and however long it lasts, no more than the slots and one
// look hang; then all goes on.
func TestAShareThatHangs(t *testing.T) {
	w := newWorld(t).ready()
	release, hanging := w.hang(), make(chan struct{})
	goroutines := runtime.NumGoroutine()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			err := w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { <-hanging; return nil })
			if !isTrouble(err, Stalled) {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	w.trouble(Stalled, "has not answered since")
	for range 100 {
		began := time.Now()
		if err := w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { t.Error("begun"); return nil }); !isTrouble(err, Stalled) {
			t.Error(err)
		}
		if waited := time.Since(began); waited > timeout/2 {
			t.Errorf("told after %s", waited)
		}
	}
	if n := runtime.NumGoroutine(); n > goroutines+slots+2 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if w.Stuck() > slots {
		t.Errorf("%d operations hang", w.Stuck())
	}
	waited := make(chan error)
	go func() { waited <- w.WaitReady(t.Context()) }()
	release()
	close(hanging)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	w.eventually("all places are free", func() bool { return w.Stuck() == 0 && len(w.slots) == 0 })
	must(t, w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { return nil }))
}

// The server answers the probe, but no operation.
func TestAShareWhereAllOperationsHangIsStalled(t *testing.T) {
	w := newWorld(t).ready()
	hanging := make(chan struct{})
	for range slots {
		_ = w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { <-hanging; return nil })
	}
	w.trouble(Stalled)
	close(hanging)
	w.eventually("ready again", func() bool { return w.Ready() == nil })
}

// Whoever calls again and again has no more than one call that hangs; but nobody
// waits beyond the end of the process.
func TestPeriodicWorkIsWaitedForToItsEnd(t *testing.T) {
	w := newWorld(t).ready()
	periodic := Periodic{w.Keeper}
	hang, left := make(chan struct{}), 0
	work := func(context.Context, ledger.Store) error {
		<-hang
		left = 1
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- periodic.Do(t.Context(), "test", work) }()
	w.eventually("it is given up", func() bool { return w.Stuck() == 1 })
	select {
	case err := <-ended:
		t.Fatalf("it returned while the call hangs: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error, 1)
	go func() {
		cancelled <- periodic.Do(ctx, "test", func(context.Context, ledger.Store) error { <-hang; return nil })
	}()
	w.eventually("the second is given up", func() bool { return w.Stuck() == 2 })
	cancel()
	if trouble, ok := errors.AsType[*Trouble](<-cancelled); !ok || trouble.Kind != Stalled {
		t.Errorf("got %v", trouble)
	}
	hang <- struct{}{}
	hang <- struct{}{}
	if trouble, ok := errors.AsType[*Trouble](<-ended); !ok || trouble.Kind != Stalled || left != 1 {
		t.Errorf("got %v, left %d", trouble, left)
	}
}

func TestStaleHandlesAreOpenedAnew(t *testing.T) {
	w := newWorld(t).ready()
	for name, c := range map[string]struct {
		stale, runs int
		err         error
	}{"once": {1, 2, nil}, "for good": {9, 2, syscall.ESTALE}} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			err := w.Do(t.Context(), "test", func(context.Context, ledger.Store) error {
				if runs++; runs <= c.stale {
					return fmt.Errorf("look: %w", syscall.ESTALE)
				}
				return nil
			})
			if runs != c.runs || !errors.Is(err, c.err) {
				t.Errorf("%d runs, %v", runs, err)
			}
		})
	}
}

func TestAPanicIsTheCallers(t *testing.T) {
	w := newWorld(t).ready()
	defer func() {
		if value := recover(); value != "tripped" {
			t.Errorf("recovered %v", value)
		}
		if len(w.slots) != 0 {
			t.Error("its slot is lost")
		}
	}()
	_ = w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { panic("tripped") })
}

// The second run of an operation whose handle went stale opens the directories anew that the
// first one held.
func TestAfterAStaleHandleNothingIsHeld(t *testing.T) {
	w := newWorld(t).ready()
	opened, runs := 0, 0
	stale := false
	w.config.Call = func(name string, call func() error) error {
		if name == "open the share" {
			opened++
		}
		if stale {
			stale = false
			return syscall.ESTALE
		}
		return call()
	}
	must(t, w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error {
		if _, err := store.Dirs.Exists(pathOf(t, "data")); err != nil {
			return err
		}
		if runs++; runs == 1 {
			stale = true
		}
		_, err := store.Dirs.Exists(pathOf(t, "data"))
		return err
	}))
	if opened != 2 || runs != 2 {
		t.Errorf("the share was opened %d times in %d runs", opened, runs)
	}
}

// Whatever is there in place of the share, nothing is done on it until the share
// is back.
func TestAShareThatIsExchanged(t *testing.T) {
	for name, exchange := range map[string]func(*testing.T, *world){
		"unmounted": func(t *testing.T, w *world) { must(t, os.Mkdir(w.dir, 0o755)) },
		"another": func(t *testing.T, w *world) {
			must(t, os.MkdirAll(w.dir+"/.claimdir", 0o755))
			must(t, os.WriteFile(w.dir+"/.claimdir/share.json", []byte(`{"layout":1,"id":"share-2"}`), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.every = time.Hour // the operation finds it, not the probe
			w.ready()
			must(t, os.Rename(w.dir, w.dir+".away"))
			exchange(t, w)
			err := w.Do(t.Context(), "test", func(_ context.Context, store ledger.Store) error {
				present, err := store.Dirs.Exists(pathOf(t, "data"))
				if present || err == nil || errors.Is(err, fs.ErrNotExist) {
					t.Error(present, err)
				}
				return err
			})
			if !isTrouble(err, WrongPlace, "has not been correctly mounted since", "nothing was changed", "restart claimdir") {
				t.Error(err)
			}
			err = w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { t.Error("begun"); return nil })
			if !isTrouble(err, WrongPlace) {
				t.Error(err)
			}
			must(t, os.RemoveAll(w.dir))
			must(t, os.Rename(w.dir+".away", w.dir))
			w.probeOnce(t.Context())
			if err := w.Ready(); err != nil {
				t.Error("the share is back:", err)
			}
		})
	}
}

func TestAMountThatIsGoneIsTold(t *testing.T) {
	w := newWorld(t).ready()
	w.mu.Lock()
	w.mounted = func() error { return errors.New("nothing is mounted there") }
	w.mu.Unlock()
	w.trouble(WrongPlace, "nothing is mounted there")
}

func TestFirstUseIsToldFromALostMount(t *testing.T) {
	w := newWorld(t)
	w.paths, w.untold = []volpath.Path{pathOf(t, "team/a"), pathOf(t, "team/b")}, true
	w.start()
	w.trouble(Starting, "waiting for the list of the cluster's PersistentVolumes")
	w.mu.Lock()
	w.untold = false
	w.mu.Unlock()
	w.trouble(WrongPlace, "volumes on it (2)", "neither .claimdir/share.json", "claimdir's log names one")
	err := w.Ready() // everybody reads it: at /readyz, and in the events of each claim
	if strings.Contains(err.Error(), "team/") {
		t.Errorf("it names a volume: %v", err)
	}
	if lost, ok := errors.AsType[*lostError](err); !ok || lost.example.String() != "team/a" {
		t.Errorf("the log does not name a volume: %+v", lost)
	}
	if entries, err := os.ReadDir(w.dir); err != nil || len(entries) > 0 {
		t.Errorf("made there: %v, %v", entries, err)
	}
	must(t, os.MkdirAll(w.dir+"/team/b", 0o755))
	w.eventually("one of the volumes is there", func() bool { return w.Ready() == nil })
}

// What comes while the share starts waits for its first look, if that does not
// take too long.
func TestOperationsWaitForTheFirstLook(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "too late": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.untold = true
			if !late {
				w.timeout = patience
			}
			w.start()
			began := make(chan struct{})
			go func() {
				defer close(began)
				if late {
					return
				}
				<-time.After(timeout / 4)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.untold = false
			}()
			err := w.Do(t.Context(), "test", func(context.Context, ledger.Store) error { return nil })
			if late && !isTrouble(err, Starting) || !late && err != nil {
				t.Error(err)
			}
			<-began
		})
	}
}

func TestUsedSharesAreServedWithoutTheirVolumes(t *testing.T) {
	newWorld(t).ready() // a first use: the cluster has no volumes
	w := newWorld(t)
	w.paths = []volpath.Path{pathOf(t, "team/a")}
	must(t, os.MkdirAll(w.dir+"/.claimdir", 0o755))
	must(t, os.WriteFile(w.dir+"/.claimdir/share.json", []byte(`{"layout":1,"id":"share-2"}`), 0o600))
	w.ready()
	if w.ID() != "share-2" {
		t.Error(w.ID())
	}
}

func TestAShareThatCannotBeUsedSaysWhy(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.dir+"/.claimdir", 0o755))
	must(t, os.WriteFile(w.dir+"/.claimdir/share.json", []byte(`{"layout":99,"id":"x"}`), 0o600))
	w.start()
	w.trouble(Failing, "layout 99", "run a newer one")
	must(t, os.RemoveAll(w.dir+"/.claimdir"))
	w.eventually("it can be used", func() bool { return w.Ready() == nil })
}
