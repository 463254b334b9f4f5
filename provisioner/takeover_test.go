package provisioner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volume"
)

// peerVolume is what nfs-subdir-external-provisioner saves, and the directory
// that it made.
func (w *world) peerVolume(t *testing.T, claim, pv, path string) *v1.PersistentVolume {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(w.Dir, path), 0o777))
	must(t, os.WriteFile(filepath.Join(w.Dir, path, "file"), []byte(pv), 0o640))
	namespace, name, _ := strings.Cut(claim, "/")
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: pv, CreationTimestamp: metav1.NewTime(time.Date(2021, 3, 27, 0, 0, 0, 0, time.UTC)),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "cluster.local/nfs-subdir-external-provisioner"},
		},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Capacity:                      v1.ResourceList{v1.ResourceStorage: resource.MustParse("5Gi")},
			ClaimRef:                      &v1.ObjectReference{Namespace: namespace, Name: name, UID: "uid-of-claim"},
			MountOptions:                  []string{"hard"},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			StorageClassName:              "nfs-client",
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nfs.example.com", Path: "/export/" + path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	w.Seen.PVs = append(w.Seen.PVs, volume)
	return volume
}

func TestReleaseOfAPeersVolumeFollowsItsClass(t *testing.T) {
	class := func(params ...string) *storage.StorageClass {
		m := map[string]string{}
		for i := 0; i < len(params); i += 2 {
			m[params[i]] = params[i+1]
		}
		return &storage.StorageClass{Parameters: m}
	}
	const kept, archived = "ns-data-pvc-1", "archived-ns-data-pvc-1"
	for name, tt := range map[string]struct {
		class *storage.StorageClass
		left  string // the directory that is left, if any
	}{
		"no class any more":            {nil, archived},
		"a class that says nothing":    {class(), archived},
		"archiveOnDelete false":        {class("archiveOnDelete", "false"), ""},
		"archiveOnDelete true":         {class("archiveOnDelete", "true"), archived},
		"onDelete delete":              {class("onDelete", "delete", "archiveOnDelete", "true"), ""},
		"onDelete retain":              {class("onDelete", "retain", "archiveOnDelete", "false"), kept},
		"onDelete in capitals":         {class("onDelete", "Delete"), archived}, // the peer does not know it
		"onDelete archive":             {class("onDelete", "archive", "archiveOnDelete", "false"), archived},
		"parameters that are no use":   {class("pathPattern", "${.PVC.namespace}", "bogus", "x"), archived},
		"onDelete unknown, then false": {class("onDelete", "Retain", "archiveOnDelete", "false"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.class != nil {
				w.Seen.Classes["nfs-client"] = tt.class
			}
			pv := w.peerVolume(t, "ns/data", "pvc-1", kept)
			w.Start(t.Context())
			must(t, w.Delete(t.Context(), pv))
			must(t, w.Delete(t.Context(), pv)) // the library may ask twice
			var want []string
			if tt.left != "" {
				want = []string{tt.left, tt.left + "/file", tt.left + " = pvc-1 " + stateOf(tt.left)}
			}
			w.Holds(t, want...)
		})
	}
}

// A PersistentVolume that says it is ours does not prove that its directory is: objects
// of another cluster may have been restored here.
func TestADirectoryThatNoRecordNamesIsNeverDeleted(t *testing.T) {
	const path = "photos"
	for name, tt := range map[string]struct {
		decision string // annotation on the PersistentVolume
		class    string // its onDelete
		want     []string
		says     string // empty: it is let go
	}{
		"class delete":                     {"", "delete", []string{path, path + "/file"}, "claimdir/on-delete=retain keeps the directory"},
		"class archive":                    {"", "archive", []string{path, path + "/file"}, "claimdir/on-delete=archive"},
		"no class":                         {"", "", []string{path, path + "/file"}, "no record on the share says that directory \"photos\" is this volume's"},
		"an administrator decides delete":  {"delete", "delete", []string{path, path + "/file"}, "kubectl annotate --overwrite pv pvc-k"},
		"an administrator decides shred":   {"shred", "delete", []string{path, path + "/file"}, `annotation claimdir/on-delete: "shred" is not allowed`},
		"an administrator decides retain":  {"retain", "delete", []string{path, path + "/file"}, ""},
		"an administrator decides archive": {"archive", "delete", []string{"archived-x-gone-pvc-k", "archived-x-gone-pvc-k/file", "archived-x-gone-pvc-k = pvc-k archived"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provision(t, options("ns/data", "pvc-1", at("data"))) // the share has records
			if tt.class != "" {
				w.Seen.Classes["nfs-client"] = &storage.StorageClass{Parameters: map[string]string{"onDelete": tt.class}}
			}
			pv := w.peerVolume(t, "x/gone", "pvc-k", path)
			pv.Status.Phase = v1.VolumeReleased
			if tt.decision != "" {
				pv.Annotations[volume.AnnotationOnDelete] = tt.decision
			}
			w.Start(t.Context())
			for range 2 {
				err := w.Delete(t.Context(), pv)
				if tt.says == "" {
					must(t, err)
					continue
				}
				if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "nothing was changed") {
					t.Errorf("it says %v, want %q", err, tt.says)
				}
			}
			w.Holds(t, append(tt.want, "data", "data = pvc-1 active")...)
		})
	}
}

// A peer's volume is taken over while it is bound. On a share that claimdir is new to, the
// released ones are the peer's too.
func TestWhichVolumesOfAPeerAreTakenOver(t *testing.T) {
	for name, tt := range map[string]struct {
		phase   v1.PersistentVolumePhase
		records bool
		want    bool
	}{
		"bound, new share":    {v1.VolumeBound, false, true},
		"bound":               {v1.VolumeBound, true, true},
		"released, new share": {v1.VolumeReleased, false, true},
		"released":            {v1.VolumeReleased, true, false},
		"available":           {v1.VolumeAvailable, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.records {
				w.beside(t, "cluster-2").provision(t, options("ns/data", "pvc-1", at("data"))) // of whatever cluster
			}
			w.peerVolume(t, "x/y", "pvc-k", "photos").Status.Phase = tt.phase
			w.peerVolume(t, "x/z", "pvc-l", "others")
			w.Start(t.Context())
			got := w.Records(t)
			if slices.Contains(got, "photos = pvc-k active") != tt.want || !slices.Contains(got, "others = pvc-l active") {
				t.Errorf("it has records of %v", got)
			}
		})
	}
}

// besideRecords is a snapshot without what claimdir keeps for itself.
func (w *world) besideRecords(t *testing.T) string {
	t.Helper()
	return strings.Join(slices.DeleteFunc(strings.Split(w.Snapshot(t), "\n"), func(line string) bool {
		return strings.HasPrefix(line, w.Dir+"/.claimdir")
	}), "\n")
}

func unchanged(t *testing.T, w *world, before string) {
	t.Helper()
	if after := w.besideRecords(t); after != before {
		t.Errorf("touched:\nbefore\n%s\nafter\n%s", before, after)
	}
}

// stateOf is the state that the record of a released directory has.
func stateOf(path string) string {
	if strings.HasPrefix(path, "archived-") {
		return "archived"
	}
	return "retained"
}

func TestAPeersClassWithAMistakeStopsTheRelease(t *testing.T) {
	w := newWorld(t)
	w.Seen.Classes["nfs-client"] = &storage.StorageClass{Parameters: map[string]string{"archiveOnDelete": "perhaps"}}
	pv := w.peerVolume(t, "ns/data", "pvc-1", "data")
	before := w.besideRecords(t)
	w.Start(t.Context())
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonClass, true, "StorageClass nfs-client", `"perhaps" is not allowed`, "nothing was changed")
	unchanged(t, w, before)
}

func TestStartWritesTheRecordsOfPeersAndTouchesNothing(t *testing.T) {
	w := newWorld(t)
	w.peerVolume(t, "ns/data", "pvc-1", "ns-data-pvc-1")
	w.peerVolume(t, "team/db", "pvc-2", "team/db") // by a pattern
	w.peerVolume(t, "archived-x/a", "pvc-3", "archived-x-a-pvc-3")
	w.peerVolume(t, "team/twice", "pvc-4", "team/db")       // the peer gave it the same directory
	w.peerVolume(t, "team/inside", "pvc-5", "team/db/deep") // and this one a part of it
	gone := w.peerVolume(t, "ns/gone", "pvc-6", "gone")
	must(t, os.RemoveAll(filepath.Join(w.Dir, "gone")))
	elsewhere := w.peerVolume(t, "ns/else", "pvc-7", "else")
	elsewhere.Spec.NFS.Server = "other"
	before := w.besideRecords(t)

	w.Start(t.Context())
	unchanged(t, w, before)
	if got := w.Records(t); !slices.Equal(got, []string{"archived-x-a-pvc-3 = pvc-3 active", "ns-data-pvc-1 = pvc-1 active"}) {
		t.Errorf("records of %v", got)
	}
	r := w.Record(t, "ns-data-pvc-1")
	if r.State != ledger.Active || r.PV != "pvc-1" || r.Cluster != sharetest.Cluster || r.Class != "nfs-client" || r.Policy != "" || r.ReclaimPolicy != "Delete" ||
		!r.Adopted || r.Size != "5Gi" || !slices.Equal(r.AccessModes, []string{"ReadWriteMany"}) || !slices.Equal(r.MountOptions, []string{"hard"}) ||
		r.Claim != (ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-of-claim"}) || r.Created.Year() != 2021 {
		t.Errorf("%+v", r)
	}
	w.Start(t.Context()) // again, after the next start
	unchanged(t, w, before)

	must(t, w.Delete(t.Context(), gone))
	for _, pv := range w.Seen.PVs[1:] {
		if pv.Name == "pvc-2" || pv.Name == "pvc-4" || pv.Name == "pvc-5" {
			refused(t, w.Delete(t.Context(), pv), refusal.ReasonTaken, false, "nothing was changed")
		}
	}
	refused(t, w.Delete(t.Context(), elsewhere), refusal.ReasonVolume, true, `"other"`)
	unchanged(t, w, before)
}

func TestAClaimGetsNoPathOfAnotherProgramsVolume(t *testing.T) {
	for name, path := range map[string]string{"the same": "team/db", "above": "team", "below": "team/db/deep"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.peerVolume(t, "team/db", "pvc-1", "team/db")
			before := w.Snapshot(t)
			adopting := at(path, "onExisting", "adopt")
			_, _, err := w.Provision(t.Context(), options("team/new", "pvc-2", adopting))
			refused(t, err, refusal.ReasonTaken, false, `path "team/db" of PersistentVolume pvc-1`, "nothing was changed")
			w.Untouched(t, before)
			// Who may not know the other claim is not told of it.
			_, _, err = w.Provision(t.Context(), options("ns/new", "pvc-2", adopting))
			refused(t, err, refusal.ReasonTaken, false, "is the directory of another PersistentVolume, or lies above or below one", "nothing was changed")
			if own := fmt.Sprintf("%q", path); strings.Contains(err.Error(), "pvc-1") || strings.Contains(strings.ReplaceAll(err.Error(), own, ""), "team") {
				t.Errorf("it tells of the other: %v", err)
			}
			w.Untouched(t, before)
		})
	}
}

// Administrators have volumes of the whole share, to look at it.
func TestAVolumeOfTheWholeShareIsInNobodysWay(t *testing.T) {
	w := newWorld(t)
	whole := w.peerVolume(t, "admin/share", "whole", ".")
	must(t, os.Remove(filepath.Join(w.Dir, "file")))
	whole.Spec.NFS.Path = "/export"
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t)
}

func TestReleaseSparesAVolumeOfSomebodyElseInside(t *testing.T) {
	for _, policy := range []string{"delete", "archive"} {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
		w.peerVolume(t, "team/db", "by-hand", "data/db")
		before := w.Snapshot(t)
		refused(t, w.Delete(t.Context(), pv), refusal.ReasonTaken, false, "PersistentVolume by-hand", "nothing was changed", "Retain")
		w.Untouched(t, before)
		w.Seen.PVs = nil
		must(t, w.Delete(t.Context(), pv))
	}
}

func TestAVolumeThatLostItsAnnotationsGoesAsItsRecordSays(t *testing.T) {
	w := newWorld(t)
	w.Seen.Classes["nfs"] = &storage.StorageClass{Parameters: map[string]string{"onDelete": "delete"}}
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "archive", "archiveRetention", "720h")))
	pv.Annotations, pv.Spec.ClaimRef = nil, &v1.ObjectReference{Namespace: "ns", Name: "data"}
	must(t, w.Delete(t.Context(), pv))
	w.Holds(t, "archived-ns-data-pvc-1", "archived-ns-data-pvc-1 = pvc-1 archived")
	if r := w.Record(t, "archived-ns-data-pvc-1"); r.Until == nil || r.Until.Sub(*r.Released) != 720*time.Hour {
		t.Errorf("released %v, until %v", r.Released, r.Until)
	}
}

func recoveredFrom(pv *v1.PersistentVolume, lost string) *v1.PersistentVolume {
	pv = pv.DeepCopy()
	pv.Annotations[volume.AnnotationRecoveredFrom] = lost
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-of-the-new-claim"}
	return pv
}

func TestARecoveredVolumeBelongsToTheNewCluster(t *testing.T) {
	for _, start := range []bool{false, true} {
		for policy, left := range map[string]string{"archive": "archived-ns-data-pvc-1", "retain": "data", "delete": ""} {
			t.Run(policy, func(t *testing.T) {
				w := newWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w = w.beside(t, "cluster-2")
				refused(t, w.Delete(t.Context(), pv), refusal.ReasonRecord, true, "belongs to volume pvc-1")
				refused(t, w.Delete(t.Context(), recoveredFrom(pv, "cluster-3")), refusal.ReasonRecord, true, "belongs to volume pvc-1")
				pv = recoveredFrom(pv, sharetest.Cluster)
				if start {
					w.Seen.PVs = append(w.Seen.PVs, pv)
					w.Start(t.Context())
					if r := w.Record(t, "data"); r.Cluster != "cluster-2" || r.Claim.UID != "uid-of-the-new-claim" || r.State != ledger.Active {
						t.Errorf("%+v", r)
					}
				}
				must(t, w.Delete(t.Context(), pv))
				must(t, w.Delete(t.Context(), pv))
				if left == "" {
					w.Holds(t)
					return
				}
				w.Holds(t, left, left+" = pvc-1 "+stateOf(left))
				if r := w.Record(t, left); r.Cluster != "cluster-2" || r.Released == nil {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestAClaimTakesUpWhatARebuiltClusterLeft(t *testing.T) {
	w := newWorld(t)
	class := at("data", "onDelete", "retain")
	must(t, w.Delete(t.Context(), w.provision(t, options("ns/data", "pvc-1", class))))
	w = w.beside(t, "cluster-2")
	_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-2", class))
	refused(t, err, refusal.ReasonTaken, false, "belongs to the volume pvc-1 of another namespace or cluster", "onExisting: adopt")
	class["onExisting"] = "adopt"
	_, _, err = w.Provision(t.Context(), options("other/data", "pvc-2", class))
	refused(t, err, refusal.ReasonTaken, false, "pvc-1")
	w.provision(t, options("ns/data", "pvc-2", class))
	if r := w.Record(t, "data"); r.State != ledger.Active || r.PV != "pvc-2" || r.Cluster != "cluster-2" {
		t.Errorf("%+v", r)
	}
}

func TestATakeoverListsNoRecords(t *testing.T) {
	var calls [][]string
	for _, w := range []*world{newWorld(t), crowded(t)} {
		w.peerVolume(t, "ns/data", "pvc-1", "data")
		calls = append(calls, w.calls(func() { w.Start(t.Context()) }))
		w.Record(t, "data")
	}
	if !slices.Equal(calls[0], calls[1]) {
		t.Errorf("alone\n%q\nbeside many\n%q", calls[0], calls[1])
	}
}

// Another cluster kept something inside what the peer made.
func TestReleaseOfAPeersVolumeSparesARecordBelow(t *testing.T) {
	w := newWorld(t)
	must(t, w.Delete(t.Context(), w.provision(t, options("other/kept", "pvc-2", at("data/kept", "onDelete", "retain")))))
	pv := w.peerVolume(t, "ns/data", "pvc-1", "data")
	w.Start(t.Context())
	before := w.Snapshot(t)
	refused(t, w.Delete(t.Context(), pv), refusal.ReasonTaken, false, "volume pvc-2")
	w.Untouched(t, before)
}
