package doctor

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

func TestUses(t *testing.T) {
	path, err := volpath.Parse("team/data")
	if err != nil {
		t.Fatal(err)
	}
	for export, want := range map[string]struct{ ours, byHand bool }{
		"/export/team/data":   {true, true},
		"/export/team/data/x": {true, true},
		"/export/team":        {true, false},
		"/export":             {false, false}, // people look at the share through it
		"/":                   {false, false},
		"/export/team/data2":  {false, false},
	} {
		for provisioner, uses := range map[string]bool{ours: want.ours, "": want.byHand} {
			pv := volumeAt("pv", provisioner, "", func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = export })
			c := Cluster{Names: []string{ours}, Volumes: []v1.PersistentVolume{pv}}
			if got := c.Uses(share.Source{Server: "nas", Path: "/export"}, path); (got == "pv") != uses {
				t.Errorf("%s of %q: %q", export, provisioner, got)
			}
		}
	}
}
