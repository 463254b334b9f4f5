package doctor

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// With several shares each volume is looked for on its own.
func TestSeveralShares(t *testing.T) {
	on := func(path string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = path }
	}
	site := func(name string, dirs tree, records ...ledger.Record) *Site {
		return with(&Site{Name: name, Source: share.Source{Server: "nas", Path: "/" + name}, Dirs: dirs, Lookup: lookup(records)}, records...)
	}
	class := func(name, share string) storagev1.StorageClass {
		c := storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: ours, Parameters: map[string]string{}}
		if share != "" {
			c.Parameters["share"] = share
		}
		return c
	}
	c := Cluster{ID: "here", Names: []string{ours},
		Volumes: []v1.PersistentVolume{
			volumeAt("pvc-fast", ours, "a", on("/fast/a")),
			volumeAt("pvc-bulk", ours, "a", on("/bulk/a")), // the same path, and another directory
			volumeAt("pvc-gone", ours, "b", on("/bulk/b")),
			volumeAt("pvc-lost", ours, "c", on("/old/c")),
			volumeAt("byhand", "", "x", on("/"), func(pv *v1.PersistentVolume) { pv.Annotations = nil }),
		},
		Classes: []storagev1.StorageClass{class("good", "fast,bulk"), class("none", ""), class("typo", "fats")},
	}
	r := Diagnose(c, site("fast", tree{"a"}, record(ledger.Active, "pvc-fast", "a")), site("bulk", tree{"a", "stray"}, record(ledger.Active, "pvc-bulk", "a")))
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Kind+" "+f.Share+":"+f.Object+": "+f.Problem)
	}
	want := []string{
		`class :none: parameter "share" is missing, and there are several shares: fast, bulk`,
		`class :typo: parameter "share": there is no share "fats"`,
		`directory bulk:stray: no PersistentVolume and no record names it`,
		`volume :pvc-lost: nas:/old/c is on none of the shares that this claimdir serves (nas:/fast, nas:/bulk)`,
		`volume bulk:pvc-gone: its directory "b" is missing (claim team/data)`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%q\nwant\n%q", got, want)
	}
	if r.Checked.Volumes != 4 || r.Checked.Records != 2 {
		t.Errorf("%+v", r.Checked)
	}
}

// A volume that one share serves has not moved to another that has its record too, because that is
// a copy.
func TestAVolumeOfAnotherShareHasNotMoved(t *testing.T) {
	records := []ledger.Record{record(ledger.Active, "pvc-1", "a")}
	site := func(name, server string) *Site {
		return with(&Site{Name: name, Source: share.Source{Server: server, Path: "/export"}, Dirs: tree{"a"}, Lookup: lookup(records)}, records...)
	}
	c := Cluster{ID: "here", Names: []string{ours}, Volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}}
	for name, sites := range map[string][]*Site{
		"both read":      {site("copy", "nas-2"), site("first", "nas")},
		"its own unread": {site("copy", "nas-2"), {Name: "first", Source: share.Source{Server: "nas", Path: "/export"}}},
	} {
		if r := Diagnose(c, sites...); len(r.Findings) != 1 || r.Findings[0].Kind != KindRecord || r.Findings[0].Share != "copy" {
			t.Errorf("%s: %+v", name, r.Findings)
		}
	}
	if r := Diagnose(c, site("copy", "nas-2")); len(r.Findings) != 1 || r.Findings[0].Kind != KindAddress {
		t.Errorf("alone: %+v", r.Findings)
	}
}
