package provisioner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

func TestReleaseLeavesAllOthersAlone(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			siblings := []string{"team/data2", "team/dat", "team/other", "teams/data", "data", "archived", "team/data-pvc-1"}
			for i, path := range siblings {
				w.provision(t, options("ns/data", fmt.Sprint("pvc-2", i), at(path)))
				w.tree(t, path+"/file")
			}
			w.tree(t, "stranger/file", "archived-ns-data-pvc-9/file")
			before := w.snapshot(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", policy)))
			w.tree(t, "team/data/file")
			must(t, w.Delete(t.Context(), pv))
			for _, left := range []string{"team/data", "archived-ns-data-pvc-1"} {
				must(t, os.RemoveAll(w.dir+"/"+left))
				must(t, w.dirs.RemoveMeta("volumes/"+strings.ReplaceAll(left, "/", "%2F")+".json"))
			}
			w.untouched(t, before)
		})
	}
}

func TestThePolicyOnTheVolumeWins(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	w.tree(t, "data/file")
	pv.Annotations[volume.AnnotationOnDelete] = "retain" // the operator changed it
	must(t, w.Delete(t.Context(), pv))
	w.holds(t, "data", "data/file", "data = pvc-1 retained")
}

func TestRecordsDecideWhoseADirectoryIs(t *testing.T) {
	const hour = time.Hour
	for name, tt := range map[string]struct {
		change func(*ledger.Record) // nil: no record
		letGo  bool
		says   string
	}{
		"no record":                       {nil, false, "no record on the share says"},
		"an older record of another":      {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(-hour) }, false, "belongs to volume pvc-2"},
		"a newer record of another":       {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(hour) }, true, ""},
		"an older one of another cluster": {func(r *ledger.Record) { r.Cluster, r.Created = "other", r.Created.Add(-hour) }, false, "belongs to volume"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
			w.tree(t, "data/file")
			r := w.record(t, "data")
			must(t, w.ledger.Forget(pathOf(t, "data")))
			if tt.change != nil {
				tt.change(&r)
				must(t, w.ledger.Activate(pathOf(t, "data"), r))
			}
			before := w.snapshot(t)
			if err := w.Delete(t.Context(), pv); tt.letGo {
				must(t, err)
			} else {
				refused(t, err, refusal.ReasonRecord, true, tt.says, "nothing was changed")
			}
			w.untouched(t, before)
		})
	}
}

func TestAbsentDirectoryIsLetGoAndItsRecordForgotten(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		for _, recorded := range []bool{true, false} {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			must(t, os.Remove(w.dir+"/data"))
			if !recorded {
				must(t, w.ledger.Forget(pathOf(t, "data")))
			}
			if err := w.Delete(t.Context(), pv); err != nil {
				t.Errorf("%s, record %v: %v", policy, recorded, err)
			}
			w.holds(t)
		}
	}
}

func TestArchiveSaysWhenAndWhose(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data")))
	w.tree(t, "team/data/file")
	made := w.record(t, "team/data")
	must(t, w.Delete(t.Context(), pv))
	r := w.record(t, "archived-ns-data-pvc-1")
	if r.State != ledger.Archived || r.Origin != "team/data" || r.Claim != made.Claim || r.PV != "pvc-1" || r.Released == nil ||
		r.Released.Before(made.Created) || !r.Created.Equal(made.Created) || r.Size != "1Gi" {
		t.Errorf("%+v", r)
	}
	w.holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file", "archived-ns-data-pvc-1 = pvc-1 archived")
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
			w.tree(t, tt.there...)
			before := w.snapshot(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
			w.tree(t, "data/new")
			must(t, w.Delete(t.Context(), pv))
			must(t, w.Delete(t.Context(), pv)) // a repeat
			if r := w.record(t, tt.to); r.Origin != "data" {
				t.Errorf("%+v", r)
			}
			must(t, os.Remove(w.dir+"/"+tt.to+"/new"))
			must(t, os.Remove(w.dir+"/"+tt.to))
			must(t, w.dirs.RemoveMeta("volumes/"+tt.to+".json"))
			w.untouched(t, before)
		})
	}
}

func TestArchiveGoesPastTheRecordOfAnother(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	other := w.record(t, "data")
	other.Cluster = "cluster-2" // a restored cluster has volumes of the same names
	first, err := operation{Shares: w.Shares, dirs: w.dirs, ledger: w.ledger}.archiveName(other)
	must(t, err)
	must(t, w.Delete(t.Context(), pv))
	w.holds(t, "archived-ns-data-pvc-1-2", "archived-ns-data-pvc-1-2 = pvc-1 archived", first.String()+" = pvc-1 archived")
}

func TestALinkInThePlaceOfTheDirectoryStopsTheRelease(t *testing.T) {
	for _, policy := range []string{"delete", "archive", "retain"} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			w.provision(t, options("ns/victim", "pvc-2", at("victim")))
			w.tree(t, "victim/file")
			must(t, os.Remove(w.dir+"/data"))
			must(t, os.Symlink("victim", w.dir+"/data"))
			before := w.snapshot(t)
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, "symbolic links are not followed")
			w.untouched(t, before)
		})
	}
}

func TestOneOperationAtATimeOnAPath(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	beside := 0
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Discard" {
			beside++
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonBusy, false, `"data"`)
			refused(t, provisionError(t, w, "ns/data", "pvc-2"), refusal.ReasonBusy, false, "will be tried again")
		}
		return do()
	}
	must(t, w.Delete(t.Context(), pv))
	if beside != 1 {
		t.Errorf("discarded %d times", beside)
	}
	w.dirs.step = nil
	must(t, provisionError(t, w, "ns/data", "pvc-2")) // the path is free again
}

func TestAnArchiveThatNeverCameToBeIsForgotten(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Rename" {
			return errCut
		}
		return do()
	}
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, errCut.Error())
	w.dirs.step = nil
	w.holds(t, "data", "data = pvc-1 active", "archived-ns-data-pvc-1 = pvc-1 archived")
	must(t, os.Remove(w.dir+"/data")) // by hand
	must(t, w.Delete(t.Context(), pv))
	w.holds(t)
}

func TestDeleteMovesDirectoryAndRecordIntoTheTrash(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "delete")))
	w.tree(t, "team/data/file")
	must(t, w.Delete(t.Context(), pv))
	must(t, w.Delete(t.Context(), pv)) // a repeat
	w.holds(t)
	if got, want := w.trash(t), []string{"pvc-1-1", "pvc-1-1 = pvc-1"}; !slices.Equal(got, want) {
		t.Errorf("in the trash: %q, want %q", got, want)
	}
	if r, _ := w.ledger.Discarded("pvc-1-1"); r.Class != "nfs" || r.Path != "team/data" {
		t.Errorf("%+v", r)
	}
	_, err := os.Stat(w.dir + "/.claimdir/trash/pvc-1-1/file")
	must(t, err)
	w.provision(t, options("ns/data", "pvc-2", at("team/data"))) // the path is free
}

// What is mounted from another file system cannot be moved.
func TestDeleteOfWhatCannotBeMovedRemovesItInPlace(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EXDEV, syscall.EBUSY, syscall.EACCES, syscall.EPERM} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", "delete")))
		w.tree(t, "team/data/file", "team/data/sub/file")
		w.dirs.step = func(method string, do func() error, _ func()) error {
			if method == "Discard" {
				return fmt.Errorf("move: %w", number)
			}
			return do()
		}
		must(t, w.Delete(t.Context(), pv))
		w.holds(t)
		if got := w.trash(t); len(got) > 0 {
			t.Errorf("in the trash: %q", got)
		}
	}
}

func TestDeleteThatTheShareRefusesTouchesNothing(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	w.tree(t, "data/file")
	before := w.snapshot(t)
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Discard" {
			return syscall.EROFS
		}
		return do()
	}
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, "read-only")
	w.untouched(t, before)
}
