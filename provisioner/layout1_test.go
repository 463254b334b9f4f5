package provisioner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volume"
)

// olderShare is a share that a claimdir of layout 1 left, with the PersistentVolumes of its
// active volumes.
func olderShare(t *testing.T, name string) *world {
	t.Helper()
	dir := t.TempDir()
	must(t, sharetest.Write(os.DirFS("ledger/testdata/layout1"), name, dir))
	w := worldOn(sharetest.NewWorldIn(t, dir))
	for r, err := range w.Store(t).Records.Records() {
		must(t, err)
		if r.State == ledger.Active && r.Cluster == sharetest.Cluster {
			w.Seen.PVs = append(w.Seen.PVs, pvOf(t, r))
		}
	}
	return w
}

// pvOf is the PersistentVolume of a record, as the library saved it.
func pvOf(t *testing.T, r ledger.Record) *v1.PersistentVolume {
	t.Helper()
	v, err := volume.FromRecord(r)
	must(t, err)
	pv, err := v.PV(sharetest.Source())
	must(t, err)
	pv.Spec.StorageClassName = r.Class
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: r.Claim.Namespace, Name: r.Claim.Name}
	return pv
}

// claimOf is a claim of the name that a record has, for the volume pv.
func claimOf(r ledger.Record, pv string) controller.ProvisionOptions {
	class := params("pathPattern", "${.PVC.annotations.path}")
	if r.Adopted {
		class["onExisting"] = "adopt"
	}
	o := options(r.Claim.Namespace+"/"+r.Claim.Name, pv, class)
	o.PVC.Annotations = params("path", r.Path)
	if r.RestoredFrom != "" {
		o.PVC.Annotations[volume.AnnotationRestore] = strings.TrimPrefix(r.RestoredFrom, "archived-"+r.Claim.Namespace+"-"+r.Claim.Name+"-")
	}
	return o
}

// files are the contents of all files of tenants, wherever they are.
func (w *world) files(t *testing.T) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(w.Dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".json") {
			return err
		}
		data, err := os.ReadFile(name)
		all = append(all, string(data))
		return err
	}))
	slices.Sort(all)
	return all
}

// What an older claimdir left, whole or cut off anywhere, goes on: the first start converts
// it, and each volume is completed, taken up or released as if this one had made it. No
// file gets lost.
func TestSharesOfLayout1GoOn(t *testing.T) {
	names, err := sharetest.Names(os.DirFS("ledger/testdata/layout1"))
	must(t, err)
	if len(names) < 40 {
		t.Fatalf("only %d shares", len(names))
	}
	for _, name := range names {
		for start, when := range map[string]bool{"converted": true, "as it is": false} { // the start converts while claims come
			t.Run(name+" "+start, func(t *testing.T) {
				w := olderShare(t, name)
				files, records := w.files(t), w.Records(t)
				if when {
					w.Start(t.Context())
					w.isConverted(t)
					if got := w.Records(t); !slices.Equal(got, records) {
						t.Errorf("converted, the records are %q, were %q", got, records)
					}
				}
				for _, r := range w.all(t) {
					w.goesOn(t, r)
				}
				w.Start(t.Context())
				w.isConverted(t)
				w.sweep(t)
				for _, r := range w.all(t) {
					if r.State == ledger.Creating || r.Cluster == sharetest.Cluster && r.State == ledger.Active {
						t.Errorf("%s is %s", r.Path, r.State)
					}
				}
				if got := w.files(t); !slices.Equal(got, files) {
					t.Errorf("files\n%q\nwere\n%q", got, files)
				}
				if moving, err := filepath.Glob(w.Dir + "/.claimdir/moving/*"); err != nil || len(moving) > 0 {
					t.Errorf("left in moving: %q, %v", moving, err)
				}
			})
		}
	}
}

func (w *world) all(t *testing.T) (all []ledger.Record) {
	t.Helper()
	for r, err := range w.Store(t).Records.Records() {
		must(t, err)
		all = append(all, r)
	}
	return all
}

// isConverted fails the test if anything of layout 1 is left. What an older claimdir was
// writing within the last hour, and the empty directories with it, is for a later start.
func (w *world) isConverted(t *testing.T) {
	t.Helper()
	patterns := []string{"volumes/*", "parents/*"}
	if writing, err := filepath.Glob(w.Dir + "/.claimdir/tmp-*/*"); err != nil || len(writing) == 0 {
		patterns = []string{"volumes", "parents", "tmp-*"}
	}
	for _, old := range patterns {
		if found, err := filepath.Glob(w.Dir + "/.claimdir/" + old); err != nil || len(found) > 0 {
			t.Errorf("not converted: %q, %v", found, err)
		}
	}
}

// goesOn does with a record of the share what comes next, to its end: an archive stays, a
// retained directory is taken up, a volume that is being made is completed, and a volume is
// released.
func (w *world) goesOn(t *testing.T, r ledger.Record) {
	t.Helper()
	if r.Cluster != sharetest.Cluster {
		if r.State == ledger.Active || r.State == ledger.Retained {
			_, _, err := w.Provision(t.Context(), claimOf(ledger.Record{Path: r.Path, Claim: ledger.Claim{Namespace: "new", Name: "claim"}}, "pvc-new"))
			refused(t, err, refusal.ReasonTaken, false, r.PV)
		}
		return
	}
	pv := r.PV
	switch r.State {
	case ledger.Archived:
		return
	case ledger.Retained:
		pv = "pvc-again"
		w.provision(t, claimOf(r, pv))
	case ledger.Creating:
		w.provision(t, claimOf(r, pv))
	case ledger.Active:
	}
	now := w.Record(t, r.Path)
	if now.State != ledger.Active || now.PV != pv {
		t.Fatalf("%s is %s of %s", r.Path, now.State, now.PV)
	}
	released := pvOf(t, now)
	if now.Policy == "" {
		released.Spec.ClaimRef.UID = "uid-of-claim"
	}
	must(t, w.Delete(t.Context(), released))
	must(t, w.Delete(t.Context(), released))
}
