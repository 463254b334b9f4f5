package expiry

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

// world is a share with archives and their Expirer.
type world struct {
	*sharetest.World
	*Expirer

	reported, told []string
	copied         string // the claim that is to be a copy of every archive
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: sharetest.NewWorld(t)}
	w.start()
	return w
}

// start makes the Expirer of a new process.
func (w *world) start() {
	w.Expirer = New(Config{Keeper: w.Keeper, Steps: w.Steps, Report: func(_ context.Context, archive ledger.Record, err error) {
		w.reported = append(w.reported, archive.PV+": "+err.Error())
	}, Held: func(_ context.Context, _ ledger.Record, text string) { w.told = append(w.told, text) },
		Copied: func(context.Context, ledger.Record) string { return w.copied }})
}

// ending makes an archive that ended that long ago, or ends in future; zero means never.
func (w *world) ending(t *testing.T, pv string, ago time.Duration, change ...func(*ledger.Record)) (archive string) {
	t.Helper()
	archive = "archived-ns-data-" + pv
	w.Tree(t, archive+"/file-of-"+pv)
	store, path := w.Store(t), sharetest.PathOf(t, archive)
	id, err := store.Dirs.Identify(path)
	must(t, err)
	r := ledger.Record{Path: "data", PV: pv, Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-" + pv}}
	for _, c := range change {
		c(&r)
	}
	must(t, store.Records.Archive(path, r, id))
	w.until(t, archive, ago)
	return archive
}

// until lets an archive end that long ago.
func (w *world) until(t *testing.T, archive string, ago time.Duration) {
	t.Helper()
	r := w.Record(t, archive)
	if r.Until = nil; ago != 0 {
		r.Until = new(time.Now().Add(-ago))
	}
	must(t, w.Store(t).Records.Update(sharetest.PathOf(t, archive), r))
}

func must(t *testing.T, err error) {
	t.Helper()
	sharetest.Must(t, err)
}

func TestAnArchiveEndsWhenItsTimeIsOver(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Second)
	later := w.ending(t, "pvc-2", -time.Hour)
	never := w.ending(t, "pvc-3", 0)
	must(t, w.expire(t.Context()))
	w.Holds(t, later, later+"/file-of-pvc-2", later+" = pvc-2 archived", never, never+"/file-of-pvc-3", never+" = pvc-3 archived")
	if trash := w.Trash(t); !slices.Equal(trash, []string{"pvc-1"}) || len(w.reported) > 0 {
		t.Errorf("trash %q, reported %q", trash, w.reported)
	}
}

// An archive of which a claim is to be a copy stays until it has it, however long that takes, and nobody is alarmed.
func TestAnArchiveThatIsCopiedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		archive := w.ending(t, "pvc-1", time.Second)
		w.copied = "copy"
		for range 100 {
			must(t, w.expire(t.Context()))
			time.Sleep(time.Minute)
		}
		w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
		if len(w.reported)+len(w.told) > 0 {
			t.Errorf("reported %q, told %q", w.reported, w.told)
		}
		w.copied = ""
		for range 11 {
			must(t, w.expire(t.Context()))
			time.Sleep(time.Minute)
		}
		w.Holds(t)
	})
}

// Archives that are copied take none of the places of those that were found late, too.
func TestLateArchivesThatAreCopiedTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ending(t, "pvc-1", 2*time.Hour)
		must(t, w.expire(t.Context()))
		time.Sleep(grace)
		w.copied = "copy"
		for range 2 * leastADay {
			must(t, w.expire(t.Context()))
			time.Sleep(again)
		}
		if w.endedLate != 0 {
			t.Errorf("%d count as ended", w.endedLate)
		}
		w.copied = ""
		must(t, w.expire(t.Context()))
		w.Holds(t)
	})
}

// Whichever call meets a stale handle, before or after it is made.
func TestStaleHandlesHoldNoEndUp(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n, hit := 1, "some call"; hit != ""; n++ {
			w := newWorld(t)
			w.ending(t, "pvc-1", time.Second)
			w.ending(t, "pvc-2", time.Second)
			hit = ""
			calls := 0
			w.Hook(func(name string, call func() error) error {
				if calls++; calls != n {
					return call()
				}
				if hit = name; after {
					_ = call()
				}
				return syscall.ESTALE
			})
			must(t, w.expire(t.Context()))
			w.Holds(t)
			if len(w.reported) > 0 {
				t.Fatalf("call %d, %q, made %v: %v", n, hit, after, w.reported)
			}
			w.End()
		}
	}
}

// A look that hangs is waited for: otherwise each would leave one more call behind.
func TestWhatNobodyWaitsForHangsOnce(t *testing.T) {
	for _, hangs := range []string{"open archived-ns-data-pvc-1", "rename archived-ns-data-pvc-1"} { // while it is looked for, and moved
		w := newWorld(t)
		w.ending(t, "pvc-1", time.Second)
		w.WithTimeout(50 * time.Millisecond)
		w.Restart(t)
		w.start()
		var inside atomic.Int32
		answer, ended := make(chan struct{}), make(chan struct{})
		w.Hook(func(name string, call func() error) error {
			if name == hangs {
				inside.Add(1)
				<-answer
			}
			return call()
		})
		go func() {
			defer close(ended)
			for range 3 {
				_ = w.expire(t.Context())
			}
		}()
		time.Sleep(500 * time.Millisecond) // ten times what a call may take
		if n := inside.Load(); n != 1 {
			t.Errorf("%d looks hang at %q", n, hangs)
		}
		close(answer)
		<-ended
		w.Holds(t)
	}
}

// What another cluster shows of it cannot be seen here.
func TestAnotherClustersArchiveDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Second, func(r *ledger.Record) { r.Cluster = "elsewhere" })
	must(t, w.expire(t.Context()))
	must(t, w.Steps.On(t.Context(), w.Keeper, sharetest.PathOf(t, archive), "expire", func(ctx context.Context, op steps.Op) error {
		return op.Expire(ctx, func(context.Context, ledger.Record) bool { return true })
	}))
	w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
	if len(w.reported) > 0 {
		t.Error(w.reported)
	}
}

// It may be given more time while it is on its way out.
func TestAnArchiveIsAskedForItsEndOnceMore(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Second)
	due, _, err := w.expired(t.Context())
	must(t, err)
	if len(due) != 1 {
		t.Fatal(due)
	}
	w.until(t, archive, -time.Hour)
	must(t, w.Steps.On(t.Context(), w.Keeper, sharetest.PathOf(t, archive), "expire", func(ctx context.Context, op steps.Op) error {
		return op.Expire(ctx, func(_ context.Context, r ledger.Record) bool { return w.over(r.Until) })
	}))
	w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
}

func TestAnArchiveInUseDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Minute)
	w.Seen.PVs = []*v1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Spec: v1.PersistentVolumeSpec{
		PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: sharetest.Source().Server, Path: sharetest.Source().Path + "/" + archive}},
	}}}
	must(t, w.expire(t.Context()))
	must(t, w.expire(t.Context()))
	w.Holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
	if len(w.reported) != 1 || !strings.Contains(w.reported[0], "by-hand") { // not each minute
		t.Errorf("reported %q", w.reported)
	}
}

func TestAnArchiveThatBecameAVolumeDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Minute)
	w.Hook(func(name string, call func() error) error {
		if name == "rename "+archive { // a claim is faster
			must(t, os.Rename(w.Dir+"/"+archive, w.Dir+"/data"))
		}
		return call()
	})
	must(t, w.expire(t.Context()))
	w.Holds(t, "data", "data/file-of-pvc-1")
	if trash := w.Trash(t); len(trash) > 0 || len(w.reported) > 0 {
		t.Errorf("trash %q, reported %q", trash, w.reported)
	}
}

// Another directory at the archive's name is not the one that ends.
func TestAnotherDirectoryDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Minute)
	must(t, os.Rename(w.Dir+"/"+archive, w.Dir+"/kept"))
	w.Tree(t, archive+"/precious")
	must(t, w.expire(t.Context()))
	w.Holds(t, "kept", "kept/file-of-pvc-1", archive, archive+"/precious", archive+" = pvc-1 archived")
	if len(w.reported) != 1 {
		t.Errorf("reported %q", w.reported)
	}
}

func TestExpiryCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	for _, kill := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			w.ending(t, "pvc-1", time.Minute)
			f := &sharetest.Fault{N: n, Kill: kill}
			if !w.CutOff(f, func() error { return w.expire(t.Context()) }) {
				break
			}
			w.Restart(t)
			w.start()
			must(t, w.expire(t.Context()))
			w.Holds(t)
			if trash := w.Trash(t); !slices.Equal(trash, []string{"pvc-1"}) {
				t.Errorf("cut off %s (kill %v): trash %q", f.Hit(), kill, trash)
			}
			w.End()
		}
	}
}

// A share that is in trouble is waited for, and nobody is told about each archive.
func TestTroubleIsNotTheArchives(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Second)
	w.ending(t, "pvc-2", time.Second)
	renames := 0
	w.Hook(func(name string, call func() error) error {
		if strings.HasPrefix(name, "rename archived-") {
			renames++
			return share.ErrNotRecognised
		}
		return call()
	})
	must(t, w.expire(t.Context()))
	if len(w.reported) > 0 || renames != 1 {
		t.Errorf("reported %q after %d", w.reported, renames)
	}
	w.Hook(nil)
	must(t, w.Keeper.WaitReady(t.Context()))
	must(t, w.expire(t.Context()))
	if trash := w.Trash(t); len(trash) != 2 || len(w.reported) > 0 {
		t.Errorf("trash %q, reported %q", trash, w.reported)
	}
}

// Records are read when they are new, when they end, and once an hour.
func TestRecordsOfArchivesAreNotReadAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		archive := w.ending(t, "pvc-1", 0)
		looks := func(want int) {
			t.Helper()
			due, _, err := w.expired(t.Context())
			if must(t, err); len(due) != want {
				t.Errorf("due %v, want %d", due, want)
			}
		}
		looks(0)
		w.until(t, archive, time.Nanosecond) // as nobody does
		looks(0)
		w.ending(t, "pvc-2", time.Second)
		looks(1)
		time.Sleep(rereadEvery + time.Second)
		looks(2)
	})
}

// Run looks at once and then each minute, and tries what it could not move again after ten.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		archive := w.ending(t, "pvc-1", time.Second)
		w.Hook(func(name string, call func() error) error {
			if name == "rename "+archive {
				return errors.New("no")
			}
			return call()
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		time.Sleep(again + every/2)
		synctest.Wait()
		if len(w.reported) != 2 {
			t.Errorf("reported %q", w.reported)
		}
		w.Hook(nil)
		w.ending(t, "pvc-2", time.Second)
		time.Sleep(every)
		synctest.Wait()
		if trash := w.Trash(t); !slices.Equal(trash, []string{"pvc-2"}) {
			t.Errorf("trash %q", trash)
		}
		cancel()
		<-ended
	})
}
