package provisioner

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// inNamespace makes the namespace "ns" the one with that UID: an earlier one was deleted.
func (w *world) inNamespace(uid string) { w.Seen.Namespaces["ns"] = uid }

// A namespace has the name of one that was deleted: its claims get nothing of what that one's
// claims left, unless the class says so, and hear nothing of it.
func TestANamespaceThatWasMadeAnewGetsNoArchiveOfTheEarlierOne(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	begin := func(t *testing.T) *world {
		w := newWorld(t)
		w.inNamespace("n-1")
		w.archived(t, "ns/data", "pvc-1")
		if r := w.Record(t, archive); r.Claim.NamespaceUID != "n-1" {
			t.Fatalf("the archive is that of %+v", r.Claim)
		}
		w.inNamespace("n-2")
		return w
	}
	for name, wish := range map[string]string{"by name": "pvc-1", "the latest": volume.RestoreLatest} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			before := w.Snapshot(t)
			for _, claim := range []string{"ns/data", "ns/other"} {
				_, _, err := w.Provision(t.Context(), asks(options(claim, "pvc-2", at("new")), wish))
				refused(t, err, refusal.ReasonArchive, true, "the namespace has no archive of", "an earlier namespace of this name", "onExisting: adopt")
				if strings.Contains(err.Error(), "claim data, since") {
					t.Errorf("it tells what the earlier namespace had: %v", err)
				}
			}
			w.Untouched(t, before)
			w.provision(t, asks(options("ns/data", "pvc-3", at("new", "onExisting", "adopt")), wish))
			w.Holds(t, "new", "new/file-of-pvc-1", "new = pvc-3 active")
			if r := w.Record(t, "new"); r.Claim.NamespaceUID != "n-2" {
				t.Errorf("the volume is that of %+v", r.Claim)
			}
		})
		t.Run(name+", in the namespace itself", func(t *testing.T) {
			w := begin(t)
			w.inNamespace("n-1")
			w.provision(t, asks(options("ns/data", "pvc-3", at("new")), wish))
			w.has(t, "new/file-of-pvc-1")
		})
		t.Run(name+", which cannot be known", func(t *testing.T) {
			w := begin(t)
			w.inNamespace("")
			_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("new")), wish))
			refused(t, err, refusal.ReasonArchive, true)
		})
	}
	t.Run("the latest or an empty one", func(t *testing.T) {
		w := begin(t)
		w.provision(t, asks(options("ns/data", "pvc-2", at("new")), volume.RestoreLatestOrEmpty))
		w.Holds(t, "new", "new = pvc-2 active", archive, archive+"/file-of-pvc-1", archive+" = pvc-1 archived")
	})
	t.Run("of several shares", func(t *testing.T) {
		w := begin(t)
		_, err := w.Steps.LookForArchive(t.Context(), w.Keeper, volume.Volume{Name: "pvc-2", Path: sharetest.PathOf(t, "new"),
			Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "u", NamespaceUID: "n-2"}}, steps.Wanted{Name: volume.RestoreLatest})
		refused(t, err, refusal.ReasonArchive, true)
	})
	t.Run("a record that does not say its namespace", func(t *testing.T) {
		w := newWorld(t)
		w.archived(t, "ns/data", "pvc-1")
		w.inNamespace("n-2")
		w.provision(t, asks(options("ns/data", "pvc-2", at("new")), volume.RestoreLatest))
		w.has(t, "new/file-of-pvc-1")
	})
}

func TestANamespaceThatWasMadeAnewGetsNoRetainedDirectoryOfTheEarlierOne(t *testing.T) {
	retained := func(t *testing.T, uid string) *world {
		w := newWorld(t)
		w.inNamespace(uid)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "retain")))
		w.Tree(t, "data/file")
		must(t, w.Delete(t.Context(), pv))
		w.inNamespace("n-2")
		return w
	}
	t.Run("of the earlier one", func(t *testing.T) {
		w := retained(t, "n-1")
		before := w.Snapshot(t)
		_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
		refused(t, err, refusal.ReasonTaken, false, "an earlier namespace of this name", "another path", "onExisting: adopt")
		_, _, err = w.Provision(t.Context(), options("ns/other", "pvc-3", at("data", "onExisting", "adopt")))
		refused(t, err, refusal.ReasonTaken, false, "an earlier namespace of this name")
		if strings.Contains(err.Error(), "ns/data") {
			t.Errorf("it tells what the earlier namespace had: %v", err)
		}
		_, _, err = w.Provision(t.Context(), options("ns/data", "pvc-2", at("data/inside")))
		refused(t, err, refusal.ReasonTaken, false)
		_, _, err = w.Provision(t.Context(), asks(options("ns/data", "pvc-2", at("data")), volume.RestoreLatestOrEmpty))
		refused(t, err, refusal.ReasonTaken, false)
		w.Untouched(t, before)
		w.provision(t, options("ns/data", "pvc-2", at("data", "onExisting", "adopt")))
		w.Holds(t, "data", "data/file", "data = pvc-2 active")
		if r := w.Record(t, "data"); r.Claim.NamespaceUID != "n-2" {
			t.Errorf("the volume is that of %+v", r.Claim)
		}
	})
	for name, uid := range map[string]string{"of the namespace itself": "n-2", "of a namespace that its record does not say": ""} {
		t.Run(name, func(t *testing.T) {
			w := retained(t, uid)
			w.provision(t, options("ns/data", "pvc-2", at("data")))
			w.Holds(t, "data", "data/file", "data = pvc-2 active")
		})
	}
	t.Run("of a namespace that cannot be known now", func(t *testing.T) {
		w := retained(t, "n-1")
		w.inNamespace("")
		_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
		refused(t, err, refusal.ReasonTaken, false)
	})
}

// What a claim of an earlier namespace had begun holds up nobody, and gives nobody what it was
// about to adopt.
func TestWhatAnEarlierNamespaceBeganIsBegunAnew(t *testing.T) {
	begin := func(t *testing.T) *world {
		w := newWorld(t)
		w.inNamespace("n-1")
		w.cutOffBefore(t, "create "+volpath.Own("pvc-1", sharetest.Cluster)+".json.new", func() {
			_, _, _ = w.Provision(t.Context(), options("ns/data", "pvc-1", at("data")))
		})
		w.Holds(t, "data", "data = pvc-1 creating")
		w.restart(t)
		w.inNamespace("n-2")
		return w
	}
	t.Run("an empty volume", func(t *testing.T) {
		w := begin(t)
		w.provision(t, options("ns/data", "pvc-2", at("data")))
		w.Holds(t, "data", "data = pvc-2 active")
	})
	adopting := func(t *testing.T) *world {
		w := newWorld(t)
		w.Tree(t, "data/precious")
		_, err := w.Store(t).Records.Take(sharetest.PathOf(t, "data"), ledger.Record{
			State: ledger.Creating, Adopted: true, PV: "pvc-1", Cluster: sharetest.Cluster, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-pvc-1", NamespaceUID: "n-1"}, Policy: "delete",
		}, false)
		must(t, err)
		w.inNamespace("n-2")
		return w
	}
	t.Run("a directory that was to be adopted", func(t *testing.T) {
		w := adopting(t)
		_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
		refused(t, err, refusal.ReasonTaken, false, "exists on the share and no record says whose it is")
		w.has(t, "data/precious")
		w.provision(t, options("ns/data", "pvc-3", at("data", "onExisting", "adopt")))
		w.Holds(t, "data", "data/precious", "data = pvc-3 active")
	})
	t.Run("a directory that was to be adopted, and a class that adopts", func(t *testing.T) {
		w := adopting(t)
		w.provision(t, options("ns/data", "pvc-3", at("data", "onExisting", "adopt")))
		w.Holds(t, "data", "data/precious", "data = pvc-3 active")
	})
}

// A volume that was handed over is of the new claim's namespace; nothing remains of the old one's.
func TestTheNamespaceFollowsTheOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		seen bool   // while the volume was bound
		want string // the UID of the namespace on record
	}{"when it is seen": {true, "n-new"}, "on release": {false, ""}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Seen.Namespaces["old"], w.Seen.Namespaces["new"] = "n-old", "n-new"
			pv := w.handedOver(t, "archive")
			v, err := volume.FromPV(sharetest.Source(), pv)
			must(t, err)
			if tt.seen {
				v.Claim, err = w.Steps.InNamespace(t.Context(), v.Claim)
				must(t, err)
				must(t, w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error {
					_, err := op.FollowOwner(ctx, v)
					return err
				}))
			}
			must(t, w.Delete(t.Context(), pv))
			if r := w.Record(t, "archived-new-mine-pvc-1"); !r.Claim.Is(newOwner) || r.Claim.NamespaceUID != tt.want {
				t.Errorf("the archive is that of %+v", r.Claim)
			}
		})
	}
}

// FollowOwner completes a record that does not say its namespace, and changes no other one.
func TestARecordGetsTheNamespaceOfItsClaim(t *testing.T) {
	for name, tt := range map[string]struct{ recorded, now, want string }{
		"none is on record":         {"", "n-1", "n-1"},
		"none is known":             {"", "", ""},
		"one is on record":          {"n-1", "n-1", "n-1"},
		"it cannot be known by now": {"n-1", "", "n-1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.inNamespace(tt.recorded)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
			v, err := volume.FromPV(sharetest.Source(), pv)
			must(t, err)
			v.Claim.NamespaceUID = tt.now
			must(t, w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error {
				changed, err := op.FollowOwner(ctx, v)
				if changed != (tt.want != tt.recorded) {
					t.Errorf("changed %v", changed)
				}
				return err
			}))
			if r := w.Record(t, "data"); r.Claim.NamespaceUID != tt.want {
				t.Errorf("the record says %+v", r.Claim)
			}
		})
	}
}

// The namespaces of another cluster have other UIDs: the class decides, as it does about clusters.
func TestNamespacesOfAnotherCluster(t *testing.T) {
	w := newWorld(t)
	lost := w.beside(t, "lost")
	lost.Seen.Namespaces["ns"] = "n-lost"
	lost.archived(t, "ns/data", "pvc-1")
	kept := lost.provision(t, options("ns/kept", "pvc-2", at("kept", "onDelete", "retain")))
	must(t, lost.Delete(t.Context(), kept))
	recovered := lost.provision(t, options("ns/used", "pvc-3", at("used")))
	w.inNamespace("n-1")

	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-11", at("data")), "pvc-1"))
	refused(t, err, refusal.ReasonArchive, true)
	_, _, err = w.Provision(t.Context(), options("ns/kept", "pvc-12", at("kept")))
	refused(t, err, refusal.ReasonTaken, false, "another namespace or cluster", "if that cluster is lost")
	w.provision(t, asks(options("ns/data", "pvc-11", at("data", "onExisting", "adopt")), "pvc-1"))
	w.provision(t, options("ns/kept", "pvc-12", at("kept", "onExisting", "adopt")))
	for _, path := range []string{"data", "kept"} {
		if r := w.Record(t, path); r.Claim.NamespaceUID != "n-1" {
			t.Errorf("%s is that of %+v", path, r.Claim)
		}
	}

	recovered.Annotations[volume.AnnotationRecoveredFrom] = "lost"
	recovered.Spec.ClaimRef.UID = "uid-here"
	w.Seen.PVs = append(w.Seen.PVs, recovered)
	w.Start(t.Context())
	if r := w.Record(t, "used"); r.Cluster != sharetest.Cluster || r.Claim.UID != "uid-here" || r.Claim.NamespaceUID != "" { // the sweep completes it
		t.Errorf("%+v", r)
	}
}

// Without the API server's answer nothing is made.
func TestAClaimWhoseNamespaceIsNotToldIsPostponed(t *testing.T) {
	w := newWorld(t)
	config := steps.Config{Cluster: sharetest.Cluster, Objects: w.Seen, Namespace: func(_ context.Context, c ledger.Claim) (string, error) {
		if c != (ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-pvc-1"}) {
			t.Errorf("asked about %+v", c)
		}
		return "", errors.New("no answer")
	}}
	before := w.Snapshot(t)
	p := New(steps.New(config), w.Seen, w.Keeper).Provisioners()[0]
	_, _, err := p.Provision(t.Context(), options("ns/data", "pvc-1", at("data")))
	refused(t, err, refusal.ReasonCluster, false, "look up the namespace of the claim: no answer", "nothing was changed")
	w.Untouched(t, before)
}

// An administrator who brings a PersistentVolume back gives it to the namespace that he names.
func TestAVolumeThatComesBackGetsItsArchiveInALaterNamespace(t *testing.T) {
	w := newWorld(t)
	w.inNamespace("n-1")
	pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
	w.Tree(t, "data/file")
	must(t, w.Delete(t.Context(), pv))
	w.inNamespace("n-2")
	pv.Spec.ClaimRef.UID = "uid-later"
	v, err := volume.FromPV(sharetest.Source(), pv)
	must(t, err)
	archive := w.Record(t, "archived-ns-data-pvc-1")
	must(t, w.onPathOf(t, "data", func(ctx context.Context, op steps.Op) error { return op.PutArchiveBack(ctx, v, archive) }))
	w.Holds(t, "data", "data/file", "data = pvc-1 active")
	if r := w.Record(t, "data"); r.Claim.UID != "uid-later" || r.Claim.NamespaceUID != "" { // the sweep completes it
		t.Errorf("%+v", r.Claim)
	}
}

// An event names a few archives of the namespace, and does not count what is not its.
func TestARefusalCountsNoArchivesOfOthers(t *testing.T) {
	w := newWorld(t)
	w.inNamespace("n-1")
	for _, pv := range []string{"pvc-1", "pvc-2", "pvc-3"} {
		w.archived(t, "ns/earlier", pv)
	}
	w.archived(t, "ns-beside/earlier", "pvc-4")
	w.inNamespace("n-2")
	_, _, err := w.Provision(t.Context(), asks(options("ns/data", "pvc-9", at("new")), "pvc-8"))
	refused(t, err, refusal.ReasonArchive, true, "nor any other, on this share")
	w.archived(t, "ns/own", "pvc-5")
	_, _, err = w.Provision(t.Context(), asks(options("ns/data", "pvc-9", at("new")), "pvc-8"))
	refused(t, err, refusal.ReasonArchive, true, "it has those of pvc-5 (claim own")
	if text := err.Error(); strings.Contains(text, "more") || strings.Contains(text, "others") || strings.Contains(text, "earlier,") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(w.Dir + "/new"); err == nil {
		t.Error("a directory was made")
	}
}
