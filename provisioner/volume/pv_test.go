package volume

import (
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

func exports() []string { return []string{"/", "/a", "/a/b"} }

// backAndForth makes a PersistentVolume of a volume at p and reads it.
func backAndForth(t *testing.T, export string, p volpath.Path, policy class.Policy) {
	t.Helper()
	source := share.Source{Server: "[2001:db8::1]", Path: export}
	v := plain(t)
	v.Path, v.Policy = p, policy
	pv, err := v.PV(source)
	if err != nil {
		refused(t, err, refusal.ReasonPath, "exported path of", "allowed are 4095")
		if len(export)+1+len(p.String()) <= 4095 {
			t.Errorf("%s on %s: %v", p, export, err)
		}
		return
	}
	if !strings.HasPrefix(pv.Spec.NFS.Path, "/") || strings.Contains(pv.Spec.NFS.Path, "//") {
		t.Errorf("exported path %q", pv.Spec.NFS.Path)
	}
	got, err := FromPV(source, pv)
	if err != nil || got.Path != p || got.Policy != policy || got.Peer {
		t.Errorf("%s on %s: read %+v, %v", p, export, got, err)
	}
}

func TestFromPVReadsEveryPathThatPVWrites(t *testing.T) {
	for _, path := range []string{"data", "team/data", "a", "a/b", "a/b/c", "export", "éé/数据", "a b/c\\d", "..a", "...", "a/.claimdir", strings.Repeat("e/", 2046) + "e"} {
		for _, export := range exports() {
			for _, policy := range []class.Policy{class.Delete, class.Archive, class.Retain} {
				backAndForth(t, export, pathOf(t, path), policy)
			}
		}
	}
}

func FuzzFromPVReadsWhatPVWrites(f *testing.F) {
	for _, seed := range []string{"data", "a/b", "a/bc", "..", "a/../b", "a//b", ".claimdir/x", "%2F", "é", "a/b/a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := volpath.Parse(s)
		if err != nil {
			return
		}
		for _, export := range exports() {
			backAndForth(t, export, p, class.Archive)
		}
	})
}

func TestPVCarriesTheClaimAndTheClass(t *testing.T) {
	claim, sc := described()
	filesystem, retain := v1.PersistentVolumeFilesystem, v1.PersistentVolumeReclaimRetain
	claim.Spec.VolumeMode, sc.MountOptions = &filesystem, []string{"nfsvers=4.2", "hard"}
	made := func() *v1.PersistentVolume {
		v := FromClaim("pvc-1", claim, sc, class.Class{OnDelete: class.Retain}, pathOf(t, "team/data"))
		pv, err := v.PV(share.Source{Server: "server", Path: "/export"})
		must(t, err)
		return pv
	}
	pv := made()
	size := pv.Spec.Capacity[v1.ResourceStorage]
	if pv.Name != "pvc-1" || pv.Spec.NFS.Server != "server" || pv.Spec.NFS.Path != "/export/team/data" || pv.Spec.NFS.ReadOnly ||
		size.String() != "1Gi" || len(pv.Spec.AccessModes) != 1 || pv.Spec.VolumeMode != &filesystem || len(pv.Spec.MountOptions) != 2 ||
		pv.Annotations["claimdir/path"] != "team/data" || pv.Annotations["claimdir/on-delete"] != "retain" || len(pv.Annotations) != 2 {
		t.Errorf("%+v", pv)
	}
	if pv.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
		t.Errorf("a class that says nothing gives reclaim policy %s", pv.Spec.PersistentVolumeReclaimPolicy)
	}
	sc.ReclaimPolicy = &retain
	if pv := made(); pv.Spec.PersistentVolumeReclaimPolicy != retain {
		t.Errorf("reclaim policy of the class: %+v", pv)
	}
}

// Other spellings of the server's name are the same server.
func TestFromPVKnowsTheServerInEachSpelling(t *testing.T) {
	v := plain(t)
	for _, server := range []string{"NFS.example.com", "nfs.example.com."} {
		pv, err := v.PV(share.Source{Server: server, Path: "/export"})
		must(t, err)
		if got, err := FromPV(share.Source{Server: "nfs.example.com", Path: "/export"}, pv); err != nil || got.Path != v.Path {
			t.Errorf("%s: read %+v, %v", server, got, err)
		}
	}
}

// A PersistentVolume that claimdir cannot have made is refused, by a text that
// names what is wrong.
func TestFromPVRefusesVolumesThatAreNotOurs(t *testing.T) {
	source := share.Source{Server: "nfs.example.com", Path: "/export"}
	nfs := func(server, path string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.NFS = &v1.NFSVolumeSource{Server: server, Path: path} }
	}
	path := func(path string) func(*v1.PersistentVolume) { return nfs("nfs.example.com", path) }
	annotated := func(key, value string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Annotations[key] = value }
	}
	for name, tt := range map[string]struct {
		change func(*v1.PersistentVolume)
		says   string
	}{
		"no nfs volume":                {func(pv *v1.PersistentVolume) { pv.Spec.NFS = nil }, "spec.nfs is missing"},
		"another server":               {nfs("other.example.com", "/export/team/data"), `"other.example.com": this claimdir serves "nfs.example.com"`},
		"another export":               {path("/backup/team/data"), `not below the export "/export"`},
		"an export with a longer name": {path("/exports/team/data"), "not below the export"},
		"the export itself":            {path("/export"), "not below the export"},
		"the export itself, slash":     {path("/export/"), "not below the export"},
		"a way out":                    {path("/export/../etc"), `element ".."`},
		"a way out and in":             {path("/export/other/../team/data"), `element ".."`},
		"a dot":                        {path("/export/./team/data"), `element "."`},
		"two slashes":                  {path("/export//team/data"), "absolute"},
		"a slash at the end":           {path("/export/team/data/"), "empty element"},
		"the records":                  {path("/export/.claimdir/volumes"), "reserved name"},
		"an archive":                   {path("/export/archived-ns-data-pvc-1"), "reserved name"},
		"another one's directory":      {path("/export/team/other"), `annotation claimdir/path is "team/data", but spec.nfs.path says "team/other"`},
		"the directory above":          {path("/export/team"), "annotation claimdir/path"},
		"another path annotated":       {annotated("claimdir/path", "team/other"), `"team/other"`},
		"no annotations":               {func(pv *v1.PersistentVolume) { pv.Annotations = nil }, "annotation claimdir/path and spec.claimRef are missing: no provisioner made this volume"},
		"no path annotated":            {func(pv *v1.PersistentVolume) { delete(pv.Annotations, "claimdir/path") }, "Remove the directory and the PersistentVolume by hand"},
		"no policy annotated":          {func(pv *v1.PersistentVolume) { delete(pv.Annotations, "claimdir/on-delete") }, "annotation claimdir/on-delete is missing; allowed are \"delete\", \"archive\" and \"retain\""},
		"an unknown policy":            {annotated("claimdir/on-delete", "shred"), `"shred" is not allowed; allowed are "delete", "archive" and "retain"`},
	} {
		t.Run(name, func(t *testing.T) {
			v := plain(t)
			pv, err := v.PV(source)
			must(t, err)
			pv.Spec.ClaimRef = nil // as the library is given it: only a peer's needs one
			tt.change(pv)
			got, err := FromPV(source, pv)
			refused(t, err, refusal.ReasonVolume, tt.says, "; nothing was changed")
			if !reflect.DeepEqual(got, Volume{}) {
				t.Errorf("refused, and yet %+v", got)
			}
		})
	}
}

func TestFromPVUnderstandsWhatAnOperatorTyped(t *testing.T) {
	source := share.Source{Server: "nas", Path: "/export"}
	pv, err := plain(t).PV(source)
	must(t, err)
	pv.Annotations["claimdir/on-delete"], pv.Annotations["claimdir/archive-retention"] = "Retain", "720h"
	pv.Annotations["somebody.else/key"] = "x"
	if got, err := FromPV(source, pv); err != nil || got.Policy != class.Retain || got.Retention.Hours() != 720 {
		t.Errorf("%+v, %v", got, err)
	}
	pv.Annotations["claimdir/archive-retention"] = "30d"
	if got, err := FromPV(source, pv); err != nil || got.Retention.Hours() != 720 {
		t.Errorf("%+v, %v", got, err)
	}
	pv.Annotations["claimdir/archive-retention"] = "30 days"
	_, err = FromPV(source, pv)
	refused(t, err, refusal.ReasonVolume, "claimdir/archive-retention", `"30 days"`, `"30d" (30 days)`)
}
