package pvs

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/share"
)

var names = Names{"example.com/nfs", "example.com/old"}

func pv(provisioner, migratedTo, server, path string) *v1.PersistentVolume {
	annotations := map[string]string{}
	if provisioner != "" {
		annotations[AnnotationProvisionedBy] = provisioner
	}
	if migratedTo != "" {
		annotations[AnnotationMigratedTo] = migratedTo
	}
	volume := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
	if server != "" {
		volume.Spec.NFS = &v1.NFSVolumeSource{Server: server, Path: path}
	}
	return volume
}

func TestServe(t *testing.T) {
	for _, tt := range []struct {
		provisioner, migratedTo string
		want                    bool
	}{
		{"example.com/nfs", "", true},
		{"example.com/old", "", true},
		{"x/y", "example.com/nfs", true},
		{"x/y", "", false},
		{"example.com/NFS", "", false},
		{"", "", false},
	} {
		if got := names.Serve(pv(tt.provisioner, tt.migratedTo, "nas", "/a")); got != tt.want {
			t.Errorf("by %q, migrated to %q: %v", tt.provisioner, tt.migratedTo, got)
		}
	}
	if (Names{}).Serve(pv("", "", "nas", "/a")) {
		t.Error("a PersistentVolume is ours although we have no name")
	}
}

func TestOverlap(t *testing.T) {
	const server, export = "nas", "/export/team/data"
	for _, tt := range []struct {
		server, path string
		ours, theirs bool // whether it overlaps
	}{
		{server, "/export/team/data", true, true},
		{server, "/export//team/./data/", true, true},
		{server, "/export/team/data/x", true, true},
		{server, "/export/team/data/x/y", true, true},
		{server, "/export/team", true, false},
		{server, "/export/", true, false},
		{server, "/", true, false},
		{server, "/export/team/data2", false, false},
		{server, "/export/team/dat", false, false},
		{server, "/export/other", false, false},
		{"other", "/export/team/data", false, false},
		{"", "", false, false}, // not on NFS
	} {
		if got := names.Overlap(pv("example.com/nfs", "", tt.server, tt.path), server, export); got != tt.ours {
			t.Errorf("ours at %s:%s: %v", tt.server, tt.path, got)
		}
		for _, provisioner := range []string{"x/y", ""} {
			if got := names.Overlap(pv(provisioner, "", tt.server, tt.path), server, export); got != tt.theirs {
				t.Errorf("that of %q at %s:%s: %v", provisioner, tt.server, tt.path, got)
			}
		}
	}
	if !names.Overlap(pv("", "", server, "/a"), server, "/") {
		t.Error("everything lies below /")
	}
}

func TestOn(t *testing.T) {
	source := share.Source{Server: "nas", Path: "/export"}
	for _, tt := range []struct {
		server, path, want string
		on                 bool
	}{
		{"nas", "/export/a/b", "a/b", true},
		{"nas", "/export//a/", "a", true},
		{"NAS.", "/export/a", "a", true},
		{"nas", "/export", "", false},
		{"nas", "/export/", "", false},
		{"nas", "/export2/a", "", false},
		{"nas", "/", "", false},
		{"nas", "/export/../a", "", false},
		{"other", "/export/a", "", false},
		{"", "", "", false}, // not on NFS
	} {
		if got, on := On(source, pv("", "", tt.server, tt.path)); on != tt.on || on && got != tt.want {
			t.Errorf("%s:%s: %q, %v", tt.server, tt.path, got, on)
		}
	}
}
