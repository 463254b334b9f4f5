package provisioner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
)

func TestProvisionWritesDownWhatARecoveryNeeds(t *testing.T) {
	w := newWorld(t)
	o := options("ns/data", "pvc-1", at("${.PVC.namespace}/${.PVC.name}", "onDelete", "retain", "mode", "2770", "gid", fmt.Sprint(os.Getgid())))
	o.StorageClass.MountOptions = []string{"nfsvers=4.2"}
	w.provision(t, o)
	r := w.record(t, "ns/data")
	if r.PV != "pvc-1" || r.Claim.Namespace != "ns" || r.Claim.Name != "data" || r.Claim.UID != "uid-pvc-1" || r.Cluster != cluster || r.Class != "nfs" ||
		r.Policy != "retain" || r.Size != "1Gi" || r.AccessModes[0] != "ReadWriteMany" || r.MountOptions[0] != "nfsvers=4.2" || r.Mode != "02770" ||
		r.UID != nil || r.GID == nil || r.Created.IsZero() || r.Adopted {
		t.Errorf("%+v", r)
	}
	if mode := w.modeOf(t, "ns/data"); mode != fs.ModeDir|fs.ModeSetgid|0o770 {
		t.Errorf("mode %v", mode)
	}
}

func TestAttributesThatTheServerRefusesLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "team/")
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Create" {
			return fmt.Errorf("create team/data: set owner 1000:: %w", syscall.EPERM)
		}
		return do()
	}
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data", "uid", "1000")))
	refused(t, err, refusal.ReasonStorage, false, "set owner 1000", "operation not permitted")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the cause is lost: %v", err)
	}
	w.holds(t, "team")
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
		"an absolute path":        {at("${.PVC.annotations.abs}/x"), refusal.ReasonPath, "absolute"},
		"the records":             {at("${.PVC.annotations.records}"), refusal.ReasonPath, "reserved name"},
		"a path too deep":         {at("${.PVC.annotations.deep}"), refusal.ReasonPath, "65 elements; at most 64 are allowed"},
		"an export path too long": {at("${.PVC.annotations.long}"), refusal.ReasonPath, "exported path of"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.snapshot(t)
			o := options("ns/data", "pvc-1", tt.class)
			o.PVC.Annotations = params("path", "../..", "abs", "/etc", "records", ".claimdir/volumes", "deep", strings.Repeat("e/", volpath.MaxLevels)+"e", "long", strings.Repeat(strings.Repeat("e", 63)+"/", 63)+strings.Repeat("e", 63))
			_, _, err := w.Provision(t.Context(), o)
			refused(t, err, tt.reason, true, tt.says)
			w.untouched(t, before)
		})
	}
}

func TestADirectoryThatExistsIsRefused(t *testing.T) {
	for name, content := range map[string]string{"with content": "team/data/file", "empty": "team/data/"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tree(t, content)
			before := w.snapshot(t)
			for range 2 {
				_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("team/data")))
				refused(t, err, refusal.ReasonTaken, false, `path "team/data" exists`, "onExisting: adopt")
			}
			w.untouched(t, before)
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
					must(t, place(w.dir+"/it", outside))
					before := w.snapshot(t)
					_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at(path, "onExisting", existing)))
					refused(t, err, refusal.ReasonStorage, false, "symbolic links are not followed")
					w.untouched(t, before)
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
	w.tree(t, "team/data/file", "team/other/file")
	must(t, os.Chmod(w.dir+"/team/data", 0o711))
	before := w.snapshot(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt", "mode", "0777")))
	if r := w.record(t, "team/data"); !r.Adopted || pv.Spec.NFS.Path != "/export/team/data" {
		t.Errorf("%+v, %+v", r, pv)
	}
	must(t, w.ledger.Forget(pathOf(t, "team/data")))
	w.untouched(t, before)
}

func TestAdoptMakesADirectoryThatIsAbsent(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/data", "pvc-1", at("team/data", "onExisting", "adopt", "mode", "0750")))
	if r := w.record(t, "team/data"); r.Adopted || w.modeOf(t, "team/data").Perm() != 0o750 {
		t.Errorf("%+v, mode %v", r, w.modeOf(t, "team/data"))
	}
}

func TestVolumesDoNotNest(t *testing.T) {
	for name, tt := range map[string]struct{ path, says string }{
		"inside":       {"team/data/inside", "one inside the other"},
		"deep inside":  {"team/data/in/si/de", "one inside the other"},
		"above":        {"team", "one inside the other"},
		"the same one": {"team/data", "belongs to the volume pvc-1 of claim ns/data (active)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provision(t, options("ns/data", "pvc-1", at("team/data")))
			w.tree(t, "team/data/inside/file")
			before := w.snapshot(t)
			_, _, err := w.Provision(t.Context(), options("ns/new", "pvc-2", at(tt.path, "onExisting", "adopt")))
			refused(t, err, refusal.ReasonTaken, false, tt.says)
			w.untouched(t, before)
		})
	}
}

// Both directories were there before. Whoever comes second must see the other,
// also where the second comes while the first is still looking.
func TestAdoptionsBesideEachOtherDoNotNest(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "team/data/file")
	other := newWorld(t)
	other.dir = w.dir
	other.restart(t)
	done := false
	w.dirs.step = func(_ string, do func() error, _ func()) error {
		err := do()
		if records := w.records(t); len(records) == 1 && !done { // ours is written, and not yet complete
			done = true
			_, _, inner := other.Provision(t.Context(), options("ns/inner", "pvc-2", at("team/data", "onExisting", "adopt")))
			refused(t, inner, refusal.ReasonTaken, false, "one inside the other")
		}
		return err
	}
	w.provision(t, options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
	if !done {
		t.Error("the other one never came")
	}
	w.holds(t, "team", "team/data", "team/data/file", "team = pvc-1 active")
}

func TestAnAdoptionThatWasOvertakenGivesUp(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "team/data/file")
	other := newWorld(t)
	other.dir = w.dir
	other.restart(t)
	calls := 0
	w.dirs.step = func(_ string, do func() error, _ func()) error {
		err := do()
		if calls++; calls == 1 { // before our record is written
			other.provision(t, options("ns/inner", "pvc-2", at("team/data", "onExisting", "adopt")))
		}
		return err
	}
	_, _, err := w.Provision(t.Context(), options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.holds(t, "team", "team/data", "team/data/file", "team/data = pvc-2 active")
}

func TestADirectoryThatAppearsMeanwhileIsNotTaken(t *testing.T) {
	w := newWorld(t)
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "Create" {
			w.tree(t, "data/file")
		}
		return do()
	}
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("data")))
	refused(t, err, refusal.ReasonTaken, false, "exists", "onExisting: adopt")
	w.holds(t, "data", "data/file")
}

func TestAVolumeAboveThatAppearsMeanwhileIsRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	other.dir = w.dir
	other.restart(t)
	w.dirs.step = func(method string, do func() error, _ func()) error {
		if method == "FinishedParents" {
			other.provision(t, options("ns/outer", "pvc-2", at("team")))
		}
		return do()
	}
	_, _, err := w.Provision(t.Context(), options("ns/inner", "pvc-1", at("team/data")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.holds(t, "team", "team = pvc-2 active")
}

func TestARetainedVolumeGoesToItsNameOnly(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("shared", "onDelete", "retain")))
	w.tree(t, "shared/file")
	must(t, w.Delete(t.Context(), pv))
	for _, claim := range []string{"other/data", "ns/other"} {
		_, _, err := w.Provision(t.Context(), options(claim, "pvc-2", at("shared", "onExisting", "adopt")))
		refused(t, err, refusal.ReasonTaken, false, "retained")
	}
	w.provision(t, options("ns/data", "pvc-3", at("shared")))
	w.holds(t, "shared", "shared/file", "shared = pvc-3 active")
}

func TestADamagedRecordStopsEverythingOnItsPath(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.tree(t, "data/file")
	must(t, os.WriteFile(w.dir+"/.claimdir/volumes/data.json", []byte("{"), 0o600))
	before := w.snapshot(t)
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonRecord, false, "damaged record of data")
	refused(t, provisionError(t, w, "ns/data", "pvc-1"), refusal.ReasonRecord, false, "damaged record of data")
	w.untouched(t, before)
}

func TestAShareThatIsGoneTouchesNothing(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	must(t, os.Rename(w.dir, w.dir+".away"))
	must(t, os.Mkdir(w.dir, 0o755)) // the empty directory below a mount that is gone
	for range 2 {
		refused(t, w.Delete(t.Context(), pv), refusal.ReasonStorage, false, "the share")
		refused(t, provisionError(t, w, "ns/new", "pvc-2"), refusal.ReasonStorage, false, "the share")
		if entries, err := os.ReadDir(w.dir); err == nil && len(entries) > 0 {
			t.Errorf("made on what is not the share: %v", entries)
		}
		_ = os.Remove(w.dir)
	}
	must(t, os.Rename(w.dir+".away", w.dir))
	w.holds(t, "data", "data = pvc-1 active")
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
	w.holds(t, want...)
}

func TestTwoClaimsForOnePath(t *testing.T) {
	for range times(20, 3) {
		w := newWorld(t)
		other := newWorld(t) // another process
		other.dir = w.dir
		other.restart(t)
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
		w.holds(t, "data", fmt.Sprint("data = pvc-", winner, " active"))
	}
}

// What a kill leaves between writing the record of an adoption and looking for
// others, while another volume came to lie below it.
func TestAnAdoptionThatWasCutOffLooksAgain(t *testing.T) {
	w := newWorld(t)
	w.provision(t, options("ns/inner", "pvc-2", at("team/data")))
	_, err := w.ledger.Claim(pathOf(t, "team"), ledger.Record{
		State: ledger.Creating, Adopted: true, PV: "pvc-1", Cluster: cluster, Claim: ledger.Claim{Namespace: "ns", Name: "outer"},
	}, false)
	must(t, err)
	_, _, err = w.Provision(t.Context(), options("ns/outer", "pvc-1", at("team", "onExisting", "adopt")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.holds(t, "team", "team/data", "team/data = pvc-2 active")
}

func TestAnAdoptionBelowAVolumeThatAppearsMeanwhileGivesUp(t *testing.T) {
	w := newWorld(t)
	w.tree(t, "team/data/file")
	done := false
	w.dirs.step = func(_ string, do func() error, _ func()) error {
		if len(w.records(t)) == 1 && !done {
			done = true
			_, err := w.ledger.Claim(pathOf(t, "team"), ledger.Record{State: ledger.Creating, PV: "pvc-2", Cluster: cluster}, false)
			must(t, err)
		}
		return do()
	}
	_, _, err := w.Provision(t.Context(), options("ns/inner", "pvc-1", at("team/data", "onExisting", "adopt")))
	refused(t, err, refusal.ReasonTaken, false, "one inside the other")
	w.holds(t, "team", "team/data", "team/data/file", "team = pvc-2 creating")
}

// noListing is a ledger in which nothing may list the records: a share may have
// 100,000 of them.
type noListing struct {
	Records

	t *testing.T
}

func (n noListing) CheckBelow(path volpath.Path, _ ledger.Record) error {
	n.t.Errorf("the records were listed for %s", path)
	return nil
}

func TestANewVolumeCostsNoListingOfTheRecords(t *testing.T) {
	w := newWorld(t)
	w.use(Files{w.dirs, noListing{w.ledger, t}})
	for _, pattern := range []string{"${.PVC.name}", "${.PVC.namespace}/deep/er/${.PVC.name}"} {
		w.provision(t, options("ns/data", "pvc-1", at(pattern)))
		w.provision(t, options("ns/data", "pvc-1", at(pattern))) // a repeat
	}
}
