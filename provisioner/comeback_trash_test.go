package provisioner

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// backFromTrash releases volume pvc-1 at a path, with the policy delete, and brings its
// PersistentVolume back before the trash is emptied.
func (w *world) backFromTrash(t *testing.T, path string) volume.Volume {
	t.Helper()
	pv := w.provision(t, options("ns/data", "pvc-1", at(path, "onDelete", "delete", "mode", "2770")))
	w.Tree(t, path+"/precious")
	must(t, w.Delete(t.Context(), pv))
	pv.Status.Phase = v1.VolumeBound
	w.Seen.PVs = append(w.Seen.PVs, pv)
	v, err := volume.FromPV(sharetest.Source(), pv)
	must(t, err)
	return v
}

var inTrash = volpath.Trash("pvc-1", sharetest.Cluster, 1)

func (w *world) putTrashBack(ctx context.Context, v volume.Volume) error {
	return w.Steps.On(ctx, w.Keeper, v.Path, "put back", func(ctx context.Context, op steps.Op) error { return op.PutTrashBack(ctx, v) })
}

func (w *world) emptied() error {
	_, _, err := w.Steps.EmptyTrash(context.Background(), context.Background(), w.Keeper, inTrash, share.NewRemover(1, 0))
	return err
}

// The emptier comes to a directory whose volume is there again, in each of its phases.
func TestTheTrashIsNotEmptiedOfAVolumeThatIsBack(t *testing.T) {
	phase := func(phase v1.PersistentVolumePhase, policy v1.PersistentVolumeReclaimPolicy, deleted bool) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			pv := w.Seen.PVs[0]
			pv.Status.Phase, pv.Spec.PersistentVolumeReclaimPolicy = phase, policy
			if deleted {
				pv.DeletionTimestamp = new(metav1.Now())
			}
		}
	}
	const says = `it is not removed: PersistentVolume pvc-1 exists again, and this may be all its data: claimdir doctor --fix puts it back to `
	for name, tt := range map[string]struct {
		set  func(*testing.T, *world)
		says string // nothing: it is emptied
	}{
		"bound":               {phase(v1.VolumeBound, v1.PersistentVolumeReclaimDelete, false), says},
		"not bound yet":       {phase(v1.VolumePending, v1.PersistentVolumeReclaimDelete, false), says},
		"its release goes on": {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimDelete, false), ""},
		"it is going":         {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimDelete, true), ""},
		"released, and kept":  {phase(v1.VolumeReleased, v1.PersistentVolumeReclaimRetain, false), says},
		"gone again":          {func(_ *testing.T, w *world) { w.Seen.PVs = nil }, ""},
		"made anew, with another directory": {func(t *testing.T, w *world) {
			t.Helper()
			w.provision(t, options("ns/data", "pvc-1", at(w.Seen.PVs[0].Annotations[volume.AnnotationPath])))
		}, ""},
		"its removal had begun": {func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.Rename(w.Dir+"/.claimdir/trash/"+inTrash+"/volume", w.Dir+"/.claimdir/trash/"+inTrash+"/emptying"))
		}, "PersistentVolume pvc-1 exists again, and this is what is left of its data; move it to "},
		"the cluster does not answer": {func(_ *testing.T, w *world) {
			w.Steps = steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: w.Seen, Volume: func(context.Context, string) (*v1.PersistentVolume, error) {
				return nil, errors.New("timeout")
			}})
		}, "cannot ask whether the PersistentVolume exists again: timeout"},
		"another cluster asks, which cannot know": {func(t *testing.T, w *world) {
			t.Helper()
			w.Steps = w.beside(t, "cluster-2").Steps
		}, ""},
	} {
		for _, path := range []string{"team/data", "${.PV.name}"} {
			t.Run(name+" at "+path, func(t *testing.T) {
				w := newWorld(t)
				w.backAtPattern(t, path)
				tt.set(t, w)
				err := w.emptied()
				if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("it says %v, want %q", err, tt.says)
				}
				left, globErr := os.ReadDir(w.Dir + "/.claimdir/trash")
				must(t, globErr)
				if (len(left) > 0) != (tt.says != "") {
					t.Errorf("left are %v", left)
				}
			})
		}
	}
}

// backAtPattern is backFromTrash for a pattern, which may name the PersistentVolume.
func (w *world) backAtPattern(t *testing.T, pattern string) volume.Volume {
	t.Helper()
	if pattern == "${.PV.name}" {
		pattern = "pvc-1"
	}
	return w.backFromTrash(t, pattern)
}

func TestWhatGoesBackFromTheTrashIsCutOffAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) func() error {
		v := w.backFromTrash(t, "team/data")
		return func() error {
			err := w.putTrashBack(t.Context(), v)
			if errors.Is(err, steps.ErrNoTrash) {
				r, found, lookErr := w.Store(t).Records.Lookup(v.Path)
				if lookErr == nil && found && r.State == ledger.Active { // an earlier call did it
					return nil
				}
			}
			if busy, ok := errors.AsType[*refusal.Refusal](w.emptied()); ok && busy.Reason() != refusal.ReasonBusy {
				t.Error(busy)
			}
			return err
		}
	}, "team", "team/data", "team/data/precious", "team/data = pvc-1 active")
}

// Between its record and its directory, what goes back is neither emptied nor lost, whoever comes.
func TestWhatGoesBackFromTheTrashIsInterrupted(t *testing.T) {
	cut := func(t *testing.T, w *world, v volume.Volume) {
		t.Helper()
		w.Hook(func(name string, call func() error) error {
			if strings.HasPrefix(name, "rename volume") {
				return sharetest.ErrCut
			}
			return call()
		})
		if err := w.putTrashBack(t.Context(), v); !errors.Is(err, sharetest.ErrCut) {
			t.Fatal(err)
		}
		w.Hook(nil)
	}
	for _, path := range []string{"team/data", "pvc-1"} {
		for name, then := range map[string]func(t *testing.T, w *world, v volume.Volume){
			"a repeat": func(t *testing.T, w *world, v volume.Volume) {
				t.Helper()
				must(t, w.putTrashBack(t.Context(), v))
			},
			"who looks after volumes": func(t *testing.T, w *world, v volume.Volume) {
				t.Helper()
				must(t, w.onPathOf(t, path, func(ctx context.Context, op steps.Op) error { return op.LookAfter(ctx, v.Name) }))
			},
		} {
			t.Run(name+" at "+path, func(t *testing.T) {
				w := newWorld(t)
				v := w.backFromTrash(t, path)
				cut(t, w, v)
				if err := w.emptied(); err == nil {
					t.Error("the trash was emptied")
				}
				then(t, w, v)
				w.EmptyTrash(t)
				if data, err := os.ReadFile(w.Dir + "/" + path + "/precious"); err != nil || len(data) == 0 {
					t.Error(err)
				}
				if left := w.Trash(t); len(left) > 0 {
					t.Errorf("in the trash are %q", left)
				}
			})
		}
		t.Run("its claim goes again at "+path, func(t *testing.T) {
			w := newWorld(t)
			v := w.backFromTrash(t, path)
			cut(t, w, v)
			pv := w.Seen.PVs[0]
			pv.Status.Phase = v1.VolumeReleased
			must(t, w.Delete(t.Context(), pv))
			w.EmptyTrash(t)
			w.Holds(t)
			if left := w.Trash(t); len(left) > 0 {
				t.Errorf("in the trash are %q", left)
			}
		})
	}
}

// A volume that is back can be released again.
func TestWhatWentBackFromTheTrashIsReleasedAgain(t *testing.T) {
	w := newWorld(t)
	v := w.backFromTrash(t, "team/data")
	must(t, w.putTrashBack(t.Context(), v))
	if mode := w.ModeOf(t, "team/data"); mode.Perm() != 0o770 || mode&os.ModeSetgid == 0 {
		t.Errorf("it has mode %v", mode)
	}
	w.Holds(t, "team", "team/data", "team/data/precious", "team/data = pvc-1 active")
	pv := w.Seen.PVs[0]
	pv.Status.Phase = v1.VolumeReleased
	must(t, w.Delete(t.Context(), pv))
	w.EmptyTrash(t)
	w.Holds(t)
}

func TestWhatGoesBackFromTheTrashIsTheVolumesOwn(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(t *testing.T, w *world, v *volume.Volume)
		says string
	}{
		"another volume": {func(_ *testing.T, _ *world, v *volume.Volume) { v.Name = "pvc-2" }, "the trash does not have its directory"},
		"another path": {func(t *testing.T, _ *world, v *volume.Volume) {
			t.Helper()
			v.Path = sharetest.PathOf(t, "team/other")
		}, "the trash does not have its directory"},
		"another namespace": {func(_ *testing.T, _ *world, v *volume.Volume) { v.Claim.Namespace = "other" }, `it is of namespace "ns", and the PersistentVolume of namespace "other"`},
		"the path is another's": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			pvs := w.Seen.PVs
			w.Seen.PVs = nil
			w.provision(t, options("ns/other", "pvc-3", at("team/data")))
			w.Seen.PVs = pvs
		}, `path "team/data" belongs to the volume pvc-3`},
		"another volume lies below the path": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			pvs := w.Seen.PVs
			w.Seen.PVs = nil
			w.provision(t, options("ns/other", "pvc-3", at("team/data/below")))
			w.Seen.PVs = pvs
		}, `path "team/data" exists on the share`},
		"a directory is at the path": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			w.Tree(t, "team/data/file")
		}, `path "team/data" exists on the share; move that away first`},
		"the PersistentVolume is going": {func(_ *testing.T, w *world, _ *volume.Volume) { w.Seen.PVs[0].Status.Phase = v1.VolumeReleased }, "PersistentVolume pvc-1 is on its way out"},
		"it is another directory": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			in := w.Dir + "/.claimdir/trash/" + inTrash
			must(t, errors.Join(os.Rename(in+"/volume", in+"/first"), os.Mkdir(in+"/volume", 0o755), os.RemoveAll(in+"/first")))
			w.Tree(t, ".claimdir/trash/"+inTrash+"/volume/file")
		}, "another directory than the one that was released"},
		"its removal has begun": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			in := w.Dir + "/.claimdir/trash/" + inTrash
			must(t, os.Rename(in+"/volume", in+"/emptying"))
		}, "the trash does not have its directory"},
		"it was an archive": {func(t *testing.T, w *world, _ *volume.Volume) {
			t.Helper()
			file := w.Dir + "/.claimdir/trash/" + inTrash + "/record.json"
			data, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file, []byte(strings.Replace(string(data), `"active"`, `"archived"`, 1)), 0o600))
		}, "the trash does not have its directory"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.backFromTrash(t, "team/data")
			tt.set(t, w, &v)
			before := w.Snapshot(t)
			if err := w.putTrashBack(t.Context(), v); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it says %v, want %q", err, tt.says)
			}
			if after := w.Snapshot(t); after != before {
				t.Errorf("touched:\nbefore\n%safter\n%s", before, after)
			}
		})
	}
}

// What the trash has of a volume is found, and only that.
func TestTheTrashOfAVolume(t *testing.T) {
	w := newWorld(t)
	v := w.backFromTrash(t, "team/data")
	of := func(pv, cluster, path string) (ledger.Trashed, bool) {
		t.Helper()
		found, is, err := w.Store(t).Records.TrashOf(pv, cluster, sharetest.PathOf(t, path))
		must(t, err)
		return found, is
	}
	found, is := of("pvc-1", sharetest.Cluster, "team/data")
	if !is || found.Own != inTrash || found.Begun || found.Record.Claim.Name != "data" || found.Path() != ".claimdir/trash/"+inTrash+"/volume" {
		t.Errorf("%v %+v", is, found)
	}
	for _, other := range [][3]string{{"pvc-2", sharetest.Cluster, "team/data"}, {"pvc-1", "cluster-2", "team/data"}, {"pvc-1", sharetest.Cluster, "team"}, {"pvc", sharetest.Cluster, "team/data"}} {
		if found, is := of(other[0], other[1], other[2]); is {
			t.Errorf("%q: %+v", other, found)
		}
	}
	must(t, os.Rename(w.Dir+"/.claimdir/trash/"+inTrash+"/volume", w.Dir+"/.claimdir/trash/"+inTrash+"/emptying"))
	if found, is := of("pvc-1", sharetest.Cluster, v.Path.String()); !is || !found.Begun || found.Path() != ".claimdir/trash/"+inTrash+"/emptying" {
		t.Errorf("%v %+v", is, found)
	}
}
