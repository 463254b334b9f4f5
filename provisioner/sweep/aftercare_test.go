package sweep

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// bound makes a bound volume with a file in its directory, as it is on record.
func (w *world) bound(t *testing.T, pv, path string) ledger.Record {
	t.Helper()
	w.volume(t, pv, path)
	w.record(t, ledger.Active, pv, path)
	w.Tree(t, path+"/file-of-"+pv)
	w.identify(t)
	return w.Record(t, path)
}

// isAt fails the test unless the volume has the directory of its record at its path.
func (w *world) isAt(t *testing.T, r ledger.Record) {
	t.Helper()
	id, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, r.Path))
	if err != nil || r.Directory.Match(id) != share.Same {
		t.Errorf("at %s is %+v, want %+v; %v", r.Path, id, r.Directory, err)
	}
	if _, err := os.Stat(w.Dir + "/" + r.Path + "/file-of-" + r.PV); err != nil {
		t.Error(err)
	}
}

// copied copies the whole share, as a backup or a move to another server does, and puts
// the copy where the share was. Its directories have other numbers.
func (w *world) copied(t *testing.T) {
	t.Helper()
	w.End()
	must(t, os.Rename(w.Dir, w.Dir+".before"))
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", w.Dir+".before", w.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.Dir + ".before") })
	w.start(t, time.Hour)
}

func (w *world) told1(t *testing.T, reason string, words ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) != 1 || w.reports[0].Reason != reason {
		t.Errorf("told %+v, want one of %s", w.reports, reason)
		return
	}
	for _, word := range words {
		if !strings.Contains(w.reports[0].Text, word) {
			t.Errorf("told %q, want %q", w.reports[0].Text, word)
		}
	}
}

func TestACopiedShareIsServed(t *testing.T) {
	w := newWorld(t, time.Hour)
	paths := []string{"team/a", "team/b", "c", "kept", "archived-ns-data-pvc-5"}
	w.bound(t, "pvc-1", "team/a")
	w.bound(t, "pvc-2", "team/b")
	w.bound(t, "pvc-3", "c")
	w.record(t, ledger.Retained, "pvc-4", "kept")
	w.record(t, ledger.Archived, "pvc-5", "archived-ns-data-pvc-5", func(r *ledger.Record) { r.Origin = "before" })
	w.record(t, ledger.Active, "pvc-6", "elsewheres", func(r *ledger.Record) { r.Cluster = "elsewhere" })
	w.Tree(t, "kept/", "archived-ns-data-pvc-5/", "elsewheres/")
	w.identify(t)
	must(t, w.pass(t.Context()))
	if len(w.reports) > 0 {
		t.Fatalf("before it was copied: %+v", w.reports)
	}
	foreign := w.Record(t, "elsewheres")
	w.copied(t)
	must(t, w.pass(t.Context()))
	w.told1(t, steps.EventRenewed, "(5, such as ")
	w.told(t)
	for _, path := range paths {
		r := w.Record(t, path)
		if id, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, path)); err != nil || r.Directory.Match(id) != share.Same {
			t.Errorf("the record of %s says %+v, it is %+v; %v", path, r.Directory, id, err)
		}
	}
	if now := w.Record(t, "elsewheres"); *now.Directory != *foreign.Directory {
		t.Error("another cluster's record was renewed")
	}
	must(t, w.pass(t.Context()))
	w.told1(t, steps.EventRenewed) // once
	pv := w.volumes()[0]
	pv.Annotations["claimdir/on-delete"] = "delete"
	must(t, w.provisioner().Delete(t.Context(), &pv))
	if _, err := os.Stat(w.Dir + "/" + pv.Annotations["claimdir/path"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was not released: %v", err)
	}
	w.told1(t, steps.EventRenewed) // and not that it was archived in place of that
}

// A directory that was replaced by its copy is the volume's while that is in use. Once it
// is released, what is there may be anybody's.
func TestADirectoryThatWasReplacedByItsCopy(t *testing.T) {
	for phase, renewed := range map[v1.PersistentVolumePhase]bool{v1.VolumeBound: true, v1.VolumeReleased: false} {
		t.Run(string(phase), func(t *testing.T) {
			w := newWorld(t, time.Hour)
			r := w.bound(t, "pvc-1", "a")
			pv := w.volumes()[0]
			pv.Status.Phase = phase
			must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
			must(t, os.Rename(w.Dir+"/a", w.Dir+"/a.before"))
			w.Tree(t, "a/file-of-pvc-1")
			must(t, w.pass(t.Context()))
			w.told(t, "directory a.before")
			if now := w.Record(t, "a"); (now.Directory.Match(r.Directory) == share.Different) != renewed {
				t.Errorf("the record says %+v, said %+v", now.Directory, r.Directory)
			}
			if renewed {
				w.told1(t, steps.EventRenewed, `(1, such as "a")`)
			} else if len(w.reports) > 0 {
				t.Errorf("told %+v", w.reports)
			}
		})
	}
}

// A volume is not given the directory that another record names: that came there by
// mistake.
func TestAnothersDirectoryIsNotRecorded(t *testing.T) {
	w := newWorld(t, time.Hour)
	a, b := w.bound(t, "pvc-1", "a"), w.bound(t, "pvc-2", "b")
	must(t, os.Rename(w.Dir+"/b", w.Dir+"/b.before"))
	must(t, os.Rename(w.Dir+"/a", w.Dir+"/b"))
	must(t, w.pass(t.Context()))
	for _, r := range []ledger.Record{a, b} {
		if now := w.Record(t, r.Path); *now.Directory != *r.Directory {
			t.Errorf("the record of %s says %+v, said %+v", r.Path, now.Directory, r.Directory)
		}
	}
	if len(w.reports) > 0 {
		t.Errorf("told %+v", w.reports)
	}
}

// What an older claimdir recorded does not say which directory it is: that is recorded, and
// nobody is told.
func TestAnOlderRecordIsCompleted(t *testing.T) {
	for _, layout := range []int{1, ledger.Layout} {
		w := newWorld(t, time.Hour)
		w.volume(t, "pvc-1", "a")
		w.record(t, ledger.Active, "pvc-1", "a", func(r *ledger.Record) { r.Layout = layout })
		w.Tree(t, "a/")
		w.start(t, time.Hour)
		must(t, w.pass(t.Context()))
		if r := w.Record(t, "a"); r.Directory == nil || r.Layout != ledger.Layout {
			t.Errorf("layout %d: %+v", layout, r)
		}
		if len(w.reports) > 0 {
			t.Errorf("told %+v", w.reports)
		}
	}
}

// A call that comes late, for a volume that had the path before, moves the directory of the
// one that has it now. It comes back.
func TestLookingAfterVolumes(t *testing.T) {
	const old = "pvc-0"
	for name, tt := range map[string]struct {
		late func(t *testing.T, w *world)
		from string
	}{
		"a release into the trash": {late: func(t *testing.T, w *world) {
			w.lateAside(t, share.TrashDir, volpath.Trash(old, sharetest.Cluster, 1))
		}, from: ".claimdir/trash/"},
		"a release to an archive": {late: func(t *testing.T, w *world) {
			w.lateAside(t, share.MovingDir, volpath.OwnAt(old, sharetest.Cluster, sharetest.PathOf(t, "data")))
		}, from: ".claimdir/moving/"},
		"a release to an archive, below the parent it has": {late: func(t *testing.T, w *world) {
			must(t, os.Rename(w.Dir+"/data", w.Dir+"/archived-ns-data-"+old))
		}, from: "archived-ns-data-" + old},
		"and a call made the path anew": {late: func(t *testing.T, w *world) {
			w.lateAside(t, share.TrashDir, volpath.Trash(old, sharetest.Cluster, 1))
			must(t, os.Mkdir(w.Dir+"/data", 0o700))
			must(t, os.Chmod(w.Dir+"/data", 0o745))
		}, from: ".claimdir/trash/"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			r := w.bound(t, "pvc-1", "data")
			tt.late(t, w)
			must(t, w.lookAfterOnce(t.Context()))
			w.isAt(t, r)
			w.told1(t, steps.EventPutBack, "pvc-1", tt.from, `"data"`)
			w.Holds(t, "data", "data/file-of-pvc-1", "data = pvc-1 active")
			must(t, w.lookAfterOnce(t.Context()))
			w.told1(t, steps.EventPutBack)
		})
	}
}

// lateAside sets the directory of "data" aside for another volume, whose call made the
// directory that it goes to and renames now.
func (w *world) lateAside(t *testing.T, in, own string) {
	t.Helper()
	must(t, os.MkdirAll(w.Dir+"/.claimdir/"+in+"/"+own, 0o700))
	must(t, os.Rename(w.Dir+"/data", w.Dir+"/.claimdir/"+in+"/"+own+"/volume"))
}

// Only what a late call moved comes back: not what a person moved or removed, and not that
// of a volume that is not bound. What cannot be brought back hides nothing of the others.
func TestLookingAfterLeavesTheRestAlone(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.bound(t, "pvc-1", "moved")
	must(t, os.Rename(w.Dir+"/moved", w.Dir+"/moved-by-hand"))
	w.bound(t, "pvc-2", "removed")
	must(t, os.RemoveAll(w.Dir+"/removed"))
	w.bound(t, "pvc-3", "stuck")
	own := volpath.OwnAt("pvc-0", sharetest.Cluster, sharetest.PathOf(t, "stuck"))
	must(t, os.MkdirAll(w.Dir+"/.claimdir/moving/"+own, 0o700))
	must(t, os.Rename(w.Dir+"/stuck", w.Dir+"/.claimdir/moving/"+own+"/volume"))
	w.Tree(t, "stuck/somebodys")
	r := w.bound(t, "pvc-4", "data")
	w.lateAside(t, share.TrashDir, volpath.Trash("pvc-0", sharetest.Cluster, 1))
	_ = w.lookAfterOnce(t.Context())
	w.isAt(t, r)
	w.told1(t, steps.EventPutBack, "pvc-4")
	for _, name := range []string{"moved-by-hand/file-of-pvc-1", "stuck/somebodys", ".claimdir/moving/" + own + "/volume/file-of-pvc-3"} {
		if _, err := os.Stat(w.Dir + "/" + name); err != nil {
			t.Error(err)
		}
	}
}

// What is set aside for the volume that it belongs to is on its way.
func TestWhatIsOnItsWayIsNotBroughtBack(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.bound(t, "pvc-1", "data")
	own := volpath.OwnAt("pvc-1", sharetest.Cluster, sharetest.PathOf(t, "data"))
	w.lateAside(t, share.MovingDir, own)
	if back, err := w.steps.BringBackAside(t.Context(), w.Keeper); err != nil || back != 0 {
		t.Errorf("%d were brought back, %v", back, err)
	}
	if _, err := os.Stat(w.Dir + "/.claimdir/moving/" + own + "/volume/file-of-pvc-1"); err != nil {
		t.Error(err)
	}
}

// A sweep ends while it looks after volumes.
func TestRunLooksAfterVolumes(t *testing.T) {
	w := newWorld(t, time.Hour)
	r := w.bound(t, "pvc-1", "data")
	w.lateAside(t, share.TrashDir, volpath.Trash("pvc-0", sharetest.Cluster, 1))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		if _, err := os.Stat(w.Dir + "/data/file-of-pvc-1"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not come back")
		}
	}
	cancel()
	<-ended
	w.isAt(t, r)
}

// Only an empty directory that claimdir made, and that nothing names, is removed.
func TestStrayDirectories(t *testing.T) {
	made := func(t *testing.T, w *world, names ...string) {
		t.Helper()
		for _, name := range names {
			must(t, os.MkdirAll(w.Dir+"/"+name, 0o755))
			must(t, os.Chmod(w.Dir+"/"+name, 0o745))
		}
	}
	for name, tt := range map[string]struct {
		set  func(t *testing.T, w *world)
		want []string
		told []string
	}{
		"one that claimdir made": {set: func(t *testing.T, w *world) { made(t, w, "a") }},
		"and the empty ones above it": {set: func(t *testing.T, w *world) {
			made(t, w, "team", "team/deep", "team/deep/a")
		}},
		"up to one that is somebody's": {set: func(t *testing.T, w *world) {
			w.Tree(t, "team/")
			made(t, w, "team/deep", "team/deep/a")
		}, want: []string{"team"}, told: []string{"directory team"}},
		"below what a volume lies in": {set: func(t *testing.T, w *world) {
			w.bound(t, "pvc-1", "team/b")
			made(t, w, "team/a")
		}, want: []string{"team", "team/b", "team/b/file-of-pvc-1", "team/b = pvc-1 active"}},
		"one with another mode": {set: func(t *testing.T, w *world) { w.Tree(t, "a/") }, want: []string{"a"}, told: []string{"directory a"}},
		"one with something in it": {set: func(t *testing.T, w *world) {
			w.Tree(t, "a/file")
			made(t, w, "a")
		}, want: []string{"a", "a/file"}, told: []string{"directory a"}},
		"a volume's": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-1", "a")
			w.record(t, ledger.Active, "pvc-1", "a")
			made(t, w, "a")
		}, want: []string{"a", "a = pvc-1 active"}},
		"one that is being made": {set: func(t *testing.T, w *world) {
			w.claim(t, "data", "pvc-1")
			w.record(t, ledger.Creating, "pvc-1", "a")
			made(t, w, "a")
		}, want: []string{"a", "a = pvc-1 creating"}},
		"a PersistentVolume's that somebody made by hand": {set: func(t *testing.T, w *world) {
			w.volume(t, "by-hand", "a")
			pv := w.volumes()[0]
			pv.Annotations = nil
			must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
			made(t, w, "a")
		}, want: []string{"a"}},
		"another provisioner's archive": {set: func(t *testing.T, w *world) { made(t, w, "archived-peer") }, want: []string{"archived-peer"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			tt.set(t, w)
			must(t, w.pass(t.Context()))
			w.Holds(t, tt.want...)
			w.told(t, slices.Clone(tt.told)...)
		})
	}
}
