package volume

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.Parse(s)
	must(t, err)
	return p
}

// refused fails the test unless err is a refusal for good, of that reason, that
// says words.
func refused(t *testing.T, err error, reason string, words ...string) {
	t.Helper()
	r, ok := errors.AsType[*refusal.Refusal](err)
	if !ok || r.Reason() != reason || !r.Final() {
		t.Fatalf("error %v, want a refusal for good: %s", err, reason)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// described are a claim and its class.
func described() (*v1.PersistentVolumeClaim, *storagev1.StorageClass) {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: types.UID("uid-1"), Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}}
}

// plain is the volume of the claim without anything that the class may add.
func plain(t *testing.T) Volume {
	t.Helper()
	claim, sc := described()
	v := FromClaim("pvc-1", claim, sc, class.Class{OnDelete: class.Delete, Mode: class.DefaultMode}, pathOf(t, "team/data"))
	v.Cluster = "cluster-1"
	return v
}

// full is a volume all of whose fields are set that a claim and its class can set.
func full(t *testing.T) Volume {
	t.Helper()
	claim, sc := described()
	filesystem, retain, uid, gid := v1.PersistentVolumeFilesystem, v1.PersistentVolumeReclaimRetain, uint32(1000), uint32(0)
	claim.Spec.VolumeMode, claim.Annotations[AnnotationRestore] = &filesystem, RestoreLatest
	claim.Spec.AccessModes = append(claim.Spec.AccessModes, v1.ReadOnlyMany)
	sc.MountOptions, sc.ReclaimPolicy = []string{"nfsvers=4.2", "hard"}, &retain
	c := class.Class{OnDelete: class.Archive, ArchiveRetention: 720 * time.Hour, Mode: 0o2770, UID: &uid, GID: &gid}
	v := FromClaim("pvc-1", claim, sc, c, pathOf(t, "team/data"))
	v.Cluster = "cluster-1"
	return v
}

// peers is a volume as its PersistentVolume describes it.
func peers(t *testing.T, source share.Source) Volume {
	t.Helper()
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", CreationTimestamp: metav1.Unix(1_700_000_000, 0)},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Capacity:                      v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			StorageClassName:              "nfs-client",
			MountOptions:                  []string{"hard"},
			ClaimRef:                      &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-1"},
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/archived-ns-data-pvc-1"}},
		},
	}
	v, err := FromPV(source, pv)
	must(t, err)
	if !v.Peer || !v.Adopted || v.Policy != "" || v.Path.String() != "archived-ns-data-pvc-1" || v.Claim != (ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-1"}) ||
		v.Class != "nfs-client" || v.Created.Unix() != 1_700_000_000 {
		t.Fatalf("read %+v of a peer's", v)
	}
	return v
}

// same fails the test unless the volumes are equal but for what change makes of want.
func same(t *testing.T, got, want Volume, change func(*Volume)) {
	t.Helper()
	change(&want)
	if got.Size.Cmp(want.Size) != 0 || got.Size.String() != want.Size.String() {
		t.Errorf("size %s, want %s", got.Size.String(), want.Size.String())
	}
	got.Size, want.Size = resource.Quantity{}, resource.Quantity{} // they remember how they were written
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

// TestARoundTripKeepsAVolume goes through all that describes a volume. What one of
// them does not have is named below; a new field has to be set in one of the volumes.
func TestARoundTripKeepsAVolume(t *testing.T) {
	source := share.Source{Server: "nas", Path: "/export"}
	restored := full(t)
	restored.RestoredFrom, restored.Adopted, restored.Created = "archived-ns-data-pvc-0", true, time.Unix(1_700_000_000, 0).UTC()
	copied := full(t)
	copied.CopyOf = &ledger.Copy{
		Kind: ledger.CopyClaim, Share: "other", Path: "ns/source", PV: "pvc-0", Cluster: "c", Claim: ledger.Claim{Namespace: "ns", Name: "source", UID: "uid-0"},
		Began: new(time.Unix(1_700_000_000, 0).UTC()), Ended: new(time.Unix(1_700_000_100, 0).UTC()), UnusedSince: "2023-11-14T22:00:00Z", Used: ledger.Unused,
		Files: 3, Bytes: 4, Changed: 1, FirstChanged: []string{"log"}, LeftOut: 1, FirstLeftOut: []string{"dev"},
	}
	noMode := plain(t)
	noMode.Mode = 0
	recovered := full(t)
	recovered.RecoveredFrom = "lost"
	all := map[string]Volume{"plain": plain(t), "full": full(t), "restored": restored, "copied": copied, "recovered": recovered, "a peer's": peers(t, source), "mode 0": noMode}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Volume]()) {
		if !slices.ContainsFunc(slices.Collect(maps.Values(all)), func(v Volume) bool { return !reflect.ValueOf(v).FieldByIndex(field.Index).IsZero() }) {
			t.Errorf("no volume here has a %s: give one to full", field.Name)
		}
	}
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			viaPV(t, v, source)
			viaRecord(t, v)
			viaManifests(t, v, source)
		})
	}
}

// viaPV is the way of a volume from provision to release.
func viaPV(t *testing.T, v Volume, source share.Source) {
	t.Helper()
	pv, err := v.PV(source)
	must(t, err)
	pv.Spec.StorageClassName = v.Class // the library adds these
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: v.Claim.Namespace, Name: v.Claim.Name, UID: types.UID(v.Claim.UID)}
	pv.CreationTimestamp = metav1.NewTime(v.Created)
	got, err := FromPV(source, pv)
	must(t, err)
	same(t, got, v, notOnPV)
}

// notOnPV removes what a PersistentVolume does not say.
func notOnPV(v *Volume) {
	v.Cluster, v.Mode, v.UID, v.GID, v.Restore, v.Restores, v.RestoredFrom, v.CopyOf = "", 0, nil, nil, "", false, "", nil
	v.Adopted = v.Peer
}

// viaRecord is the way of a volume to the share and back.
func viaRecord(t *testing.T, v Volume) {
	t.Helper()
	r := v.Record()
	if r.State != "" || r.Layout != 0 || r.Released != nil || r.Until != nil || r.Origin != "" {
		t.Errorf("the record says what is the ledger's to say: %+v", r)
	}
	got, err := FromRecord(r)
	must(t, err)
	same(t, got, v, func(v *Volume) { v.VolumeMode, v.RecoveredFrom, v.Restore, v.Restores = nil, "", "", false })
}

// viaManifests is the way of a volume from the records of a lost cluster to another.
func viaManifests(t *testing.T, v Volume, source share.Source) {
	t.Helper()
	v, err := FromRecord(v.Record())
	must(t, err)
	pv, err := v.RecoveredPV(source, "example.com/nfs")
	must(t, err)
	got, err := FromPV(source, pv)
	must(t, err)
	same(t, got, v, func(v *Volume) {
		v.RecoveredFrom, v.Claim.UID, v.Created = v.Cluster, "", got.Created // they are made anew
		notOnPV(v)
	})
	claim := v.RecoveredClaim()
	if claim.Spec.VolumeName != pv.Name || claim.Namespace != pv.Spec.ClaimRef.Namespace || claim.Name != pv.Spec.ClaimRef.Name || claim.Annotations != nil {
		t.Errorf("claim %+v and its volume %+v are not bound to each other", claim, pv)
	}
	again := FromClaim(v.Name, claim, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: ClassOfClaim(claim)}}, class.Class{}, v.Path)
	if again.Class != v.Class || again.Size.Cmp(v.Size) != 0 || !reflect.DeepEqual(again.AccessModes, v.AccessModes) || again.Restores {
		t.Errorf("the claim asks for %+v, want what %+v was", again, v)
	}
	again = FromClaim(v.Name, v.RestoringClaim("other"), &storagev1.StorageClass{}, class.Class{}, v.Path)
	if again.Claim.Name != "other" || again.Restore != v.Name || !again.Restores {
		t.Errorf("the claim %+v does not ask for the archive of %s", again, v.Name)
	}
}

func TestARecordThatCannotBeReadNamesItsField(t *testing.T) {
	for says, change := range map[string]func(*ledger.Record){
		`path "../x"`: func(r *ledger.Record) { r.Path = "../x" },
		`the size "much" in its record is no quantity`:  func(r *ledger.Record) { r.Size = "much" },
		`the archive retention in its record: "30days"`: func(r *ledger.Record) { r.ArchiveRetention = "30days" },
		`the policy in its record: "shred"`:             func(r *ledger.Record) { r.Policy = "shred" },
		`the mode in its record`:                        func(r *ledger.Record) { r.Mode = "rwx" },
	} {
		t.Run(says, func(t *testing.T) {
			r := full(t).Record()
			change(&r)
			if v, err := FromRecord(r); err == nil || !strings.Contains(err.Error(), says) || !reflect.DeepEqual(v, Volume{}) {
				t.Errorf("read %+v, %v, want %q", v, err, says)
			}
		})
	}
}

// A claim may ask with an empty name; that is refused later, and must not be taken
// for a claim that asks for nothing.
func TestAnEmptyWishIsAWish(t *testing.T) {
	claim, sc := described()
	claim.Annotations[AnnotationRestore] = ""
	if v := FromClaim("pvc-1", claim, sc, class.Class{}, pathOf(t, "data")); !v.Restores || v.Restore != "" {
		t.Errorf("%+v", v)
	}
}

func TestVarsAreTheClaims(t *testing.T) {
	claim, _ := described()
	want := volpath.Vars{
		Namespace: "ns", Name: "data", UID: "uid-1", PVName: "pvc-1",
		Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"},
	}
	if got := Vars("pvc-1", claim); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
