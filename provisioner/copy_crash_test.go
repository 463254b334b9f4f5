package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// sourceTree is what a share holds that has only the source of a copy.
var sourceTree = []string{"source", "source/file", "source/sub", "source/sub/file", "source = pvc-0 active"}

// with adds to a list.
func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// hasSource makes the volume that is copied.
func (w *world) hasSource(t *testing.T) {
	t.Helper()
	w.provision(t, options("ns/source", "pvc-0", at("source")))
	w.Tree(t, "source/file", "source/sub/file")
}

// copyVolume is the volume of claim "ns/copy" at team/copy, or at another path.
func copyVolume(t *testing.T, pv string, more ...string) volume.Volume {
	t.Helper()
	path := "team/copy"
	if len(more) > 0 {
		path = more[0]
	}
	o := options("ns/copy", pv, at(path, "mode", "2750"))
	c, err := class.Parse(o.StorageClass.Parameters)
	must(t, err)
	return volume.FromClaim(pv, o.PVC, o.StorageClass, c, sharetest.PathOf(t, path))
}

// create makes the volume as far as it can be made without copying.
func (w *world) create(t *testing.T, v volume.Volume) (r ledger.Record, err error) {
	t.Helper()
	begin := steps.Begin{Existing: class.Refuse, CopyOf: func() (*ledger.Copy, error) {
		return &ledger.Copy{Kind: ledger.CopyClaim, Path: "source", PV: "pvc-0", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "source", UID: "uid-pvc-0"}}, nil
	}}
	err = w.Steps.On(t.Context(), w.Keeper, v.Path, "provision", func(ctx context.Context, op steps.Op) (err error) {
		r, err = op.Create(ctx, v, begin)
		return err
	})
	return r, err
}

// copyTree does what the job does for a volume that is to be a copy.
func (w *world) copyTree(t *testing.T, r ledger.Record, v volume.Volume) error {
	t.Helper()
	on := func(name string, work func(context.Context, steps.Op) error) error {
		return w.Steps.On(t.Context(), w.Keeper, v.Path, name, work)
	}
	err := on("begin", func(_ context.Context, op steps.Op) (err error) { r, err = op.BeginCopy(r, ""); return err })
	if err != nil {
		return err
	}
	result, err := w.copyOnly(t, r, v)
	if err != nil {
		return err
	}
	return on("complete", func(ctx context.Context, op steps.Op) error { return op.CompleteCopy(ctx, r, result, ledger.Unused) })
}

func (w *world) copyOnly(t *testing.T, r ledger.Record, v volume.Volume) (result share.Copied, err error) {
	t.Helper()
	err = w.Keeper.Do(t.Context(), "copy", func(ctx context.Context, store ledger.Store) (err error) {
		from := share.CopyFrom{Path: sharetest.PathOf(t, r.CopyOf.Path)}
		result, err = store.Dirs.Copy(ctx, share.NewCopier(1, 0, 0), from, volpath.OwnAt(r.PV, r.Cluster, v.Path), nil)
		return err
	})
	return result, err
}

// makeCopy makes the volume wholly.
func (w *world) makeCopy(t *testing.T, v volume.Volume) error {
	t.Helper()
	_, err := w.create(t, v)
	if copying, is := errors.AsType[*steps.CopyingError](err); is {
		if err := w.copyTree(t, copying.Record, v); err != nil {
			return err
		}
		_, err = w.create(t, v)
	}
	return err
}

// sameAsSource fails unless a directory has what the source has.
func (w *world) sameAsSource(t *testing.T, dir string) error {
	t.Helper()
	for _, name := range []string{"file", "sub/file"} {
		got, err := os.ReadFile(filepath.Join(w.Dir, dir, name))
		if want := "content of source/" + name; err != nil || string(got) != want {
			return fmt.Errorf("%s/%s has %q, %w", dir, name, got, err)
		}
	}
	return nil
}

// noTrash empties the trash, and returns an error if it still holds something.
func (w *world) noTrash(t *testing.T) error {
	t.Helper()
	names, err := w.Store(t).Records.ListTrash()
	must(t, err)
	for _, name := range names {
		if _, _, err := w.Steps.EmptyTrash(t.Context(), t.Context(), w.Keeper, name, share.NewRemover(4, 0)); err != nil {
			return err
		}
	}
	left, err := os.ReadDir(w.Dir + "/.claimdir/trash")
	if errors.Is(err, os.ErrNotExist) || err == nil && len(left) == 0 {
		return nil
	}
	return fmt.Errorf("in the trash: %v, %w", left, err)
}

func TestACopyCutOffAnywhereIsCompletedByARepeat(t *testing.T) {
	everywhereOnce(t, func(t *testing.T, w *world) func() error {
		w.hasSource(t)
		return func() error {
			err := w.makeCopy(t, copyVolume(t, "pvc-1"))
			if err == nil {
				err = errors.Join(w.sameAsSource(t, "team/copy"), w.noTrash(t))
			}
			return err
		}
	}, with(sourceTree, "team", "team/copy", "team/copy/file", "team/copy/sub", "team/copy/sub/file", "team/copy = pvc-1 active")...)
}

// copyStages are the states in which a copy may be given up. Each returns the world with it.
var copyStages = map[string]func(t *testing.T, w *world, v volume.Volume){
	"begun": func(t *testing.T, w *world, v volume.Volume) {
		_, err := w.create(t, v)
		mustBeCopying(t, err)
	},
	"copied in part": func(t *testing.T, w *world, v volume.Volume) {
		r, err := w.create(t, v)
		mustBeCopying(t, err)
		cut := &sharetest.Fault{N: 60, Kill: true}
		if !w.CutOff(cut, func() error { return w.copyTree(t, r, v) }) {
			t.Fatal("it was not cut off")
		}
		w.restart(t)
		if _, err := os.Lstat(w.staging(v)); err != nil {
			t.Fatal("it was cut off before it began: ", err)
		}
	},
	"copied": func(t *testing.T, w *world, v volume.Volume) {
		r, err := w.create(t, v)
		mustBeCopying(t, err)
		_, err = w.copyOnly(t, r, v)
		must(t, err)
	},
	"whole": func(t *testing.T, w *world, v volume.Volume) {
		r, err := w.create(t, v)
		mustBeCopying(t, err)
		must(t, w.copyTree(t, r, v))
	},
	"brought to the path": func(t *testing.T, w *world, v volume.Volume) {
		r, err := w.create(t, v)
		mustBeCopying(t, err)
		must(t, w.copyTree(t, r, v))
		dirs := w.Store(t).Dirs
		must(t, dirs.WithParents(v.Path, func() error { return dirs.BringCopy(volpath.OwnAt(r.PV, r.Cluster, v.Path), v.Path) }))
	},
}

func mustBeCopying(t *testing.T, err error) {
	t.Helper()
	if _, is := errors.AsType[*steps.CopyingError](err); !is {
		t.Fatalf("%v, want a CopyingError", err)
	}
}

// staging is the directory of a copy.
func (w *world) staging(v volume.Volume) string {
	return w.Dir + "/.claimdir/copies/" + volpath.OwnAt(v.Name, sharetest.Cluster, v.Path)
}

func TestACopyGivenUpAndCutOffAnywhereLeavesNothing(t *testing.T) {
	for name, stage := range copyStages {
		t.Run(name, func(t *testing.T) {
			everywhereOnce(t, func(t *testing.T, w *world) func() error {
				w.hasSource(t)
				stage(t, w, copyVolume(t, "pvc-1"))
				return func() error {
					err := w.orphanGoes(t, "team/copy")
					if errors.Is(err, steps.ErrNoOrphan) { // an earlier run has done it
						_, err = w.Store(t).Dirs.RemoveMarked(sharetest.PathOf(t, "team")) // as the sweep does
					}
					if err == nil {
						err = w.noTrash(t)
					}
					return err
				}
			}, sourceTree...)
		})
	}
}

// What is given up goes into the trash, with its record, and neither is put back from there.
func TestACopyGivenUpIsInTheTrash(t *testing.T) {
	for name, stage := range copyStages {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hasSource(t)
			v := copyVolume(t, "pvc-1")
			stage(t, w, v)
			must(t, w.orphanGoes(t, "team/copy"))
			w.Holds(t, sourceTree...)
			var want []string
			if name != "begun" {
				want = []string{"pvc-1"}
			}
			if got := w.Trash(t); !slices.Equal(got, want) {
				t.Errorf("in the trash: %q, want %q", got, want)
			}
			if _, found, err := w.Store(t).Records.TrashOf("pvc-1", sharetest.Cluster, v.Path); err != nil || found {
				t.Errorf("the trash offers it as a volume's directory: %v, %v", found, err)
			}
			must(t, w.noTrash(t))
			must(t, w.sameAsSource(t, "source"))
		})
	}
}

// The claim goes, and another one of its name comes: what the first began is no part of the second's volume.
func TestAnAbandonedCopyIsGivenUpByTheNextClaimOfTheName(t *testing.T) {
	for name, stage := range copyStages {
		t.Run(name, func(t *testing.T) {
			everywhereOnce(t, func(t *testing.T, w *world) func() error {
				w.hasSource(t)
				stage(t, w, copyVolume(t, "pvc-1"))
				return func() error {
					_, err := w.create(t, copyVolume(t, "pvc-2"))
					if _, is := errors.AsType[*steps.CopyingError](err); !is {
						return err
					}
					_, err = w.Store(t).Dirs.RemoveMarked(sharetest.PathOf(t, "team")) // as the sweep does
					return errors.Join(err, w.noTrash(t))
				}
			}, with(sourceTree, "team/copy = pvc-2 creating")...)
		})
		t.Run(name+", to the end", func(t *testing.T) {
			w := newWorld(t)
			w.hasSource(t)
			stage(t, w, copyVolume(t, "pvc-1"))
			must(t, os.Remove(w.Dir+"/source/sub/file")) // what the first one had copied
			w.Tree(t, "source/later")
			must(t, w.makeCopy(t, copyVolume(t, "pvc-2")))
			w.Holds(t, "source", "source/file", "source/later", "source/sub", "source = pvc-0 active",
				"team", "team/copy", "team/copy/file", "team/copy/later", "team/copy/sub", "team/copy = pvc-2 active")
		})
	}
}

// Somebody makes a directory at the path while the volume is copied. It is not touched, and the copy is kept.
func TestADirectoryThatCameMeanwhileIsNotTouchedByACopy(t *testing.T) {
	for name, stage := range copyStages {
		if name == "brought to the path" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hasSource(t)
			v := copyVolume(t, "pvc-1")
			stage(t, w, v)
			w.Tree(t, "team/copy/mine")
			err := w.makeCopy(t, v)
			refused(t, err, refusal.ReasonTaken, false, `path "team/copy" exists on the share`, "the copy of claim source cannot be brought there")
			if strings.Contains(err.Error(), "adopt") {
				t.Errorf("a copy cannot adopt: %v", err)
			}
			if data, err := os.ReadFile(w.Dir + "/team/copy/mine"); err != nil || string(data) != "content of team/copy/mine" {
				t.Errorf("%q, %v", data, err)
			}
			if _, err := os.Lstat(w.staging(v) + "/tree/file"); err != nil {
				t.Error("the copy is not kept: ", err)
			}
			must(t, os.Rename(w.Dir+"/team/copy", w.Dir+"/team/other"))
			must(t, w.makeCopy(t, v))
			must(t, w.sameAsSource(t, "team/copy"))
			must(t, os.Rename(w.Dir+"/team/other", w.Dir+"/other"))
			w.Holds(t, with(sourceTree, "other", "other/mine", "team", "team/copy", "team/copy/file", "team/copy/sub", "team/copy/sub/file", "team/copy = pvc-1 active")...)
		})
	}
}

// A directory that is given up with the copy's record is somebody's if it is not the copy.
func TestADirectoryThatCameMeanwhileStaysWhenTheCopyIsGivenUp(t *testing.T) {
	for name, stage := range copyStages {
		if name == "brought to the path" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hasSource(t)
			stage(t, w, copyVolume(t, "pvc-1"))
			w.Tree(t, "team/copy/mine")
			must(t, w.orphanGoes(t, "team/copy"))
			must(t, w.noTrash(t))
			w.Holds(t, with(sourceTree, "team", "team/copy", "team/copy/mine")...)
		})
	}
}

// A volume whose copy is complete is no copy any more: nobody gives that up.
func TestACompleteCopyIsAVolumeLikeAnother(t *testing.T) {
	w := newWorld(t)
	w.hasSource(t)
	v := copyVolume(t, "pvc-1")
	must(t, w.makeCopy(t, v))
	must(t, w.makeCopy(t, v))
	r := w.Record(t, "team/copy")
	if r.CopyOf == nil || r.CopyOf.Used != ledger.Unused || r.CopyOf.Files != 2 || r.Layout != ledger.Layout {
		t.Errorf("the record says %+v, %+v", r, r.CopyOf)
	}
	if err := w.orphanGoes(t, "team/copy"); !errors.Is(err, steps.ErrOrphanKept) {
		t.Errorf("it was given up: %v", err)
	}
	must(t, os.RemoveAll(w.Dir+"/team/copy"))
	_, err := w.create(t, v)
	refused(t, err, refusal.ReasonRecord, false, "a copy of source,", "is missing")
}

// Another process, which leads no more, completes the copy late: this one's job must not write to the tree any more.
func TestACopyThatIsWholeIsNotBegunAgain(t *testing.T) {
	w := newWorld(t)
	w.hasSource(t)
	v := copyVolume(t, "pvc-1")
	r, err := w.create(t, v)
	mustBeCopying(t, err)
	must(t, w.copyTree(t, r, v))
	if err := w.copyTree(t, r, v); err == nil || !strings.Contains(err.Error(), "complete already") {
		t.Errorf("it was begun again: %v", err)
	}
	must(t, w.makeCopy(t, v))
	if err := w.copyTree(t, r, v); err == nil {
		t.Error("the copy of a volume was begun again")
	}
}
