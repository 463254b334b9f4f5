package provisioner

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// copied exchanges a directory for its copy, as somebody does who restores one.
func (w *world) copied(t *testing.T, path string) {
	t.Helper()
	name := w.Dir + "/" + path
	must(t, exec.Command("cp", "-a", name, name+".copy").Run())
	must(t, os.Rename(name, name+".original"))
	must(t, os.Rename(name+".copy", name))
	must(t, os.RemoveAll(name+".original"))
}

// Nothing is deleted that the record does not name. Where nothing is lost, a copy is as
// good as the original.
func TestReleaseOfACopyLosesNothing(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	for policy, tt := range map[string]struct {
		at      string // where it is in the end
		left    []string
		reports int
	}{
		"delete":  {archive, []string{archive, archive + "/file", archive + " = pvc-1 archived"}, 1},
		"archive": {archive, []string{archive, archive + "/file", archive + " = pvc-1 archived"}, 0},
		"retain":  {"team/data", []string{"team", "team/data", "team/data/file", "team/data = pvc-1 retained"}, 0},
	} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", policy)))
			w.Tree(t, "team/data/file")
			w.copied(t, "team/data")
			must(t, w.Delete(t.Context(), pv))
			must(t, w.Delete(t.Context(), pv)) // a repeat tells nobody again
			w.EmptyTrash(t)
			w.Holds(t, tt.left...)
			reports := w.Reports()
			if len(reports) != tt.reports {
				t.Fatalf("reports: %+v", reports)
			}
			for _, r := range reports {
				if r.PV != "pvc-1" || r.Reason != steps.EventArchived || !strings.Contains(r.Text, archive) || !strings.Contains(r.Text, "claimdir archive purge pvc-1") {
					t.Errorf("%+v", r)
				}
			}
			id, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, tt.at))
			must(t, err)
			if r := w.Record(t, tt.at); r.Directory.Match(id) != share.Same {
				t.Errorf("on record is %+v, there is %+v", r.Directory, id)
			}
		})
	}
}

// A call that came late set the directory aside for another volume: as long as it is
// somewhere, its volume is not let go.
func TestReleaseGetsBackWhatALateCallMovedAway(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	late := volpath.Trash("pvc-0", sharetest.Cluster, 1) // of the volume that had the path before
	for where, move := range map[string]func(t *testing.T, w *world, id *share.Identity) error{
		"into another's trash": func(t *testing.T, w *world, id *share.Identity) error {
			return w.Store(t).Dirs.SetAside(sharetest.PathOf(t, "team/data"), share.TrashDir, late, id)
		},
		"aside for another": func(t *testing.T, w *world, id *share.Identity) error {
			return w.Store(t).Dirs.SetAside(sharetest.PathOf(t, "team/data"), share.MovingDir, volpath.Own("pvc-0", sharetest.Cluster), id)
		},
		"to another's archive": func(t *testing.T, w *world, id *share.Identity) error {
			return w.Store(t).Dirs.Rename(sharetest.PathOf(t, "team/data"), sharetest.PathOf(t, "archived-ns-data-pvc-0"), id)
		},
	} {
		for policy, want := range map[string][]string{
			"delete": nil, "archive": {archive, archive + "/file", archive + " = pvc-1 archived"},
			"retain": {"team", "team/data", "team/data/file", "team/data = pvc-1 retained"},
		} {
			t.Run(where+" "+policy, func(t *testing.T) {
				w := newWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", policy)))
				w.Tree(t, "team/data/file")
				must(t, move(t, w, w.Record(t, "team/data").Directory))
				must(t, w.Delete(t.Context(), pv))
				must(t, w.Delete(t.Context(), pv))
				w.Holds(t, want...)
				if reports := w.Reports(); len(reports) != 1 || reports[0].PV != "pvc-1" || reports[0].Reason != steps.EventPutBack {
					t.Errorf("reports: %+v", reports)
				}
				inTrash := strings.Join(w.Trash(t), ", ")
				if got := strings.Contains(inTrash, "pvc-1"); got != (policy == "delete") {
					t.Errorf("in the trash: %q", inTrash)
				}
				w.EmptyTrash(t)
				w.Holds(t, want...)
				if left := w.Trash(t); len(left) > 0 {
					t.Errorf("left in the trash: %q", left)
				}
			})
		}
	}
}

// Where a record does not say which directory it is, as one of an older claimdir's, or says
// it of another copy of the share, the directory at the path is the volume's.
func TestReleaseBelievesThePathWhereTheRecordSaysNothing(t *testing.T) {
	for name, change := range map[string]func(r *ledger.Record){
		"nothing on record": func(r *ledger.Record) { r.Directory = nil },
		"of another copy":   func(r *ledger.Record) { r.Directory.Place, r.Directory.Number = "elsewhere", 1 },
	} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
		w.Tree(t, "data/file")
		r := w.Record(t, "data")
		change(&r)
		must(t, w.Store(t).Records.Update(sharetest.PathOf(t, "data"), r))
		must(t, w.Delete(t.Context(), pv))
		w.Holds(t)
		w.EmptyTrash(t)
		if left := w.Trash(t); len(left) > 0 {
			t.Errorf("%s: left in the trash: %q", name, left)
		}
	}
}

// Where the system gives no file handles, a file number alone may have been given out again:
// what is another volume's by its record is not taken for the one that is missing.
func TestReleaseTakesNoOthersDirectoryByItsNumber(t *testing.T) {
	for where, policy := range map[string]string{"the trash": "delete", "an archive": "archive"} {
		t.Run(where, func(t *testing.T) {
			w := newWorld(t)
			missing := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
			other := w.provision(t, options("other/data", "pvc-2", at("other", "onDelete", policy)))
			w.Tree(t, "other/file")
			r, number := w.Record(t, "data"), w.Record(t, "other").Directory.Number
			must(t, w.Delete(t.Context(), other))
			r.Directory.Number, r.Directory.Handle = number, ""
			must(t, w.Store(t).Records.Update(sharetest.PathOf(t, "data"), r))
			must(t, os.Remove(w.Dir+"/data"))
			must(t, w.Delete(t.Context(), missing))
			if got := strings.Join(w.Trash(t), ", "); got != map[string]string{"delete": "pvc-2"}[policy] {
				t.Errorf("in the trash: %q", got)
			}
			if policy == "archive" {
				w.Holds(t, "archived-other-data-pvc-2", "archived-other-data-pvc-2/file", "archived-other-data-pvc-2 = pvc-2 archived")
			}
		})
	}
}
