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
	if slices.Contains(t, "STALE") {
		return nil, errors.New("stale file handle")
	}
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

func volumeAt(name, provisioner, path string, change ...func(*v1.PersistentVolume)) v1.PersistentVolume {
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

func archivedFrom(origin, archive string) ledger.Record {
	r := record(ledger.Archived, "pvc-1", archive)
	r.Origin, r.Released = origin, new(time.Now().Add(-time.Hour))
	return r
}

func adopted(r ledger.Record) ledger.Record {
	r.Adopted, r.Policy = true, "delete"
	return r
}

func record(state ledger.State, pv, path string) ledger.Record {
	return ledger.Record{State: state, PV: pv, Path: path, Cluster: "here", Claim: ledger.Claim{Namespace: "team", Name: "data"}, Created: time.Now().Add(-2 * time.Hour)}
}

// lookup finds what was listed, as it does where nothing happens meanwhile.
func lookup(records []ledger.Record) func(volpath.Path) (ledger.Record, bool, error) {
	return func(p volpath.Path) (ledger.Record, bool, error) {
		i := slices.IndexFunc(records, func(r ledger.Record) bool { return r.Path == p.String() })
		if i < 0 {
			return ledger.Record{}, false, nil
		}
		return records[i], true, nil
	}
}

func TestFindings(t *testing.T) {
	released := func(policy v1.PersistentVolumeReclaimPolicy) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) {
			pv.Status.Phase, pv.Spec.PersistentVolumeReclaimPolicy = v1.VolumeReleased, policy
		}
	}
	annotated := func(key, value string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Annotations[key] = value }
	}
	byHand := func(pv *v1.PersistentVolume) { pv.Annotations = nil }
	server := func(name string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = name }
	}
	path := func(export string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = export }
	}
	fresh, foreign := record(ledger.Active, "pvc-1", "a"), record(ledger.Active, "pvc-1", "a")
	fresh.Created, foreign.Cluster = time.Now(), "elsewhere"
	class := func(parameters map[string]string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: ours, Parameters: parameters}
	}
	elsewhere := record(ledger.Active, "pvc-9", "a/b")
	elsewhere.Cluster = "elsewhere"
	restoring := record(ledger.Creating, "pvc-2", "b")
	restoring.RestoredFrom, restoring.Created = "archived-a", time.Now()
	ended := func(ago time.Duration, cluster string) ledger.Record {
		r := record(ledger.Archived, "pvc-1", "archived-a")
		r.Cluster, r.Until = cluster, new(time.Now().Add(-ago))
		return r
	}
	active := slices.Clip([]ledger.Record{record(ledger.Active, "pvc-1", "a")})
	for name, tt := range map[string]struct {
		volumes []v1.PersistentVolume
		records []ledger.Record
		dirs    tree
		classes []storagev1.StorageClass
		damaged error
		want    []string // "kind object: part of the problem → part of the remedy"
	}{
		"all is well": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("pvc-2", peers, "team/b"), volumeAt("x", theirs, "their/z"), volumeAt("whole", theirs, "", byHand)},
			records: append(active, record(ledger.Active, "pvc-2", "team/b"), record(ledger.Retained, "pvc-3", "kept"), record(ledger.Archived, "pvc-4", "archived-team-data-pvc-4")),
			dirs:    tree{"a", "team", "team/b", "kept", "archived-team-data-pvc-4", "archived-of-the-peer", "README|file", "their", "their/z", "lost+found"},
			classes: []storagev1.StorageClass{class(map[string]string{"onDelete": "retain"}), {Provisioner: theirs, Parameters: map[string]string{"bogus": "x"}}},
		},
		"mount options with a blank": {classes: []storagev1.StorageClass{{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: ours, MountOptions: []string{"vers=4.1 hard"}}},
			want: []string{`class nfs: mountOptions[0] "vers=4.1 hard" contains a blank`}},
		"a class with mistakes":          {classes: []storagev1.StorageClass{class(map[string]string{"onDelete": "shred", "bogus": "x"})}, want: []string{`class nfs: "shred" is not allowed`}},
		"a missing directory":            {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, records: active, want: []string{`volume pvc-1: its directory "a" is missing (claim team/data)`}},
		"a released volume is going":     {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", released(v1.PersistentVolumeReclaimDelete))}, records: active},
		"a directory that does not tell": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "broken")}, want: []string{"volume pvc-1: its directory cannot be checked: input/output error"}},
		"another server":                 {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", server("old-nas"))}, want: []string{`volume pvc-1: spec.nfs.server "old-nas": this claimdir serves "nas"`}},
		"another path":                   {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "../a")}, want: []string{`volume pvc-1: spec.nfs.path`}},
		"a volume that was adopted inside another's": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "lib/x/a"), volumeAt("lib", "", "lib", byHand)}, records: []ledger.Record{adopted(record(ledger.Active, "pvc-1", "lib/x/a"))}, dirs: tree{"lib", "lib/x", "lib/x/a"},
			want: []string{"overlap pvc-1: its directory \"lib/x/a\" was adopted inside \"lib\", the directory of PersistentVolume lib → claimdir archives the directory"}},
		"a volume that was made inside another's": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "lib/a"), volumeAt("lib", "", "lib", byHand)}, records: []ledger.Record{record(ledger.Active, "pvc-1", "lib/a")}, dirs: tree{"lib", "lib/a"}},
		"a volume that came back after its release": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a")}, records: []ledger.Record{archivedFrom("t/a", "archived-team-data-pvc-1")}, dirs: tree{"archived-team-data-pvc-1"},
			want: []string{`volume pvc-1: its directory "t/a" is missing (claim team/data), and its archive lies at "archived-team-data-pvc-1" → doctor --fix puts the archive back`}},
		"a volume whose archive is of another path": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a")}, records: []ledger.Record{archivedFrom("t/b", "archived-team-data-pvc-1")}, dirs: tree{"archived-team-data-pvc-1"},
			want: []string{`volume pvc-1: its directory "t/a" is missing (claim team/data) → restore the data`}},
		"a volume that waits for its claim, whose archive is there": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a", func(pv *v1.PersistentVolume) { pv.Spec.ClaimRef, pv.Status.Phase = nil, v1.VolumeAvailable })},
			records: []ledger.Record{archivedFrom("t/a", "archived-team-data-pvc-1")}, dirs: tree{"archived-team-data-pvc-1"},
			want: []string{`volume pvc-1: its directory "t/a" is missing (no claim), and its archive lies at → doctor --fix puts the archive back to its place once the PersistentVolume is bound to a claim of namespace team`}},
		"a peer's released volume without record": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", peers, "a", released(v1.PersistentVolumeReclaimDelete))}, dirs: tree{"a"},
			want: []string{"volume pvc-1: directory \"a\" has no record, and no claim is bound to the volume → claimdir/on-delete=retain keeps the directory"}},
		"a peer's volume without record":  {volumes: []v1.PersistentVolume{volumeAt("pvc-1", peers, "a")}, dirs: tree{"a"}, want: []string{"volume pvc-1: directory \"a\" has no record yet"}},
		"our volume without record":       {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, dirs: tree{"a"}, want: []string{"volume pvc-1: directory \"a\" has no record;"}},
		"another one's record":            {volumes: []v1.PersistentVolume{volumeAt("pvc-2", ours, "a"), volumeAt("pvc-1", theirs, "b")}, records: active, dirs: tree{"a"}, want: []string{`volume pvc-2: the record says that directory "a" belongs to volume pvc-1`}},
		"a record without volume":         {records: active, dirs: tree{"a"}, want: []string{"record a: the record says that volume pvc-1 of claim team/data is active, but"}},
		"a volume that is just saved":     {records: []ledger.Record{fresh}, dirs: tree{"a"}},
		"another cluster's record":        {records: []ledger.Record{foreign}, dirs: tree{"a"}},
		"a volume that was never made":    {records: []ledger.Record{record(ledger.Creating, "pvc-1", "a")}, want: []string{"record a: volume pvc-1 of claim team/data was never completed"}},
		"a retained directory is missing": {records: []ledger.Record{record(ledger.Retained, "pvc-1", "a")}, want: []string{"record a: the record says that it is retained, but its directory is missing"}},
		"an archive comes back":           {records: []ledger.Record{record(ledger.Archived, "pvc-1", "archived-a"), restoring}, dirs: tree{"b"}},
		"an archive is missing":           {records: []ledger.Record{record(ledger.Archived, "pvc-1", "archived-a")}, want: []string{"record archived-a: it is archived"}},
		"an archive that should be gone":  {records: []ledger.Record{ended(3*time.Hour, "here")}, dirs: tree{"archived-a"}, want: []string{"record archived-a: this archive of claim team/data should have expired on 20 → claimdir archive purge pvc-1 --cluster here"}},
		"an archive that ends":            {records: []ledger.Record{ended(time.Hour, "here")}, dirs: tree{"archived-a"}},
		"another cluster's that stays":    {records: []ledger.Record{ended(3*time.Hour, "elsewhere")}, dirs: tree{"archived-a"}},
		"an ended archive in use":         {volumes: []v1.PersistentVolume{volumeAt("mine", "", "archived-a", byHand)}, records: []ledger.Record{ended(3*time.Hour, "here")}, dirs: tree{"archived-a"}},
		"a damaged record":                {damaged: fmt.Errorf("%w in a.json", ledger.ErrDamaged), want: []string{"record .claimdir/records: damaged record in a.json → restore the file from a backup"}},
		"a newer record":                  {damaged: errors.New("layout 3"), want: []string{"record .claimdir/records: layout 3 → the version of claimdir that wrote it"}},
		"a directory that is nobody's":    {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a")}, records: []ledger.Record{record(ledger.Active, "pvc-1", "t/a")}, dirs: tree{"t", "t/a", "t/b", "lost", "t/a/inside"}, want: []string{"directory lost: no PersistentVolume", "directory t/b: no PersistentVolume"}},
		"a name that no volume can have":  {dirs: tree{"a\nb"}, want: []string{`directory "a\nb": a volume cannot have this directory`}},
		"a directory that is shut":        {records: []ledger.Record{foreign, {State: ledger.Active, Path: "shut/a"}}, dirs: tree{"a", "shut"}, want: []string{"directory shut: cannot be listed: permission denied"}},
		"the root that is shut":           {dirs: tree{"STALE"}, want: []string{"directory /: cannot be listed: stale file handle"}},
		"a released volume that stays": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", released(v1.PersistentVolumeReclaimRetain))}, records: active,
			want: []string{`volume pvc-1: its directory "a" is missing (released, claim team/data)`}},
		"annotations that do not fit": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", annotated("claimdir/on-delete", "shred"))}, records: active, dirs: tree{"a"},
			want: []string{`volume pvc-1: annotation claimdir/on-delete: "shred" is not allowed → kubectl annotate --overwrite pv pvc-1 claimdir/on-delete=archive (or delete, or retain)`}},
		"an annotation of the path that does not fit": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", annotated("claimdir/path", "b"))}, records: active, dirs: tree{"a"},
			want: []string{`volume pvc-1: annotation claimdir/path is "b" → kubectl annotate --overwrite pv pvc-1 claimdir/path=a`}},
		"a retention that is none": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", annotated("claimdir/archive-retention", "30 days"))}, records: active, dirs: tree{"a"},
			want: []string{`volume pvc-1: annotation claimdir/archive-retention: "30 days" is not allowed → : kubectl annotate --overwrite pv pvc-1 claimdir/archive-retention=30d (or claimdir/archive-retention- to`}},
		"a peer's volume with such a retention": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", peers, "a", annotated("claimdir/archive-retention", "30 days"))}, records: active, dirs: tree{"a"},
			want: []string{`volume pvc-1: annotation claimdir/archive-retention → : kubectl annotate --overwrite pv pvc-1 claimdir/archive-retention=30d (or`}},
		"a path that no volume can have": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "archived-a")}, want: []string{"volume pvc-1: spec.nfs.path → claimdir will refuse its release: set its reclaim policy to Retain"}},
		"no nfs volume at all": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", func(pv *v1.PersistentVolume) { pv.Spec.NFS = nil })},
			want: []string{"volume pvc-1: spec.nfs is missing"}},
		"a record of another cluster under our volume": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, records: []ledger.Record{foreign}, dirs: tree{"a"},
			want: []string{`volume pvc-1: the record says that directory "a" belongs to cluster elsewhere → claimdir/recovered-from=elsewhere`}},
		"a volume that was handed to another claim": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", func(pv *v1.PersistentVolume) { pv.Spec.ClaimRef.Namespace = "other" })}, records: active, dirs: tree{"a"},
			want: []string{"volume pvc-1: it belongs to claim other/data, and its record still names claim team/data → claimdir corrects the record"}},
		"a recovered volume before claimdir's next start": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", annotated("claimdir/recovered-from", "elsewhere"))},
			records: []ledger.Record{foreign}, dirs: tree{"a"}},
		"a volume that lies elsewhere now": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "b")}, records: append(active, record(ledger.Active, "pvc-1", "b")), dirs: tree{"a", "b"},
			want: []string{"record a: the record says that volume pvc-1 of claim team/data is active, but the PersistentVolume of that name has another directory"}},
		"a share with a new server": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", server("old-nas")), volumeAt("pvc-2", ours, "t/b", server("old-nas")), volumeAt("pvc-3", peers, "c", server("old-nas")), volumeAt("pvc-4", ours, "d")},
			records: append(active, record(ledger.Active, "pvc-2", "t/b"), record(ledger.Active, "pvc-3", "c"), record(ledger.Active, "pvc-4", "d")), dirs: tree{"a", "t", "t/b", "c", "d"},
			want: []string{"address old-nas:/export: 3 volumes of old-nas:/export, such as pvc-1, with records on this share, which is nas:/export now → leave their directories and records as they are. If the share has moved here, run claimdir recover --readdress"},
		},
		"a share with a new path": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", path("/srv/nfs/a")), volumeAt("pvc-2", ours, "t/b", path("/export/deeper/t/b"))}, records: append(active, record(ledger.Active, "pvc-2", "t/b")), dirs: tree{"a", "t", "t/b"},
			want: []string{"address nas:/export/deeper: 1 volume of nas:/export/deeper, such as pvc-2", "address nas:/srv/nfs: 1 volume of nas:/srv/nfs, such as pvc-1"},
		},
		"a share with a new server, and a directory that was not copied": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", server("old-nas"))}, records: active,
			want: []string{"address old-nas:/export: 1 volume", `volume pvc-1: its directory "a" is missing on the share → copy the directory`},
		},
		"a record of another cluster, and a volume of that name elsewhere": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a", server("old-nas"))}, records: []ledger.Record{foreign}, dirs: tree{"a"}, want: []string{`volume pvc-1: spec.nfs.server "old-nas"`},
		},
		"a volume that has a PersistentVolume made by hand": {volumes: []v1.PersistentVolume{volumeAt("mine", ours, "a", byHand)}, records: active, dirs: tree{"a"},
			want: []string{"record a: the record says that volume pvc-1 of claim team/data is active, but there is no such PersistentVolume, and PersistentVolume mine has this one → do not remove the directory"}},
		"what others have is not nobody's": {volumes: []v1.PersistentVolume{volumeAt("x", theirs, "t/x/"), volumeAt("y", theirs, "y", byHand)}, dirs: tree{"t", "t/x", "t/x/inside", "y", "t/z"},
			want: []string{"directory t/z: no PersistentVolume"}},
		"records one inside the other": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, records: append(active, elsewhere), dirs: tree{"a", "a/b"},
			want: []string{`overlap a/b: path "a/b" of volume pvc-9 (active) lies inside path "a" of volume pvc-1 (active), by their records → the file .claimdir/records/a%2Fb/pvc-9@`},
		},
		"inside one of another provisioner": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a"), volumeAt("x", theirs, "t"), volumeAt("hand", theirs, "t/a/b", byHand)},
			records: []ledger.Record{record(ledger.Active, "pvc-1", "t/a")}, dirs: tree{"t", "t/a"},
			want: []string{"overlap hand: its directory /export/t/a/b lies inside that of pvc-1", "overlap pvc-1: its directory /export/t/a lies inside that of x → its provisioner removes this one's data"},
		},
		"others among themselves":  {volumes: []v1.PersistentVolume{volumeAt("x", theirs, "t"), volumeAt("y", theirs, "t"), volumeAt("z", theirs, "t/z", byHand)}, dirs: tree{"t", "t/z"}},
		"a server of another name": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("x", theirs, "a", server("nas-2"))}, records: active, dirs: tree{"a"}},
		"doubled": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("pvc-2", theirs, "a")}, records: active, dirs: tree{"a"},
			want: []string{"overlap pvc-2: its directory /export/a is the same as that of pvc-1"},
		},
		"nested, with one between by name": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("pvc-2", theirs, "a/b/c"), volumeAt("pvc-3", theirs, "a-b"), volumeAt("pvc-4", theirs, "a/b")},
			records: active, dirs: tree{"a"},
			want: []string{"overlap pvc-2: its directory /export/a/b/c lies inside that of pvc-1", "overlap pvc-4: its directory /export/a/b lies inside that of pvc-1"},
		},
		"inside one that was made by hand": {
			volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "t/a"), volumeAt("hand", theirs, "t", byHand), volumeAt("elsewhere", ours, "t", server("other"))},
			records: []ledger.Record{record(ledger.Active, "pvc-1", "t/a")}, dirs: tree{"t", "t/a"}, want: []string{"volume elsewhere: spec.nfs.server"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := with(&Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: tt.dirs}, tt.records...)
			site.Lookup = lookup(tt.records)
			if tt.damaged != nil {
				site.Damaged = []error{tt.damaged}
			}
			r := Diagnose(Cluster{Names: []string{ours, peers}, ID: "here", Volumes: tt.volumes, Classes: tt.classes}, site)
			if len(r.Findings) != len(tt.want) {
				t.Fatalf("found %+v, want %q", r.Findings, tt.want)
			}
			for i, f := range r.Findings {
				object, problem, _ := strings.Cut(tt.want[i], ": ")
				problem, remedy, _ := strings.Cut(problem, " → ")
				if f.Kind+" "+f.Object != object || !strings.Contains(f.Problem, problem) || !strings.Contains(f.Remedy, remedy) || f.Remedy == "" {
					t.Errorf("found %+v, want %q", f, tt.want[i])
				}
			}
		})
	}
}

// A volume that came back after its release may have its directory in the trash. What is offered is
// what is carried out: not for a claim of another namespace, and not for half a directory.
func TestADirectoryInTheTrash(t *testing.T) {
	retained := func(pv *v1.PersistentVolume) {
		pv.Status.Phase, pv.Spec.PersistentVolumeReclaimPolicy = v1.VolumeReleased, v1.PersistentVolumeReclaimRetain
	}
	for name, tt := range map[string]struct {
		change func(*v1.PersistentVolume)
		begun  bool
		err    error
		want   string // in the problem and the remedy
		offers bool
	}{
		"whole":                {want: `its directory "t/a" is missing (claim team/data), and lies in the trash at ".claimdir/trash/pvc-1@x-1/volume": the objects came back after the volume was released → doctor --fix puts it back to its place; or, if it is not needed, delete the claim`, offers: true},
		"kept":                 {change: retained, want: `is missing (released, claim team/data), and lies in the trash at → doctor --fix puts it back to its place; or, if it is not needed: kubectl delete pv pvc-1`, offers: true},
		"of another namespace": {change: func(pv *v1.PersistentVolume) { pv.Spec.ClaimRef.Namespace = "other" }, want: `and lies in the trash at → once the PersistentVolume is bound to a claim of namespace team, whose data it is`},
		"half of it":           {begun: true, want: `and what is left of it lies in the trash at ".claimdir/trash/pvc-1@x-1/emptying": claimdir had begun to remove it → restore the data from a backup, or move what is left to "t/a" by hand`},
		"cannot be seen":       {err: errors.New("input/output error"), want: `is missing (claim team/data), and it cannot be seen whether it is in the trash: input/output error → restore the data from a backup`},
	} {
		t.Run(name, func(t *testing.T) {
			pv := volumeAt("pvc-1", ours, "t/a")
			if tt.change != nil {
				tt.change(&pv)
			}
			site := &Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: tree{}, Lookup: lookup(nil)}
			site.Trash = func(pv, cluster string, path volpath.Path) (ledger.Trashed, bool, error) {
				if pv != "pvc-1" || cluster != "here" || path.String() != "t/a" {
					t.Errorf("asked for %s of %s at %s", pv, cluster, path)
				}
				return ledger.Trashed{Own: "pvc-1@x-1", Record: record(ledger.Active, pv, "t/a"), Begun: tt.begun}, tt.err == nil, tt.err
			}
			r := Diagnose(Cluster{ID: "here", Names: []string{ours}, Volumes: []v1.PersistentVolume{pv}}, site)
			if len(r.Findings) != 1 {
				t.Fatal(r.Findings)
			}
			problem, remedy, _ := strings.Cut(tt.want, " → ")
			if f := r.Findings[0]; !strings.Contains(f.Problem, problem) || !strings.Contains(f.Remedy, remedy) || (f.Fix != "") != tt.offers {
				t.Errorf("found %+v, want %q", f, tt.want)
			}
		})
	}
}

// What is under way while doctor looks is no finding: its lists grow old.
func TestWhatIsUnderWay(t *testing.T) {
	now := time.Now()
	archiving := record(ledger.Archived, "pvc-1", "archived-a")
	archiving.Released = &now
	for name, tt := range map[string]struct {
		volumes      []v1.PersistentVolume
		records, now []ledger.Record
		dirs         tree
		lookup       error
	}{
		"a directory that is being made": {now: []ledger.Record{record(ledger.Creating, "pvc-9", "new")}, dirs: tree{"new"}},
		"a volume made since": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")},
			now: []ledger.Record{record(ledger.Active, "pvc-1", "a")}, dirs: tree{"a"}},
		"a volume released since": {records: []ledger.Record{record(ledger.Active, "pvc-1", "a")}},
		"a volume retained since": {records: []ledger.Record{record(ledger.Active, "pvc-1", "a")},
			now: []ledger.Record{record(ledger.Retained, "pvc-1", "a")}, dirs: tree{"a"}},
		"an archive that is being made":       {records: []ledger.Record{archiving}, now: []ledger.Record{archiving}},
		"a volume whose record does not tell": {volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, dirs: tree{"a", "b"}, lookup: ledger.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			site := with(&Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: tt.dirs, Lookup: lookup(tt.now)}, tt.records...)
			if tt.lookup != nil {
				site.Lookup = func(volpath.Path) (ledger.Record, bool, error) { return ledger.Record{}, false, tt.lookup }
			}
			if r := Diagnose(Cluster{ID: "here", Names: []string{ours}, Volumes: tt.volumes}, site); len(r.Findings) > 0 {
				t.Error(r.Findings)
			}
		})
	}
}

// with adds records to a site.
func with(site *Site, records ...ledger.Record) *Site {
	for _, r := range records {
		site.Add(r)
	}
	return site
}

// Retained directories are no findings, and are counted.
func TestRetainedDirectoriesAreCounted(t *testing.T) {
	records := []ledger.Record{record(ledger.Retained, "pvc-1", "a"), record(ledger.Retained, "pvc-2", "b"), record(ledger.Archived, "pvc-3", "archived-c")}
	r := Diagnose(Cluster{ID: "here"}, with(&Site{Dirs: tree{"a", "b", "archived-c"}, Lookup: lookup(records)}, records...))
	var table bytes.Buffer
	if err := r.WriteTable(&table, 0); err != nil || len(r.Findings) > 0 || r.Retained != 2 ||
		!strings.HasSuffix(table.String(), ": 0 findings.\nRetained directories: 2; claimdir archive list --retained lists them.\n") {
		t.Errorf("%v, %+v\n%s", err, r, &table)
	}
}

// What no claim waits for is judged at once. What may be about to come is counted.
func TestYoungRecords(t *testing.T) {
	young := func(state ledger.State, path string) ledger.Record {
		r := record(state, "pvc-1", path)
		r.Created, r.Released = time.Now(), new(time.Now())
		return r
	}
	gone, claimed, silent := func(ledger.Record) error { return nil }, func(ledger.Record) error { return errors.New("claim team/data is there") }, func(ledger.Record) error { return errors.New("timeout") }
	for name, tt := range map[string]struct {
		record   ledger.Record
		dirs     tree
		gone     func(ledger.Record) error
		want     string // the finding, if there is one
		tooYoung int
	}{
		"its claim is gone":                {young(ledger.Active, "a"), tree{"a"}, gone, "the record says that volume pvc-1 of claim team/data is active, but there is no such PersistentVolume", 0},
		"its claim waits":                  {young(ledger.Active, "a"), tree{"a"}, claimed, "", 1},
		"nobody says":                      {young(ledger.Active, "a"), tree{"a"}, silent, "", 1},
		"nobody is asked":                  {young(ledger.Active, "a"), tree{"a"}, nil, "", 1},
		"being made, its claim is gone":    {young(ledger.Creating, "a"), nil, gone, "volume pvc-1 of claim team/data was never completed", 0},
		"being made, its claim waits":      {young(ledger.Creating, "a"), nil, claimed, "", 0},
		"an archive on its way":            {young(ledger.Archived, "archived-a"), nil, claimed, "", 1},
		"an archive":                       {young(ledger.Archived, "archived-a"), tree{"archived-a"}, claimed, "", 0},
		"a retained directory was removed": {young(ledger.Retained, "a"), nil, claimed, "the record says that it is retained, but its directory is missing", 0},
	} {
		t.Run(name, func(t *testing.T) {
			records := []ledger.Record{tt.record}
			r := Diagnose(Cluster{ID: "here", Gone: tt.gone}, with(&Site{Dirs: tt.dirs, Lookup: lookup(records)}, records...))
			if r.TooYoung != tt.tooYoung || (len(r.Findings) > 0) != (tt.want != "") || tt.want != "" && !strings.Contains(r.Findings[0].Problem, tt.want) {
				t.Errorf("too young are %d, want %d; found %+v, want %q", r.TooYoung, tt.tooYoung, r.Findings, tt.want)
			}
			var table, object bytes.Buffer
			if err := errors.Join(r.WriteTable(&table, 0), r.WriteJSON(&object)); err != nil {
				t.Fatal(err)
			}
			says := strings.Contains(table.String(), "Too young to judge: 1 record; look again in a minute.")
			if says != (tt.tooYoung > 0) || !strings.Contains(object.String(), fmt.Sprintf(`"tooYoung": %d`, tt.tooYoung)) {
				t.Errorf("%s\n%s", &table, &object)
			}
		})
	}
}

func TestConfirm(t *testing.T) {
	stays, passed, later := Finding{Kind: "a"}, Finding{Kind: "b"}, Finding{Kind: "c"}
	earlier, again := Report{Findings: []Finding{stays, passed}}, Report{Findings: []Finding{later, stays}, Checked: Checked{Volumes: 2}}
	r := again.Confirm(earlier)
	if !slices.Equal(r.Findings, []Finding{stays}) || r.Checked.Volumes != 2 || len(again.Findings) != 2 || again.Findings[0] != later {
		t.Error(r, again)
	}
}

func TestOtherClustersAreNotChecked(t *testing.T) {
	foreign := record(ledger.Active, "pvc-1", "a")
	foreign.Cluster = "elsewhere"
	kept := record(ledger.Retained, "pvc-2", "b")
	kept.Cluster = "elsewhere"
	ended := record(ledger.Archived, "pvc-3", "archived-c")
	ended.Cluster, ended.Until = "elsewhere", new(time.Now().Add(-3*time.Hour))
	r := Diagnose(Cluster{ID: "here"}, with(&Site{Dirs: tree{"a", "archived-c"}, Lookup: lookup(nil)}, foreign, kept, ended))
	if len(r.NotChecked) != 2 || !strings.Contains(r.NotChecked[0], "1 expired archive of other clusters") || !strings.Contains(r.NotChecked[1], "1 record of volumes of other clusters") || len(r.Findings) != 1 || r.Findings[0].Object != "b" {
		t.Errorf("%+v", r)
	}
}

// TestWithoutAMountTheSourceIsEnough: server and path can be told from a
// workstation.
func TestWithoutAMountTheSourceIsEnough(t *testing.T) {
	c := Cluster{Names: []string{ours}, Volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("pvc-2", ours, "b", func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "old" })}}
	r := Diagnose(c, &Site{Source: share.Source{Server: "nas", Path: "/export"}})
	if len(r.Findings) != 1 || r.Findings[0].Object != "pvc-2" {
		t.Error(r.Findings)
	}
}

func TestWithoutAShareTheClusterIsChecked(t *testing.T) {
	c := Cluster{Names: []string{ours}, Volumes: []v1.PersistentVolume{volumeAt("pvc-1", ours, "a"), volumeAt("pvc-2", ours, "a/b"), volumeAt("pvc-3", ours, "gone")}}
	r := Diagnose(c)
	if len(r.Findings) != 1 || r.Findings[0].Kind != KindOverlap {
		t.Error(r.Findings)
	}
	r.NotChecked = []string{"the share"}
	var table, object bytes.Buffer
	if err := errors.Join(r.WriteTable(&table, 0), r.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); !strings.HasPrefix(text, "KIND     OBJECT  PROBLEM → WHAT TO DO") || !strings.Contains(text, "1 finding.") || !strings.Contains(text, "Not checked: the share") {
		t.Error(text)
	}
	var back Report
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || len(back.Findings) != 1 || back.Findings[0] != r.Findings[0] {
		t.Error(err, object.String())
	}
}

// counted counts the questions that a share is asked.
type counted struct {
	tree  map[string][]share.Entry
	asked *int
}

func (c counted) Exists(volpath.Path) (bool, error) {
	*c.asked++
	return false, nil
}

func (c counted) List(p volpath.Path) ([]share.Entry, error) {
	*c.asked++
	return c.tree[p.String()], nil
}

func TestManyVolumesTakeNoTime(t *testing.T) {
	asked := 0
	c, dirs := Cluster{Names: []string{ours}, ID: "here"}, counted{map[string][]share.Entry{}, &asked}
	site := &Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: dirs, Lookup: lookup(nil)}
	for i := range 50_000 {
		team, name := fmt.Sprint("team-", i%100), fmt.Sprint("claim-", i)
		pv := fmt.Sprint("pvc-", i)
		if i < 100 {
			dirs.tree[""] = append(dirs.tree[""], share.Entry{Name: team, Dir: true})
		}
		dirs.tree[team] = append(dirs.tree[team], share.Entry{Name: name, Dir: true})
		c.Volumes = append(c.Volumes, volumeAt(pv, ours, team+"/"+name),
			volumeAt(fmt.Sprint("hand-", i), theirs, "all", func(v *v1.PersistentVolume) { v.Annotations = nil }))
		site.Add(record(ledger.Active, pv, team+"/"+name))
	}
	begin := time.Now()
	if r := Diagnose(c, site); len(r.Findings) > 0 {
		t.Error(r.Findings)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Error(took)
	}
	if asked != 101 {
		t.Errorf("the share was asked %d times for 101 directories", asked)
	}
}

// Through some PersistentVolumes people look at many volumes; what else is in those
// may be large.
func TestNoVolumeIsListed(t *testing.T) {
	asked := 0
	dirs := counted{map[string][]share.Entry{"": {{Name: "team", Dir: true}}}, &asked}
	c := Cluster{Names: []string{ours}, ID: "here", Volumes: []v1.PersistentVolume{
		volumeAt("pvc-1", ours, "team/a"), volumeAt("hand", theirs, "team", func(v *v1.PersistentVolume) { v.Annotations = nil }),
	}}
	records := []ledger.Record{record(ledger.Active, "pvc-1", "team/a")}
	Diagnose(c, with(&Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: dirs, Lookup: lookup(records)}, records...))
	if asked != 2 {
		t.Errorf("the share was asked %d times, want 2: to list its root, and for pvc-1's directory", asked)
	}
}

func TestTheTableKeepsTheTerminalInOrder(t *testing.T) {
	r := Report{Findings: []Finding{{Kind: KindDirectory, Object: "a\x1b[2J\u009b\nb", Problem: "x", Remedy: "y"}}}
	var table bytes.Buffer
	if err := r.WriteTable(&table, 0); err != nil || !strings.Contains(table.String(), "a?[2J??b") {
		t.Errorf("%v %q", err, table.String())
	}
}

func TestTheTableNamesTheShare(t *testing.T) {
	r := Report{Findings: []Finding{{Kind: KindClass, Object: "nfs", Problem: "x", Remedy: "y"}, {Kind: KindRecord, Object: "a", Share: "fast", Problem: "x", Remedy: "y"}}}
	var table bytes.Buffer
	const want = `KIND    SHARE  OBJECT  PROBLEM → WHAT TO DO
class   -      nfs     x
                       → y
record  fast   a       x
                       → y
`
	if err := r.WriteTable(&table, 0); err != nil || !strings.HasPrefix(table.String(), want) {
		t.Errorf("%v\n%s", err, table.String())
	}
}
