package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const ours, peers, theirs = "example.com/nfs", "fuseim.pri/ifs", "other.example.com/nfs"

// tree is a share with these directories.
type tree []string

func (t tree) Exists(p volpath.Path) (bool, error) {
	if p.String() == "broken" {
		return false, errors.New("input/output error")
	}
	return slices.Contains(t, p.String()), nil
}

func (t tree) List(p volpath.Path) (entries []share.Entry, err error) {
	if p.String() == "shut" {
		return nil, errors.New("permission denied")
	}
	for _, dir := range t {
		rest, below := strings.CutPrefix(dir, p.String()+"/")
		if p == (volpath.Path{}) {
			rest, below = dir, true
		}
		if below && !strings.Contains(rest, "/") {
			entries = append(entries, share.Entry{Name: strings.TrimSuffix(rest, "|file"), Dir: !strings.HasSuffix(rest, "|file")})
		}
	}
	return entries, nil
}

func volume(name, provisioner, path string, change ...func(*v1.PersistentVolume)) v1.PersistentVolume {
	pv := v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:               &v1.ObjectReference{Namespace: "team", Name: "data"},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/export/" + path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	if provisioner == ours {
		pv.Annotations["claimdir/path"], pv.Annotations["claimdir/on-delete"] = path, "archive"
	}
	for _, c := range change {
		c(&pv)
	}
	return pv
}

func record(state ledger.State, pv, path string) ledger.Record {
	return ledger.Record{State: state, PV: pv, Path: path, Cluster: "here", Claim: ledger.Claim{Namespace: "team", Name: "data"}, Created: time.Now().Add(-2 * time.Hour)}
}

func TestFindings(t *testing.T) {
	released := func(pv *v1.PersistentVolume) { pv.Status.Phase = v1.VolumeReleased }
	server := func(name string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = name }
	}
	fresh, foreign := record(ledger.Active, "pvc-1", "a"), record(ledger.Active, "pvc-1", "a")
	fresh.Created, foreign.Cluster = time.Now(), "elsewhere"
	class := func(parameters map[string]string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: ours, Parameters: parameters}
	}
	active := []ledger.Record{record(ledger.Active, "pvc-1", "a")}
	for name, tt := range map[string]struct {
		volumes []v1.PersistentVolume
		records []ledger.Record
		dirs    tree
		classes []storagev1.StorageClass
		damaged error
		want    []string // "kind object: part of the problem"
	}{
		"all is well": {
			volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a"), volume("pvc-2", peers, "team/b"), volume("x", theirs, "z"), volume("whole", theirs, "")},
			records: append(active, record(ledger.Active, "pvc-2", "team/b"), record(ledger.Retained, "pvc-3", "kept"), record(ledger.Archived, "pvc-4", "archived-team-data-pvc-4")),
			dirs:    tree{"a", "team", "team/b", "kept", "archived-team-data-pvc-4", "archived-of-the-peer", "README|file"},
			classes: []storagev1.StorageClass{class(map[string]string{"onDelete": "retain"}), {Provisioner: theirs, Parameters: map[string]string{"bogus": "x"}}},
		},
		"a class with mistakes":           {classes: []storagev1.StorageClass{class(map[string]string{"onDelete": "shred", "bogus": "x"})}, want: []string{`class nfs: "shred" is not allowed`}},
		"a missing directory":             {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a")}, records: active, want: []string{`volume pvc-1: its directory "a" is missing (claim team/data)`}},
		"a released volume is going":      {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a", released)}, records: active},
		"a directory that does not tell":  {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "broken")}, dirs: tree{"broken"}, want: []string{"volume pvc-1: its directory cannot be looked at: input/output error"}},
		"another server":                  {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a", server("old-nas"))}, want: []string{`volume pvc-1: spec.nfs.server "old-nas": this claimdir serves "nas"`}},
		"another path":                    {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "../a")}, want: []string{`volume pvc-1: spec.nfs.path`}},
		"a peer's volume without record":  {volumes: []v1.PersistentVolume{volume("pvc-1", peers, "a")}, dirs: tree{"a"}, want: []string{"volume pvc-1: directory \"a\" has no record yet"}},
		"our volume without record":       {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a")}, dirs: tree{"a"}, want: []string{"volume pvc-1: no record says"}},
		"another one's record":            {volumes: []v1.PersistentVolume{volume("pvc-2", ours, "a"), volume("pvc-1", theirs, "b")}, records: active, dirs: tree{"a"}, want: []string{`volume pvc-2: directory "a" belongs to volume pvc-1`}},
		"a record without volume":         {records: active, dirs: tree{"a"}, want: []string{"record a: volume pvc-1 of claim team/data is active by its record"}},
		"a volume that is just saved":     {records: []ledger.Record{fresh}, dirs: tree{"a"}},
		"another cluster's record":        {records: []ledger.Record{foreign}, dirs: tree{"a"}},
		"a volume that was never made":    {records: []ledger.Record{record(ledger.Creating, "pvc-1", "a")}, want: []string{"record a: volume pvc-1 of claim team/data was never completed"}},
		"a retained directory is missing": {records: []ledger.Record{record(ledger.Retained, "pvc-1", "a")}, want: []string{"record a: it is retained by its record, and the directory is missing"}},
		"an archive is missing":           {records: []ledger.Record{record(ledger.Archived, "pvc-1", "archived-a")}, want: []string{"record archived-a: it is archived"}},
		"a damaged record":                {damaged: errors.New("damaged record in a.json"), want: []string{"record .claimdir/volumes: damaged record in a.json"}},
		"a directory that is nobody's":    {volumes: []v1.PersistentVolume{volume("pvc-1", ours, "t/a")}, records: []ledger.Record{record(ledger.Active, "pvc-1", "t/a")}, dirs: tree{"t", "t/a", "t/b", "lost", "t/a/inside"}, want: []string{"directory lost: no PersistentVolume", "directory t/b: no PersistentVolume"}},
		"a name that no volume can have":  {dirs: tree{"a\nb"}, want: []string{`directory "a\nb": no volume has it`}},
		"a directory that is shut":        {records: []ledger.Record{foreign, {State: ledger.Active, Path: "shut/a"}}, dirs: tree{"a", "shut"}, want: []string{"directory shut: cannot be looked into: permission denied"}},
		"doubled": {
			volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a"), volume("pvc-2", theirs, "a")}, records: active, dirs: tree{"a"},
			want: []string{"overlap pvc-2: its directory /export/a is the same as that of pvc-1"},
		},
		"nested, with one between by name": {
			volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a"), volume("pvc-2", theirs, "a/b/c"), volume("pvc-3", theirs, "a-b"), volume("pvc-4", theirs, "a/b")},
			records: active, dirs: tree{"a"},
			want: []string{"overlap pvc-2: its directory /export/a/b/c lies inside that of pvc-1", "overlap pvc-4: its directory /export/a/b lies inside that of pvc-1"},
		},
		"inside one that was made by hand": {
			volumes: []v1.PersistentVolume{volume("pvc-1", ours, "t/a"), volume("hand", theirs, "t"), volume("elsewhere", ours, "t", server("other"))},
			records: []ledger.Record{record(ledger.Active, "pvc-1", "t/a")}, dirs: tree{"t", "t/a"}, want: []string{"volume elsewhere: spec.nfs.server"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := &Site{Source: share.Source{Server: "nas", Path: "/export"}, Records: tt.records, Dirs: tt.dirs}
			site.Lookup = func(volpath.Path) (ledger.Record, bool, error) { return ledger.Record{}, false, nil }
			if tt.damaged != nil {
				site.Damaged = []error{tt.damaged}
			}
			r := Diagnose(Cluster{Names: []string{ours, peers}, ID: "here", Volumes: tt.volumes, Classes: tt.classes}, site)
			if len(r.Findings) != len(tt.want) {
				t.Fatalf("found %+v, want %q", r.Findings, tt.want)
			}
			for i, f := range r.Findings {
				object, problem, _ := strings.Cut(tt.want[i], ": ")
				if f.Kind+" "+f.Object != object || !strings.Contains(f.Problem, problem) || f.Remedy == "" {
					t.Errorf("found %+v, want %q", f, tt.want[i])
				}
			}
		})
	}
}

func TestADirectoryThatIsBeingMadeIsNoFinding(t *testing.T) {
	site := &Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: tree{"new"}}
	site.Lookup = func(volpath.Path) (ledger.Record, bool, error) {
		return record(ledger.Creating, "pvc-9", "new"), true, nil
	}
	if r := Diagnose(Cluster{}, site); len(r.Findings) > 0 {
		t.Error(r.Findings)
	}
}

func TestWithoutAShareTheClusterIsChecked(t *testing.T) {
	c := Cluster{Names: []string{ours}, Volumes: []v1.PersistentVolume{volume("pvc-1", ours, "a"), volume("pvc-2", ours, "a/b"), volume("pvc-3", ours, "gone")}}
	r := Diagnose(c, nil)
	if len(r.Findings) != 1 || r.Findings[0].Kind != KindOverlap {
		t.Error(r.Findings)
	}
	r.NotChecked = []string{"the share"}
	var table, object bytes.Buffer
	if err := errors.Join(r.WriteTable(&table), r.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); !strings.HasPrefix(text, "KIND     OBJECT  PROBLEM") || !strings.Contains(text, "1 findings") || !strings.Contains(text, "Not checked: the share") {
		t.Error(text)
	}
	var back Report
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || len(back.Findings) != 1 || back.Findings[0] != r.Findings[0] {
		t.Error(err, object.String())
	}
}

func TestManyVolumesTakeNoTime(t *testing.T) {
	var c Cluster
	for i := range 50_000 {
		c.Volumes = append(c.Volumes, volume(fmt.Sprint("pvc-", i), ours, fmt.Sprintf("team-%d/claim-%d", i%100, i)))
	}
	begin := time.Now()
	if r := Diagnose(c, nil); len(r.Findings) > 0 {
		t.Error(r.Findings)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Error(took)
	}
}
