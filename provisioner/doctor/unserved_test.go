package doctor

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// A class like those of the manifests that nobody serves is reported, and no class that
// another claimdir or another provisioner may serve.
func TestUnservedClasses(t *testing.T) {
	class := func(provisioner string, labels map[string]string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "sc", Labels: labels}, Provisioner: provisioner}
	}
	label := map[string]string{"app.kubernetes.io/name": "claimdir"}
	const base = "claimdir/nfs"
	for name, tt := range map[string]struct {
		class   storagev1.StorageClass
		volumes []v1.PersistentVolume
		led     []string
		found   bool
	}{
		"the class of the manifests": {class: class(base, label), found: true},
		"its provisioner alone":      {class: class(base, nil), found: true},
		"its label alone":            {class: class("other.example.com/x", label), found: true},
		"another claimdir leads":     {class: class(base, label), led: []string{base}},
		"another one leads":          {class: class(base, label), led: []string{"claimdir/other"}, found: true},
		"another claimdir made a volume": {class: class(base, label),
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", base, "x", func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "other" })}},
		"served":             {class: class(ours, label)},
		"another program's":  {class: class("other.example.com/x", map[string]string{"app.kubernetes.io/name": "csi-driver-nfs"})},
		"begins like it":     {class: class("claimdir.example.com/nfs", nil)},
		"the peer's, unmade": {class: class("fuseim.pri/ifs", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			c := Cluster{Names: []string{ours, peers + "2"}, Classes: []storagev1.StorageClass{tt.class}, Volumes: tt.volumes,
				Led: func(provisioner string) bool { return slices.Contains(tt.led, provisioner) }}
			r := Diagnose(c)
			if !tt.found {
				if len(r.Findings) > 0 {
					t.Error(r.Findings)
				}
				return
			}
			if len(r.Findings) != 1 || r.Findings[0].Kind != KindClass || r.Findings[0].Object != "sc" || r.Checked.Classes != 1 {
				t.Fatalf("%+v", r)
			}
			f := r.Findings[0]
			if !strings.Contains(f.Problem, `"`+tt.class.Provisioner+`", which this claimdir does not serve`) ||
				!strings.Contains(f.Remedy, `with provisioner "example.com/nfs" or "fuseim.pri/ifs2"`) || !strings.Contains(f.Remedy, "ADDITIONAL_PROVISIONER_NAMES") {
				t.Errorf("%+v", f)
			}
		})
	}
	if r := Diagnose(Cluster{Names: []string{ours}, Classes: []storagev1.StorageClass{class(base, label)}}); len(r.Findings) != 1 {
		t.Error("where nobody can tell who leads:", r.Findings)
	}
}

// Volumes with a record on the share are reported if the names that are served do not
// include theirs: one finding a name.
func TestUnservedVolumes(t *testing.T) {
	const old = "old.example.com/nfs"
	made := func(pv *v1.PersistentVolume) { pv.Annotations["claimdir/path"] = "x" }
	takenOver := func(pv *v1.PersistentVolume) {
		pv.Finalizers = []string{"external-provisioner.volume.kubernetes.io/finalizer"}
	}
	volumes := []v1.PersistentVolume{
		volumeAt("pvc-1", ours, "a"),
		volumeAt("pvc-3", old, "c", made),
		volumeAt("pvc-2", old, "b", made),
		volumeAt("pvc-4", peers, "d", takenOver),
		volumeAt("handed-back", theirs, "e"),
		volumeAt("by-hand", "", "f", made),
		volumeAt("elsewhere", old, "g", made, func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "other" }),
		volumeAt("another", old, "h", made), // the record of the path names another one
		volumeAt("unrecorded", old, "i", made),
	}
	var records []ledger.Record
	var dirs tree
	for pv, path := range map[string]string{"pvc-1": "a", "pvc-2": "b", "pvc-3": "c", "pvc-4": "d", "handed-back": "e", "by-hand": "f", "elsewhere": "g", "pvc-9": "h"} {
		records, dirs = append(records, record(ledger.Active, pv, path)), append(dirs, path)
	}
	find := func(led string) (found []string) {
		site := &Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: append(dirs, "i"), Lookup: lookup(records)}
		for _, r := range records {
			site.Add(r)
		}
		c := Cluster{ID: "here", Names: []string{ours}, Volumes: volumes, Led: func(provisioner string) bool { return provisioner == led }}
		for _, f := range Diagnose(c, site).Findings {
			if f.Kind == KindVolume {
				found = append(found, f.Object+" "+f.Problem)
			}
		}
		return found
	}
	want := []string{
		`pvc-2 its provisioner is "old.example.com/nfs", which this claimdir does not serve, and nobody releases it; that provisioner made 2 volumes with records here`,
		`pvc-4 its provisioner is "fuseim.pri/ifs", which this claimdir does not serve, and nobody releases it; that provisioner made 1 volume with records here`,
	}
	if got := find(""); !slices.Equal(got, want) {
		t.Errorf("found\n%q\nwant\n%q", got, want)
	}
	if got := find(old); !slices.Equal(got, want[1:]) {
		t.Errorf("another claimdir leads, and found is %q", got)
	}
}
