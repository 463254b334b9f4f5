package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

func TestReleaseLeavesAllOthersAlone(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			siblings := []string{"team/data2", "team/dat", "team/other", "teams/data", "data", "archived", "team/data-pvc-1"}
			for i, path := range siblings {
				w.provision(t, options("ns/data", fmt.Sprint("pvc-2", i), at(path)))
				w.Tree(t, path+"/file")
			}
			w.Tree(t, "stranger/file", "archived-ns-data-pvc-9/file")
			before := w.Snapshot(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", policy)))
			w.Tree(t, "team/data/file")
			must(t, w.Delete(t.Context(), pv))
			for _, left := range []string{"team/data", "archived-ns-data-pvc-1"} {
				must(t, os.RemoveAll(w.Dir+"/"+left))
				must(t, os.RemoveAll(w.Dir+"/.claimdir/records/"+strings.ReplaceAll(left, "/", "%2F")))
			}
			w.Untouched(t, before)
		})
	}
}

func TestThePolicyOnTheVolumeWins(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	w.Tree(t, "data/file")
	pv.Annotations[volume.AnnotationOnDelete] = "retain" // the operator changed it
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, "data", "data/file", "data = pvc-1 retained")
}

func TestAbsentDirectoryIsLetGoAndItsRecordForgotten(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		for _, recorded := range []bool{true, false} {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			must(t, os.Remove(w.Dir+"/data"))
			if !recorded {
				must(t, w.Store(t).Records.Remove(sharetest.PathOf(t, "data"), w.Record(t, "data")))
			}
			if err := w.Delete(t.Context(), pv); err != nil {
				t.Errorf("%s, record %v: %v", policy, recorded, err)
			}
			w.Holds(t)
		}
	}
}

func TestArchiveSaysWhenAndWhose(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data")))
	w.Tree(t, "team/data/file")
	made := w.Record(t, "team/data")
	must(t, w.Delete(t.Context(), pv))
	r := w.Record(t, "archived-ns-data-pvc-1")
	if r.State != ledger.Archived || r.Origin != "team/data" || r.Claim != made.Claim || r.PV != "pvc-1" || r.Released == nil ||
		r.Released.Before(made.Created) || !r.Created.Equal(made.Created) || r.Size != "1Gi" {
		t.Errorf("%+v", r)
	}
	w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file", "archived-ns-data-pvc-1 = pvc-1 archived")
}

func TestArchiveReplacesNothing(t *testing.T) {
	const name = "archived-ns-data-pvc-1"
	for what, tt := range map[string]struct {
		there []string
		to    string
	}{
		"an empty directory": {[]string{name + "/"}, name + "-2"},
		"a full directory":   {[]string{name + "/old"}, name + "-2"},
		"several":            {[]string{name + "/old", name + "-2/", name + "-3/old"}, name + "-4"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.Tree(t, tt.there...)
			before := w.Snapshot(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
			w.Tree(t, "data/new")
			must(t, w.Delete(t.Context(), pv))
			must(t, w.Delete(t.Context(), pv)) // a repeat
			if r := w.Record(t, tt.to); r.Origin != "data" {
				t.Errorf("%+v", r)
			}
			must(t, os.Remove(w.Dir+"/"+tt.to+"/new"))
			must(t, os.Remove(w.Dir+"/"+tt.to))
			must(t, os.RemoveAll(w.Dir+"/.claimdir/records/"+tt.to))
			w.Untouched(t, before)
		})
	}
}

func TestArchiveGoesPastTheRecordOfAnother(t *testing.T) {
	const first = "archived-ns-data-pvc-1"
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	other := w.Record(t, "data")
	other.Cluster = "cluster-2" // a restored cluster has volumes of the same names
	must(t, w.Store(t).Records.Archive(sharetest.PathOf(t, first), other, other.Directory))
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, first+"-2", first+"-2 = pvc-1 archived", first+" = pvc-1 archived")
}

func TestALinkInThePlaceOfTheDirectoryStopsTheRelease(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			w.provision(t, options("ns/victim", "pvc-2", at("victim")))
			w.Tree(t, "victim/file")
			must(t, os.Remove(w.Dir+"/data"))
			must(t, os.Symlink("victim", w.Dir+"/data"))
			before := w.Snapshot(t)
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, "symbolic links are not followed")
			w.Untouched(t, before)
		})
	}
}

// A start converts a record, or the sweep looks at a volume, just as its claim comes: that is
// no failure.
func TestAnOperationWaitsForAShortOneOnItsPath(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	next := make(chan error, 1)
	w.Hook(func(name string, do func() error) error {
		if name == "rename data" {
			go func() {
				_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
				next <- err
			}()
			<-time.After(100 * time.Millisecond) // the call is slow
		}
		return do()
	})
	must(t, w.Delete(t.Context(), pv))
	must(t, <-next)
	w.sweep(t)
	w.Holds(t, "data", "data = pvc-2 active")
}

func TestOneOperationAtATimeOnAPath(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	beside := 0
	w.Hook(func(name string, do func() error) error {
		if name == "rename data" {
			beside++
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonBusy, false, `"data"`)
			refused(t, provisionError(t, w, "ns/data", "pvc-2"), refusal.ReasonBusy, false, "retried automatically")
		}
		return do()
	})
	must(t, w.Delete(t.Context(), pv))
	if beside != 1 {
		t.Errorf("discarded %d times", beside)
	}
	w.Hook(nil)
	must(t, provisionError(t, w, "ns/data", "pvc-2")) // the path is free again
}

func TestAnArchiveThatNeverCameToBeIsForgotten(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.Hook(func(name string, do func() error) error {
		if name == "rename data" {
			return sharetest.ErrCut
		}
		return do()
	})
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, sharetest.ErrCut.Error())
	w.Hook(nil)
	w.Holds(t, "data", "data = pvc-1 active", "archived-ns-data-pvc-1 = pvc-1 archived")
	must(t, os.Remove(w.Dir+"/data")) // by hand
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t)
}

func TestDeleteMovesDirectoryAndRecordIntoTheTrash(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "delete")))
	w.Tree(t, "team/data/file")
	must(t, w.Delete(t.Context(), pv))
	must(t, w.Delete(t.Context(), pv)) // a repeat
	w.Holds(t)
	if got := w.Trash(t); !slices.Equal(got, []string{"pvc-1"}) {
		t.Errorf("in the trash: %q", got)
	}
	own := volpath.Trash("pvc-1", sharetest.Cluster, 1)
	if r, found, err := w.Store(t).Records.Discarded(own); err != nil || !found || r.Class != "nfs" || r.Path != "team/data" {
		t.Errorf("%v, %+v", found, r)
	}
	_, err := os.Stat(w.Dir + "/.claimdir/trash/" + own + "/volume/file")
	must(t, err)
	w.provision(t, options("ns/data", "pvc-2", at("team/data"))) // the path is free
}

// What is mounted from another file system cannot be moved.
func TestDeleteOfWhatCannotBeMovedRemovesItInPlace(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EXDEV, syscall.EBUSY, syscall.EACCES, syscall.EPERM} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "delete")))
		w.Tree(t, "team/data/file", "team/data/sub/file")
		w.Hook(func(name string, do func() error) error {
			if name == "rename data" {
				return fmt.Errorf("move: %w", number)
			}
			return do()
		})
		must(t, w.Delete(t.Context(), pv))
		w.Holds(t)
		if got := w.Trash(t); len(got) > 0 {
			t.Errorf("in the trash: %q", got)
		}
	}
}

func TestDeleteThatTheShareRefusesTouchesNothing(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	w.Tree(t, "data/file")
	before := w.Snapshot(t)
	w.Hook(func(name string, do func() error) error {
		if name == "rename data" {
			return syscall.EROFS
		}
		return do()
	})
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, "read-only")
	w.Untouched(t, before)
}

// kept makes a volume with something in it and releases it with the policy retain.
func (w *world) kept(t *testing.T) ledger.Record {
	t.Helper()
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "retain")))
	w.Tree(t, "team/data/file")
	must(t, w.Delete(t.Context(), pv))
	return w.Record(t, "team/data")
}

func TestARetainedDirectoryIsDiscardedLikeAnyOther(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		r := w.kept(t)
		return func() error {
			err := w.onPathOf(t, "team/data", func(ctx context.Context, op steps.Op) error { return op.DiscardRetained(ctx, r, op.CheckNotBack) })
			if errors.Is(err, steps.ErrNoArchive) { // an earlier call did it
				_, err := w.Store(t).Dirs.RemoveMarked(sharetest.PathOf(t, "team"))
				return err
			}
			return err
		}
	})
}

// What a claim got meanwhile, or somebody keeps something in, is not discarded.
func TestWhatIsNoLongerRetainedIsNotDiscarded(t *testing.T) {
	discards := func(w *world, r ledger.Record) error {
		return w.onPathOf(t, "team/data", func(ctx context.Context, op steps.Op) error { return op.DiscardRetained(ctx, r, op.CheckNotBack) })
	}
	w := newWorld(t)
	r := w.kept(t)
	w.provision(t, options("ns/data", "pvc-2", at("team/data", "onDelete", "retain")))
	if err := discards(w, r); !errors.Is(err, steps.ErrNoArchive) {
		t.Errorf("a claim has it: %v", err)
	}
	w.Holds(t, "team", "team/data", "team/data/file", "team/data = pvc-2 active")
}
