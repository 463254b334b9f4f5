package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// expirer returns the one of the world, and what it reported.
func (w *world) expirer() (e *Expirer, reported *[]string) {
	reported = &[]string{}
	e = w.Expirers(func(_ context.Context, archive ledger.Record, err error) {
		*reported = append(*reported, archive.PV+": "+err.Error())
	})[0]
	return e, reported
}

// ending makes an archive that ended that long ago, or ends in future.
func (w *world) ending(t *testing.T, pv string, ago time.Duration) (archive string) {
	t.Helper()
	archive = w.archived(t, "ns/data", pv)
	r := w.record(t, archive)
	r.Until = new(time.Now().Add(-ago))
	w.writeRecord(t, r)
	return archive
}

func TestAnArchiveEndsWhenItsTimeIsOver(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Second)
	later := w.ending(t, "pvc-2", -time.Hour)
	never := w.archived(t, "ns/data", "pvc-3")
	e, reported := w.expirer()
	must(t, e.expire(t.Context()))
	w.holds(t, later, later+"/file-of-pvc-2", later+" = pvc-2 archived", never, never+"/file-of-pvc-3", never+" = pvc-3 archived")
	if trash := w.trash(t); !slices.Equal(trash, []string{"pvc-1-1", "pvc-1-1 = pvc-1"}) || len(*reported) > 0 {
		t.Errorf("trash %q, reported %q", trash, *reported)
	}
}

// A release that failed half-way does not fix when the archive ends.
func TestTheRetentionCountsWhenTheArchiveIsMade(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "archiveRetention", "1ns")))
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Rename" {
			return syscall.EIO
		}
		return do()
	}
	_, failed := w.Delete(t.Context(), pv), w.record(t, "archived-ns-data-pvc-1")
	if failed.Until == nil {
		t.Fatal("there is no record of the first try")
	}
	w.dirs.step = nil
	pv.Annotations[volume.AnnotationArchiveRetention] = "720h" // an administrator saw the event
	must(t, w.Delete(t.Context(), pv))
	r := w.record(t, "archived-ns-data-pvc-1")
	if !r.Released.After(*failed.Released) || r.Until.Sub(*r.Released) != 720*time.Hour {
		t.Errorf("released %v, until %v", r.Released, r.Until)
	}
}

// stale is a share on which the first run of each operation meets a stale handle at
// its end: see keeper.Keeper.
type stale struct{ Site }

func (s stale) Background(ctx context.Context, name string, work Work) error {
	_ = s.Site.Background(ctx, name, work)
	return s.Site.Background(ctx, name, work)
}

func TestStaleHandlesHoldNoEndUp(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Second)
	w.ending(t, "pvc-2", time.Second)
	e, reported := w.expirer()
	e.site = stale{e.site}
	for range 3 {
		must(t, e.expire(t.Context()))
	}
	w.holds(t)
	if len(*reported) > 0 {
		t.Error(*reported)
	}
}

func TestTheRetentionOfTheVolumeCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		class     []string
		annotated string
		want      time.Duration
	}{
		"the class's":                     {class: []string{"archiveRetention", "48h"}, want: 48 * time.Hour},
		"the annotation's":                {annotated: "90m", want: 90 * time.Minute},
		"the annotation before the class": {class: []string{"archiveRetention", "48h"}, annotated: "90m", want: 90 * time.Minute},
		"none":                            {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", tt.class...)))
			if tt.annotated != "" {
				pv.Annotations[volume.AnnotationArchiveRetention] = tt.annotated
			}
			must(t, w.Delete(t.Context(), pv))
			r := w.record(t, "archived-ns-data-pvc-1")
			if (r.Until == nil) != (tt.want == 0) || r.Until != nil && r.Until.Sub(*r.Released) != tt.want {
				t.Errorf("until %v, released %v", r.Until, r.Released)
			}
		})
	}
	t.Run("a mistake", func(t *testing.T) {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
		pv.Annotations[volume.AnnotationArchiveRetention] = "30 days"
		before := w.snapshot(t)
		refused(t, w.Delete(t.Context(), pv), refusal.ReasonVolume, true, volume.AnnotationArchiveRetention, `"30 days"`, "720h")
		w.untouched(t, before)
	})
}

// waitedFor is a share on which somebody waits for each operation.
type waitedFor struct{ Site }

func (w waitedFor) Do(context.Context, string, Work) error {
	return errors.New("nobody waits for this: it would leave a call behind at each try")
}

func TestWhatNobodyWaitsForHangsOnce(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Second)
	w.orphan(t, ledger.Active, "left")
	w.Provisioner = New(cluster, w.seen, waitedFor{w.site}).Provisioners()[0]
	e, reported := w.expirer()
	must(t, e.expire(t.Context()))
	must(t, w.RemoveOrphan(t.Context(), w.site, pathOf(t, "left"), nobody))
	w.holds(t)
	if len(*reported) > 0 {
		t.Error(*reported)
	}
}

// What another cluster shows of it cannot be seen here.
func TestAnotherClustersArchiveDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Second)
	r := w.record(t, archive)
	r.Cluster = "elsewhere"
	w.writeRecord(t, r)
	e, reported := w.expirer()
	must(t, e.expire(t.Context()))
	path, err := volpath.ParseRecorded(archive)
	must(t, err)
	must(t, operation{Shares: w.Shares, dirs: w.dirs, ledger: w.ledger}.expire(t.Context(), path))
	w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
	if len(*reported) > 0 {
		t.Error(*reported)
	}
}

func TestAnArchiveInUseDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Hour)
	w.seen.volumes = []*v1.PersistentVolume{handMade("by-hand", archive)}
	e, reported := w.expirer()
	must(t, e.expire(t.Context()))
	must(t, e.expire(t.Context()))
	w.holds(t, archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
	if len(*reported) != 1 || !strings.Contains((*reported)[0], "by-hand") { // not each minute
		t.Errorf("reported %q", *reported)
	}
}

func TestAnArchiveThatBecameAVolumeDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Hour)
	e, _ := w.expirer()
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Discard" { // a claim is faster
			w.dirs.step = nil
			archive, err := volpath.ParseRecorded("archived-ns-data-pvc-1")
			must(t, err)
			must(t, w.dirs.Rename(archive, pathOf(t, "data")))
		}
		return do()
	}
	must(t, e.expire(t.Context()))
	w.holds(t, "data", "data/file-of-pvc-1")
}

func TestExpiryCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		w.ending(t, "pvc-1", time.Hour)
		e, _ := w.expirer()
		if !w.cutOff(t, &fault{n: n, kill: true}, func() error { return errors.Join(e.expire(t.Context()), errCut) }) {
			break
		}
		w.restart(t)
		e, _ = w.expirer()
		must(t, e.expire(t.Context()))
		w.holds(t)
		if trash := w.trash(t); !slices.Contains(trash, "pvc-1-1") {
			t.Errorf("trash %q", trash)
		}
	}
}

// Records are read when they are new, when they end, and once an hour.
func TestRecordsOfArchivesAreNotReadAllTheTime(t *testing.T) {
	dir := t.TempDir()
	dirs, err := share.Open(dir)
	must(t, err)
	records, err := ledger.Open(dirs, "share-1")
	must(t, err)
	path, err := volpath.ParseRecorded("archived-ns-data-pvc-1")
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		must(t, records.Archive(path, ledger.Record{Path: "data", PV: "pvc-1", Cluster: cluster}))
		e := New(cluster, &seen{}, direct{share.Source{}, Files{dirs, records}}).Expirers(nil)[0]
		for look, want := range []int{0, 0} {
			due, err := e.due(t.Context())
			must(t, err)
			if len(due) != want {
				t.Errorf("look %d: due %v", look, due)
			}
		}
		r, _, err := records.Lookup(path)
		must(t, err)
		r.Until = new(time.Now()) // as nobody does
		data, err := json.Marshal(r)
		must(t, err)
		must(t, dirs.ReplaceMeta("volumes/"+r.Path+".json", data))
		if due, err := e.due(t.Context()); err != nil || len(due) > 0 {
			t.Errorf("read again at once: %v, %v", due, err)
		}
		time.Sleep(rereadEvery + time.Second)
		if due, err := e.due(t.Context()); err != nil || len(due) != 1 {
			t.Errorf("not read again: %v, %v", due, err)
		}
	})
}
