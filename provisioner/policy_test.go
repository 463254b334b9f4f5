package provisioner

import (
	"path/filepath"
	"slices"
	"testing"

	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volume"
)

// An administrator may change the policy on the PersistentVolume between a release that was
// cut off and its repeat. Wherever that was, the data are where the one or the other says,
// and nothing is stuck in between.
func TestThePolicyMayChangeBetweenACutOffReleaseAndItsRepeat(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	ends := map[string][]string{
		"archive": {archive, archive + "/file", archive + " = pvc-1 archived"},
		"retain":  {"team", "team/data", "team/data/file", "team/data = pvc-1 retained"},
		"delete":  nil,
	}
	for _, change := range [][2]string{
		{"delete", "retain"}, {"delete", "archive"}, {"archive", "delete"}, {"archive", "retain"}, {"retain", "delete"}, {"retain", "archive"},
	} {
		t.Run(change[0]+" to "+change[1], func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n += times(1, 5) {
				w := newWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onDelete", change[0])))
				w.Tree(t, "team/data/file")
				release := func() error { return w.Delete(t.Context(), pv) }
				f := &sharetest.Fault{N: n, Kill: true}
				if !w.CutOff(f, release) {
					w.end(t)
					if n < times(30, 1) {
						t.Errorf("only %d places were tried", n-1)
					}
					return
				}
				w.restart(t)
				was := w.whereItIs(t)
				pv.Annotations[volume.AnnotationOnDelete] = change[1]
				must(t, release())
				must(t, release())
				w.sweep(t)
				switch now := w.whereItIs(t); {
				case now == change[1]:
					w.Holds(t, ends[change[1]]...)
				case now == was && was == change[0]: // the first release had got that far
					w.Holds(t, ends[change[0]]...)
				default:
					t.Errorf("it was where %s has it, and is where %s has it", was, now)
				}
				w.EmptyTrash(t)
				if left := w.Trash(t); len(left) > 0 {
					t.Errorf("left in the trash: %q", left)
				}
				if t.Failed() {
					t.Fatalf("cut off %s", f.Hit())
				}
				w.end(t)
			}
		})
	}
}

// whereItIs names the policy that leaves the one file of the share where it is.
func (w *world) whereItIs(t *testing.T) string {
	t.Helper()
	var found []string
	for policy, pattern := range map[string]string{
		"retain": "team/data/file", "archive": "archived-*/file", "delete": ".claimdir/trash/*/volume/file", "nothing yet": ".claimdir/moving/*/volume/file",
	} {
		names, err := filepath.Glob(w.Dir + "/" + pattern)
		must(t, err)
		for range names {
			found = append(found, policy)
		}
	}
	if len(found) != 1 {
		slices.Sort(found)
		t.Fatalf("the file is in %q", found)
	}
	return found[0]
}
