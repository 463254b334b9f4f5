package provisioner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

func TestProvisionWritesDownWhatARecoveryNeeds(t *testing.T) {
	w := newWorld(t)
	o := options("ns/data", "pvc-1", at("${.PVC.namespace}/${.PVC.name}", "onDelete", "retain", "mode", "2770", "gid", fmt.Sprint(os.Getgid())))
	o.StorageClass.MountOptions = []string{"nfsvers=4.2"}
	w.provision(t, o)
	r := w.Record(t, "ns/data")
	if r.PV != "pvc-1" || r.Claim.Namespace != "ns" || r.Claim.Name != "data" || r.Claim.UID != "uid-pvc-1" || r.Cluster != sharetest.Cluster || r.Class != "nfs" ||
		r.Policy != "retain" || r.Size != "1Gi" || r.AccessModes[0] != "ReadWriteMany" || r.MountOptions[0] != "nfsvers=4.2" || r.Mode != "02770" ||
		r.UID != nil || r.GID == nil || r.Created.IsZero() || r.Adopted {
		t.Errorf("%+v", r)
	}
	id, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, "ns/data"))
	must(t, err)
	if r.Directory.Match(id) != share.Same || r.Directory.Handle != id.Handle {
		t.Errorf("on record is %+v, there is %+v", r.Directory, id)
	}
	if mode := w.ModeOf(t, "ns/data"); mode != fs.ModeDir|fs.ModeSetgid|0o770 {
		t.Errorf("mode %v", mode)
	}
}

func TestAttributesThatTheServerRefusesLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "team/")
	w.Hook(func(name string, do func() error) error {
		if name == "set attributes of data" {
			return fmt.Errorf("set owner 1000:: %w", syscall.EPERM)
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "uid", "1000")))
	refused(t, err, refusal.ReasonStorage, false, "set owner 1000", "operation not permitted")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the cause is lost: %v", err)
	}
	w.Holds(t, "team")
}

func TestMistakesOfTheClassAndTheClaimTouchNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		class  map[string]string
		reason string
		says   string
	}{
		"an unknown parameter":    {params("onDelte", "delete"), refusal.ReasonClass, `StorageClass nfs: unknown parameter "onDelte"`},
		"an unknown value":        {params("onDelete", "shred"), refusal.ReasonClass, `"shred"`},
		"a way out":               {at("a/${.PVC.annotations.path}/b"), refusal.ReasonPath, `".."`},
		"an absolute way out":     {at("${.PVC.annotations.abs}/x"), refusal.ReasonPath, `".."`},
		"no first element":        {at("${.PVC.annotations.none}/x"), refusal.ReasonPath, "its first element came out empty"},
		"a blank":                 {at("x/${.PVC.annotations.blank}"), refusal.ReasonPath, `element " x" begins or ends with a blank`},
		"a template":              {at("{{ .PVC.Name }}"), refusal.ReasonClass, `'{' outside of a variable`},
		"the records":             {at("${.PVC.annotations.records}"), refusal.ReasonPath, "reserved name"},
		"a path too deep":         {at("${.PVC.annotations.deep}"), refusal.ReasonPath, "65 elements; at most 64 are allowed"},
		"an export path too long": {at("${.PVC.annotations.long}"), refusal.ReasonPath, "exported path of"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.Snapshot(t)
			o := options("ns/data", "pvc-1", tt.class)
			o.PVC.Annotations = params("path", "../..", "abs", "/../etc", "blank", " x", "records", ".claimdir/volumes", "deep", strings.Repeat("e/", volpath.MaxLevels)+"e", "long", strings.Repeat(strings.Repeat("e", 63)+"/", 63)+strings.Repeat("e", 63))
			_, _, err := w.Provision(t.Context(), o)
			refused(t, err, tt.reason, true, tt.says)
			w.Untouched(t, before)
		})
	}
}

// The mistakes of both are told together, as a class can only be made anew.
func TestMountOptionsThatNoMountCanHaveAreRefused(t *testing.T) {
	w := newWorld(t)
	before := w.Snapshot(t)
	o := options("ns/data", "pvc-1", params("onDelete", "shred"))
	o.StorageClass.MountOptions = []string{"vers=4.1 hard"}
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonClass, true, `StorageClass nfs: `, `"shred"`, `mountOptions[0] "vers=4.1 hard" contains a blank`, "[vers=4.1, hard]")
	w.Untouched(t, before)
}

func TestADirectoryThatExistsIsRefused(t *testing.T) {
	for name, content := range map[string]string{"with content": "team/data/file", "empty": "team/data/"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Tree(t, content)
			before := w.Snapshot(t)
			for range 2 {
				_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data")))
				refused(t, err, refusal.ReasonTaken, false, `path "team/data" exists`, "onExisting: adopt")
			}
			w.Untouched(t, before)
		})
	}
}

func TestWhatIsNoDirectoryIsRefusedAndNeverFollowed(t *testing.T) {
	for name, place := range map[string]func(name, outside string) error{
		"a link":          func(name, outside string) error { return os.Symlink(outside, name) },
		"a dangling link": func(name, outside string) error { return os.Symlink(outside+"/nowhere", name) },
		"a file":          func(name, _ string) error { return os.WriteFile(name, nil, 0o644) },
	} {
		for _, existing := range []string{"refuse", "adopt"} {
			for _, path := range []string{"it", "it/data"} {
				t.Run(name+" "+existing+" "+path, func(t *testing.T) {
					w, outside := newWorld(t), t.TempDir()
					must(t, os.Mkdir(outside+"/data", 0o700))
					must(t, place(w.Dir+"/it", outside))
					before := w.Snapshot(t)
					_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at(path, "onExisting", existing)))
					refused(t, err, refusal.ReasonStorage, false, "symbolic links are not followed")
					w.Untouched(t, before)
					if info, err := os.Stat(outside + "/data"); err != nil || info.Mode().Perm() != 0o700 {
						t.Errorf("outside: %v, %v", info, err)
					}
				})
			}
		}
	}
}

func TestAdoptTakesADirectoryAsItIs(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "team/data/file", "team/other/file")
	must(t, os.Chmod(w.Dir+"/team/data", 0o711))
	before := w.Snapshot(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt", "mode", "0777")))
	if r := w.Record(t, "team/data"); !r.Adopted || pv.Spec.NFS.Path != "/export/team/data" {
		t.Errorf("%+v, %+v", r, pv)
	}
	must(t, w.Store(t).Records.Remove(sharetest.PathOf(t, "team/data"), w.Record(t, "team/data")))
	w.Untouched(t, before)
}

func TestAdoptMakesADirectoryThatIsAbsent(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt", "mode", "0750")))
	if r := w.Record(t, "team/data"); r.Adopted || w.ModeOf(t, "team/data").Perm() != 0o750 {
		t.Errorf("%+v, mode %v", r, w.ModeOf(t, "team/data"))
	}
}

func TestVolumesDoNotNest(t *testing.T) {
	for name, tt := range map[string]struct{ path, says string }{
		"inside":       {"team/data/inside", "one inside the other"},
		"deep inside":  {"team/data/in/si/de", "one inside the other"},
		"above":        {"team", "one inside the other"},
		"the same one": {"team/data", "belongs to the volume pvc-1 of claim ns/data (in use); a directory serves one claim: let the pods share that claim, or give the class a pattern with ${.PVC.name}"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provision(t, options("ns/data", "pvc-1", at("team/data")))
			w.Tree(t, "team/data/inside/file")
			before := w.Snapshot(t)
			_, _, err := w.Provision(t.Context(), options("ns/new", "pvc-2", at(tt.path, "onExisting", "adopt")))
			refused(t, err, refusal.ReasonTaken, false, tt.says)
			w.Untouched(t, before)
		})
	}
}

// Both directories were there before. Whoever comes second must see the other,
// also where the second comes while the first is still looking.
func TestAdoptionsBesideEachOtherDoNotNest(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "team/data/file")
	other := w.beside(t, sharetest.Cluster)
	done := false
	w.Hook(func(_ string, do func() error) error {
		err := do()
		if records := w.Records(t); len(records) == 1 && !done { // ours is written, and not yet complete
			done = true
			_, _, inner := other.Provision(t.Context(), options("ns/inner", "pvc-2", at("team/data", "onExisting", "adopt")))
			refused(t, inner, refusal.ReasonTaken, false, "one inside the other")
		}
		return err
	})
	w.provision(t, options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
	if !done {
		t.Error("the other one never came")
	}
	w.Holds(t, "team", "team/data", "team/data/file", "team = pvc-1 active")
}

func TestAnAdoptionThatWasOvertakenGivesUp(t *testing.T) {
	for _, before := range []string{"open the share", "open staged", "rename pvc-1@"} { // our record is written by that
		t.Run(before, func(t *testing.T) {
			w := newWorld(t)
			w.Tree(t, "team/data/file")
			other := w.beside(t, sharetest.Cluster)
			done := false
			w.Hook(func(name string, do func() error) error {
				if strings.HasPrefix(name, before) && !done {
					done = true
					other.provision(t, options("ns/inner", "pvc-2", at("team/data", "onExisting", "adopt")))
				}
				return do()
			})
			_, _, err := w.Provision(t.Context(), options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
			refused(t, err, refusal.ReasonTaken, false, "one inside the other")
			if !done {
				t.Error("the other one never came")
			}
			w.Holds(t, "team", "team/data", "team/data/file", "team/data = pvc-2 active")
		})
	}
}

func TestADirectoryThatAppearsMeanwhileIsNotTaken(t *testing.T) {
	w := newWorld(t)
	w.Hook(func(name string, do func() error) error {
		if name == "make data" {
			w.Tree(t, "data/file")
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("data")))
	refused(t, err, refusal.ReasonTaken, false, "exists", "onExisting: adopt")
	w.Holds(t, "data", "data/file")
}

func TestAVolumeAboveThatAppearsMeanwhileIsRefused(t *testing.T) {
	w := newWorld(t)
	other := w.beside(t, sharetest.Cluster)
	w.Hook(func(name string, do func() error) error {
		if name == "make data" { // its parent is made
			other.provision(t, options("ns/outer", "pvc-2", at("team")))
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), options("ns/inner", "pvc-1", at("team/data")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.Holds(t, "team", "team = pvc-2 active")
}

func TestARetainedVolumeGoesToItsNameOnly(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("shared", "onDelete", "retain")))
	w.Tree(t, "shared/file")
	must(t, w.Delete(t.Context(), pv))
	for _, claim := range []string{"other/data", "ns/other"} {
		_, _, err := w.Provision(t.Context(), options(claim, "pvc-2", at("shared", "onExisting", "adopt")))
		refused(t, err, refusal.ReasonTaken, false, "kept after its release")
	}
	w.provision(t, options("ns/data", "pvc-3", at("shared")))
	w.Holds(t, "shared", "shared/file", "shared = pvc-3 active")
}

func TestADamagedRecordStopsEverythingOnItsPath(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.Tree(t, "data/file")
	must(t, os.WriteFile(w.recordFile(t, "data"), []byte("{"), 0o600))
	before := w.Snapshot(t)
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonRecord, false, "damaged record of data")
	refused(t, provisionError(t, w, "ns/data", "pvc-1"), refusal.ReasonRecord, false, "damaged record of data")
	w.Untouched(t, before)
}

func TestAShareThatIsGoneTouchesNothing(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	must(t, os.Rename(w.Dir, w.Dir+".away"))
	must(t, os.Mkdir(w.Dir, 0o755)) // the empty directory below a mount that is gone
	for range 2 {
		refused(t, w.Delete(t.Context(), pv), refusal.ReasonShare, false, "the share")
		refused(t, provisionError(t, w, "ns/new", "pvc-2"), refusal.ReasonShare, false, "the share")
		if entries, err := os.ReadDir(w.Dir); err == nil && len(entries) > 0 {
			t.Errorf("made on what is not the share: %v", entries)
		}
		_ = os.Remove(w.Dir)
	}
	must(t, os.Rename(w.Dir+".away", w.Dir))
	w.Holds(t, "data", "data = pvc-1 active")
}

func TestManyClaimsAtOnce(t *testing.T) {
	w := newWorld(t)
	var callers sync.WaitGroup
	pvs := make([]*v1.PersistentVolume, times(100, 20))
	for i := range pvs {
		callers.Go(func() {
			pv, _, err := w.Provision(t.Context(), options("ns/data", fmt.Sprint("pvc-", i), params()))
			if err != nil {
				t.Error(err)
				return
			}
			pvs[i] = pv
		})
	}
	callers.Wait()
	var want []string
	for i, pv := range pvs {
		name := fmt.Sprint("ns-data-pvc-", i)
		if pv == nil || pv.Spec.NFS.Path != "/export/"+name {
			t.Fatalf("%d: %+v", i, pv)
		}
		want = append(want, name, fmt.Sprint(name, " = pvc-", i, " active"))
	}
	w.Holds(t, want...)
}

func TestTwoClaimsForOnePath(t *testing.T) {
	for range times(20, 3) {
		w := newWorld(t)
		other := w.beside(t, sharetest.Cluster)
		var callers sync.WaitGroup
		errs := make([]error, 3)
		for i, in := range []*world{w, w, other} {
			callers.Go(func() { errs[i] = provisionError(t, in, fmt.Sprint("ns/claim-", i), fmt.Sprint("pvc-", i)) })
		}
		callers.Wait()
		winner := -1
		for i, err := range errs {
			var refusing *refusal.Refusal
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Fatal("two claims have one directory")
			case !errors.As(err, &refusing) || refusing.Reason() != refusal.ReasonTaken && refusing.Reason() != refusal.ReasonBusy:
				t.Error(err)
			}
		}
		if winner < 0 {
			t.Fatalf("nobody got the path: %v", errs)
		}
		w.Holds(t, "data", fmt.Sprint("data = pvc-", winner, " active"))
	}
}

// What a kill leaves between writing the record of an adoption and looking for
// others, while another volume came to lie below it.
func TestAnAdoptionThatWasCutOffLooksAgain(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/inner", "pvc-2", at("team/data")))
	_, err := w.Store(t).Records.Take(sharetest.PathOf(t, "team"), ledger.Record{
		State: ledger.Creating, Adopted: true, PV: "pvc-1", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "outer"},
	}, false)
	must(t, err)
	_, _, err = w.Provision(t.Context(), options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.Holds(t, "team", "team/data", "team/data = pvc-2 active")
}

func TestAnAdoptionBelowAVolumeThatAppearsMeanwhileGivesUp(t *testing.T) {
	w := newWorld(t)
	w.Tree(t, "team/data/file")
	done := false
	w.Hook(func(_ string, do func() error) error {
		if len(w.Records(t)) == 1 && !done {
			done = true
			_, err := w.Store(t).Records.Take(sharetest.PathOf(t, "team"), ledger.Record{State: ledger.Creating, PV: "pvc-2", Cluster: sharetest.Cluster}, false)
			must(t, err)
		}
		return do()
	})
	_, _, err := w.Provision(t.Context(), options("ns/inner", "pvc-1", at("team/data", "onExisting", "adopt")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.Holds(t, "team", "team/data", "team/data/file", "team = pvc-2 creating")
}

// recordFile is where the record of a path of one element is.
func (w *world) recordFile(t *testing.T, path string) string {
	t.Helper()
	found, err := filepath.Glob(w.Dir + "/.claimdir/records/" + path + "/*.json")
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("records of %s: %q", path, found)
	}
	return found[0]
}

// calls returns the names of the calls to the share that an operation makes.
func (w *world) calls(run func()) (names []string) {
	w.Hook(func(name string, do func() error) error {
		names = append(names, name)
		return do()
	})
	defer w.Hook(nil)
	run()
	return names
}

// crowded is a share with many volumes of other claims.
func crowded(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for n := range 20 {
		w.provision(t, options("crowd/data", fmt.Sprint("pvc-crowd-", n), params()))
	}
	return w
}

// A share may have 100,000 records, which nothing that is done for one volume may list:
// that would be a call "open .", and a read of each.
func TestANewVolumeCostsNoListingOfTheRecords(t *testing.T) {
	for _, pattern := range []string{"${.PVC.name}", "${.PVC.namespace}/deep/er/${.PVC.name}"} {
		var made, again [][]string
		for _, w := range []*world{newWorld(t), crowded(t)} {
			provision := func() { w.provision(t, options("ns/data", "pvc-1", at(pattern))) }
			made, again = append(made, w.calls(provision)), append(again, w.calls(provision))
		}
		if slices.Contains(made[0], "open .") || !slices.Equal(made[0], made[1]) {
			t.Errorf("%s: alone\n%q\nbeside many\n%q", pattern, made[0], made[1])
		}
		if !slices.Equal(again[0], again[1]) {
			t.Errorf("%s: a repeat alone\n%q\nbeside many\n%q", pattern, again[0], again[1])
		}
		own := 0 // that of the records that the path itself has
		for _, name := range again[1] {
			if name == "open ." {
				own++
			}
		}
		if own > 1 {
			t.Errorf("%s: a repeat lists %d directories: %q", pattern, own, again[1])
		}
	}
}
