package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// onShare is a share with a volume "data" of claim team/data, for tests of the steps alone.
type onShare struct {
	*sharetest.World
	t *testing.T
}

const contentName = "snapcontent-1"

func newOnShare(t *testing.T) *onShare {
	t.Helper()
	w := &onShare{sharetest.NewWorld(t), t}
	w.Tree(t, "data/file", "data/sub/other")
	path := sharetest.PathOf(t, "data")
	sharetest.Must(t, w.Keeper.Do(t.Context(), "record", func(_ context.Context, store ledger.Store) error {
		taken, err := store.Records.Take(path, volumeRecord(), false)
		if err != nil {
			return err
		}
		id, err := store.Dirs.Identify(path)
		if err != nil {
			return err
		}
		return store.Records.Activate(path, taken, id)
	}))
	return w
}

func volumeRecord() ledger.Record {
	return ledger.Record{
		State: ledger.Active, Path: "data", PV: "pvc-1", Cluster: sharetest.Cluster, Size: "1Gi",
		Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1", NamespaceUID: "ns-of-team"},
	}
}

func snapshotRecord() ledger.Snapshot {
	r := ledger.Snapshot{Record: volumeRecord(), Content: contentName, Name: "now"}
	r.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim, Path: r.Path, PV: r.PV, Cluster: r.Cluster, Claim: r.Claim}
	return r
}

func (w *onShare) on(work func(ctx context.Context, op steps.SnapshotOp) error) error {
	return w.Steps.OnSnapshot(w.t.Context(), w.Keeper, steps.SnapshotOf{Content: contentName, Cluster: sharetest.Cluster}, "test", work)
}

// make makes the snapshot, as a job does.
func (w *onShare) make() error {
	own := ledger.SnapshotOwn(contentName, sharetest.Cluster)
	err := w.on(func(_ context.Context, op steps.SnapshotOp) error {
		_, err := op.Begin(snapshotRecord(), "")
		return err
	})
	if err != nil {
		return err
	}
	var whole bool
	err = w.on(func(ctx context.Context, op steps.SnapshotOp) error {
		r, _, err := op.Find(ctx)
		whole = r.Whole()
		return err
	})
	if err != nil || whole {
		return err
	}
	var result share.Copied
	err = w.Keeper.Do(w.t.Context(), "copy", func(ctx context.Context, store ledger.Store) error {
		from, err := steps.SourceDirectory(store, *snapshotRecord().CopyOf, snapshotRecord().Claim)
		if err == nil {
			result, err = store.Dirs.Copy(ctx, share.NewCopier(1, 0, 0), from, own, nil)
		}
		return err
	})
	if err != nil {
		return err
	}
	return w.on(func(ctx context.Context, op steps.SnapshotOp) error {
		_, err := op.Complete(ctx, result, ledger.Unused)
		return err
	})
}

func (w *onShare) discard() error {
	return w.on(func(ctx context.Context, op steps.SnapshotOp) error { return op.Discard(ctx) })
}

// left lists what is below directories of .claimdir.
func (w *onShare) left(dirs ...string) (found []string) {
	w.t.Helper()
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(w.Dir, ".claimdir", dir, "*"))
		sharetest.Must(w.t, err)
		found = append(found, names...)
	}
	return found
}

func (w *onShare) tree() string {
	return filepath.Join(w.Dir, volpath.SnapshotTree(ledger.SnapshotOwn(contentName, sharetest.Cluster)).String())
}

// wantWhole fails unless the snapshot is there and nothing else.
func (w *onShare) wantWhole(where string) {
	w.t.Helper()
	r, found, err := w.Store(w.t).Records.Snapshot(contentName, sharetest.Cluster)
	if err != nil || !found || !r.Whole() || r.CopyOf.Files != 2 || r.Claim.Name != "data" || r.CopyOf.Used != ledger.Unused {
		w.t.Fatalf("%s: the record is %+v, %v, %v", where, r, found, err)
	}
	for _, name := range []string{"file", "sub/other"} {
		if text, err := os.ReadFile(filepath.Join(w.tree(), name)); err != nil || string(text) != "content of data/"+name {
			w.t.Fatalf("%s: %s holds %q, %v", where, name, text, err)
		}
	}
	if left := w.left("copies", "trash"); len(left) > 0 {
		w.t.Fatalf("%s: left are %q", where, left)
	}
}

// everywhere cuts an operation off at each place, and repeats it in a new process, until it meets no more places.
func everywhere(t *testing.T, before func(w *onShare) func() error, after func(w *onShare, where string)) {
	t.Helper()
	for _, kill := range []bool{true, false} {
		places := 0
		for n := 1; ; n++ {
			w := newOnShare(t)
			run := before(w)
			fault := &sharetest.Fault{N: n, Kill: kill}
			if !w.CutOff(fault, run) {
				w.End()
				break
			}
			places++
			if kill {
				w.Restart(t)
			}
			if err := errors.Join(run(), run()); err != nil {
				t.Fatalf("cut off %s, kill %v: the repeat says %v", fault.Hit(), kill, err)
			}
			after(w, fault.Hit())
			w.End()
			if sharetest.Brief() {
				n += 9
			}
		}
		if places < sharetest.Times(20, 2) {
			t.Errorf("only %d places were tried", places)
		}
	}
}

func TestSnapshotIsMadeWhereverItIsCutOff(t *testing.T) {
	t.Parallel()
	everywhere(t, func(w *onShare) func() error { return w.make }, func(w *onShare, where string) { w.wantWhole(where) })
}

func TestSnapshotIsRemovedWhereverItIsCutOff(t *testing.T) {
	t.Parallel()
	whole := func(w *onShare) func() error {
		sharetest.Must(t, w.make())
		return w.discard
	}
	half := func(w *onShare) func() error { // the copy was cut off in the middle
		sharetest.Must(t, w.make())
		own := ledger.SnapshotOwn(contentName, sharetest.Cluster)
		staging := filepath.Join(w.Dir, ".claimdir/copies", own)
		sharetest.Must(t, os.MkdirAll(staging, 0o700))
		sharetest.Must(t, os.Rename(w.tree(), staging+"/tree"))
		r, _, err := w.Store(t).Records.Snapshot(contentName, sharetest.Cluster)
		sharetest.Must(t, err)
		r.Directory = nil
		sharetest.Must(t, w.Store(t).Records.UpdateSnapshot(r))
		return w.discard
	}
	for name, before := range map[string]func(*onShare) func() error{"whole": whole, "half": half} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everywhere(t, before, func(w *onShare, where string) {
				w.EmptyTrash(w.t)
				if left := w.left("snapshots", "copies", "trash"); len(left) > 0 {
					w.t.Fatalf("cut off %s: left are %q", where, left)
				}
				if _, err := os.Stat(w.Dir + "/data/file"); err != nil {
					w.t.Fatalf("cut off %s: the volume: %v", where, err)
				}
			})
		})
	}
}

// A tree that somebody exchanged is neither removed nor restored.
func TestSnapshotExchanged(t *testing.T) {
	w := newOnShare(t)
	sharetest.Must(t, w.make())
	sharetest.Must(t, os.Rename(w.tree(), w.Dir+"/away"))
	sharetest.Must(t, os.Mkdir(w.tree(), 0o755))
	if err := w.discard(); err == nil {
		t.Error("another directory went into the trash")
	}
	err := w.on(func(ctx context.Context, op steps.SnapshotOp) error {
		_, _, err := op.Find(ctx)
		return err
	})
	if !errors.Is(err, steps.ErrNoTree) {
		t.Errorf("another directory counts as the snapshot: %v", err)
	}
	sharetest.Must(t, os.Remove(w.tree()))
	err = w.on(func(ctx context.Context, op steps.SnapshotOp) error {
		_, _, err := op.Find(ctx)
		return err
	})
	if !errors.Is(err, steps.ErrNoTree) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a snapshot without its tree: %v", err)
	}
	sharetest.Must(t, os.Rename(w.Dir+"/away", w.tree()))
	w.wantWhole("afterwards")
}

func TestSnapshotKept(t *testing.T) {
	w := newOnShare(t)
	sharetest.Must(t, w.make())
	store := w.Store(t)
	r, _, err := store.Records.Snapshot(contentName, sharetest.Cluster)
	sharetest.Must(t, err)
	r.ArchiveRetention = "1h"
	sharetest.Must(t, store.Records.UpdateSnapshot(r))
	keep := func(ctx context.Context, op steps.SnapshotOp) error { return op.Keep(ctx) }
	sharetest.Must(t, errors.Join(w.on(keep), w.on(keep)))
	r, _, err = store.Records.Snapshot(contentName, sharetest.Cluster)
	sharetest.Must(t, err)
	if !r.Kept() || r.Until == nil || r.Until.Sub(*r.Released) != time.Hour {
		t.Fatalf("the record is %+v", r)
	}
	expire := func(over bool) error {
		return w.on(func(ctx context.Context, op steps.SnapshotOp) error {
			return op.Expire(ctx, func(end *time.Time) bool { return end != nil && over })
		})
	}
	sharetest.Must(t, expire(false))
	w.wantWhole("before its end")
	sharetest.Must(t, w.on(func(_ context.Context, op steps.SnapshotOp) error { return op.Found(r) }))
	sharetest.Must(t, expire(true))
	w.wantWhole("found again")
	sharetest.Must(t, errors.Join(w.on(keep), expire(true)))
	if left := w.left("snapshots"); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if trash := w.Trash(t); len(trash) != 1 || trash[0] != "pvc-1" {
		t.Errorf("the trash has %q", trash)
	}
}
