package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// mending is a share and a cluster for doctor --fix.
type mending struct {
	dir    string
	client *fake.Clientset
}

func newMending(t *testing.T) *mending {
	t.Helper()
	m := &mending{t.TempDir(), fake.NewClientset(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}})}
	s, err := share.Open(m.dir)
	if err == nil {
		_, err = ledger.Open(s, "id")
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// record writes one that is two hours old, and makes these files ("name/" for a directory).
func (m *mending) record(t *testing.T, state ledger.State, path string, files []string, change ...func(*ledger.Record)) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	r := ledger.Record{Layout: ledger.Layout, State: state, Path: path, PV: "pvc-1", Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-1"}, Cluster: "here", Created: old, Released: &old, Mode: "0777"}
	for _, c := range change {
		c(&r)
	}
	p, err := volpath.ParseRecorded(path)
	data, jsonErr := json.Marshal(r)
	if err = errors.Join(err, jsonErr); err == nil {
		file := m.dir + "/" + ledger.File(p, r)
		err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600))
	}
	for _, name := range files {
		err = errors.Join(err, os.MkdirAll(m.dir+"/"+filepath.Dir(name), 0o755))
		if !strings.HasSuffix(name, "/") {
			err = errors.Join(err, os.WriteFile(m.dir+"/"+name, nil, 0o644))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *mending) entries(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(m.dir, func(name string, entry fs.DirEntry, err error) error {
		name = strings.TrimPrefix(name, m.dir+"/")
		if record, is := strings.CutPrefix(name, ".claimdir/records/"); is && !entry.IsDir() {
			names = append(names, filepath.Dir(record)+".json")
		} else if name != m.dir && !strings.HasPrefix(name, ".claimdir") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestFix(t *testing.T) {
	elsewhere := func(r *ledger.Record) { r.Cluster = "elsewhere" }
	adopted := func(r *ledger.Record) { r.Adopted = true }
	const archive = "archived-ns-data-pvc-1"
	archived := []string{archive, archive + ".json", archive + "/file"}
	for name, tt := range map[string]struct {
		set    func(t *testing.T, m *mending)
		before func(t *testing.T, m *mending) // the question is answered
		answer string
		yes    bool
		want   []string
		says   string
		fails  error
	}{
		"an empty directory":           {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, answer: "y\n", says: "removed the record, and the empty directory"},
		"no directory":                 {set: func(t *testing.T, m *mending) { m.record(t, ledger.Creating, "a", nil) }, answer: "Yes\n", says: "[y/N] removed"},
		"with content":                 {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/file"}) }, answer: "y\n", want: archived, says: "archived the directory as " + archive},
		"never completed":              {set: func(t *testing.T, m *mending) { m.record(t, ledger.Creating, "a", []string{"a/file"}) }, yes: true, want: archived},
		"adopted and empty":            {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}, adopted) }, yes: true, want: archived[:2]},
		"no":                           {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, answer: "n\n", want: []string{"a", "a.json"}, says: "not fixed"},
		"no answer":                    {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, want: []string{"a", "a.json"}, fails: errNoAnswer},
		"half an answer":               {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, answer: "y", want: []string{"a", "a.json"}, fails: errNoAnswer},
		"a retained one is missing":    {set: func(t *testing.T, m *mending) { m.record(t, ledger.Retained, "a", nil) }, yes: true, says: "removed the record"},
		"an archive is missing":        {set: func(t *testing.T, m *mending) { m.record(t, ledger.Archived, archive, nil) }, yes: true},
		"another cluster's is missing": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Retained, "a", nil, elsewhere) }, yes: true, want: []string{"a.json"}},
		"a directory of nobody": {set: func(t *testing.T, m *mending) {
			if err := os.Mkdir(m.dir+"/a", 0o755); err != nil {
				t.Fatal(err)
			}
		}, yes: true, want: []string{"a"}},
		"a claim of that name came": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Creating, "a", []string{"a/"}) }, before: func(t *testing.T, m *mending) {
			if err := m.client.Tracker().Add(&v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "uid-2"}}); err != nil {
				t.Fatal(err)
			}
		}, yes: true, want: []string{"a", "a.json"}, says: "cannot fix it: it may be needed: claim ns/data is there"},
		"a volume came": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, before: func(t *testing.T, m *mending) {
			if err := m.client.Tracker().Add(handMade("/export/a")); err != nil {
				t.Fatal(err)
			}
		}, yes: true, want: []string{"a", "a.json"}, says: "cannot fix it: PersistentVolume by-hand uses the directory"},
		"the cluster does not answer": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, before: func(_ *testing.T, m *mending) {
			m.client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("timeout") })
		}, yes: true, want: []string{"a", "a.json"}, says: "cannot fix it: list volumes: timeout"},
		"another volume's by now": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, before: func(t *testing.T, m *mending) {
			if err := os.RemoveAll(m.dir + "/.claimdir/records/a"); err != nil {
				t.Fatal(err)
			}
			m.record(t, ledger.Active, "a", nil, func(r *ledger.Record) { r.PV = "pvc-2" })
		}, yes: true, want: []string{"a", "a.json"}, says: "cannot fix it: the record belongs to volume pvc-2 now"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMending(t)
			tt.set(t, m)
			o := doctorOptions{options: options{provisionerName: doctored, mountPath: m.dir, nfsServer: "nas", nfsPath: "/export"}, fix: true, yes: tt.yes}
			report, err := examine(t.Context(), o.options, m.client)
			if err != nil || len(report.Findings) != 1 {
				t.Fatal(report, err)
			}
			if tt.before != nil {
				tt.before(t, m)
			}
			var says bytes.Buffer
			std := streams{in: strings.NewReader(tt.answer), out: &says, err: &says, terminal: true}
			if err := fixAll(t.Context(), o, m.client, report.Findings, std); !errors.Is(err, tt.fails) {
				t.Error(err)
			}
			if got := m.entries(t); !slices.Equal(got, tt.want) || !strings.Contains(says.String(), tt.says) || (says.Len() > 0) != (report.Findings[0].Fix != "") {
				t.Errorf("the share holds %q, want %q; it says %s", got, tt.want, &says)
			}
		})
	}
}

// What doctor offers, it does: the finding is gone afterwards. What it would refuse, it does not offer.
func TestWhatIsOfferedIsDone(t *testing.T) {
	young := func(r *ledger.Record) { r.Created, r.Released = time.Now(), new(time.Now()) }
	claim := func(uid types.UID) runtime.Object {
		return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: uid}}
	}
	volume := func(name, path string, phase v1.PersistentVolumePhase) runtime.Object {
		return &v1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": doctored, "claimdir/path": path, "claimdir/on-delete": "delete"}},
			Spec: v1.PersistentVolumeSpec{
				PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete, Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
				ClaimRef:               &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-1"},
				PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/export/" + path}},
			},
			Status: v1.PersistentVolumeStatus{Phase: phase},
		}
	}
	inTrash := ".claimdir/trash/" + volpath.Trash("pvc-1", "here", 1)
	trashed := func(t *testing.T, m *mending) {
		t.Helper()
		m.record(t, ledger.Active, "a", []string{inTrash + "/volume/file"})
		p, err := volpath.Parse("a")
		file := m.dir + "/" + ledger.File(p, ledger.Record{PV: "pvc-1", Cluster: "here"})
		if err = errors.Join(err, os.Rename(file, m.dir+"/"+inTrash+"/record.json"), os.Remove(filepath.Dir(file))); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		set     func(t *testing.T, m *mending)
		objects []runtime.Object
		offers  bool
		left    []string
	}{
		"a lost volume":                        {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, offers: true},
		"a young one":                          {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}, young) }, offers: true},
		"a young one that was never completed": {set: func(t *testing.T, m *mending) { m.record(t, ledger.Creating, "a", []string{"a/"}, young) }, offers: true},
		"a claim of that name waits":           {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, objects: []runtime.Object{claim("uid-2")}, left: []string{"a", "a.json"}},
		"its claim is lost":                    {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/"}) }, objects: []runtime.Object{claim("uid-1")}, left: []string{"a", "a.json"}},
		"a volume lies below":                  {set: func(t *testing.T, m *mending) { m.record(t, ledger.Active, "a", []string{"a/b/"}) }, objects: []runtime.Object{handMade("/export/a/b")}, left: []string{"a", "a.json", "a/b"}},
		"a retained directory is missing":      {set: func(t *testing.T, m *mending) { m.record(t, ledger.Retained, "a", nil, young) }, offers: true},
		"one that a volume needs is missing":   {set: func(t *testing.T, m *mending) { m.record(t, ledger.Retained, "a", nil) }, objects: []runtime.Object{volume("pvc-1", "a", v1.VolumeBound)}, left: []string{"a.json"}},
		"an archive of a volume that is back": {set: func(t *testing.T, m *mending) {
			m.record(t, ledger.Archived, "archived-ns-data-pvc-1", []string{"archived-ns-data-pvc-1/file"}, func(r *ledger.Record) {
				r.Origin, r.Policy, r.Size = "a", "archive", "1Gi"
			})
		}, objects: []runtime.Object{volume("pvc-1", "a", v1.VolumeBound), claim("uid-1")}, offers: true, left: []string{"a", "a.json", "a/file"}},
		"a directory in the trash of a volume that is back": {set: trashed, objects: []runtime.Object{volume("pvc-1", "a", v1.VolumeBound), claim("uid-1")}, offers: true, left: []string{"a", "a.json", "a/file"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMending(t)
			tt.set(t, m)
			for _, object := range tt.objects {
				if err := m.client.Tracker().Add(object); err != nil {
					t.Fatal(err)
				}
			}
			o := doctorOptions{options: options{provisionerName: doctored, mountPath: m.dir, nfsServer: "nas", nfsPath: "/export"}, fix: true, yes: true, output: "table"}
			report, err := examine(t.Context(), o.options, m.client)
			if err != nil || len(report.Findings) == 0 {
				t.Fatal(report, err)
			}
			offered := slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Fix != "" })
			var says bytes.Buffer
			if err := fixAll(t.Context(), o, m.client, report.Findings, streams{out: &says, err: &says}); err != nil {
				t.Error(err)
			}
			after, err := examine(t.Context(), o.options, m.client)
			if err != nil || offered != tt.offers || offered && len(after.Findings) > 0 {
				t.Errorf("%v: it offers a fix: %v, of %+v\n%s\nand then finds %+v", err, offered, report.Findings, &says, after.Findings)
			}
			if got := m.entries(t); !slices.Equal(got, tt.left) {
				t.Errorf("left are %q, want %q; it says %s", got, tt.left, &says)
			}
		})
	}
}

// handMade is a PersistentVolume that no provisioner made.
func handMade(export string) *v1.PersistentVolume {
	return &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Spec: v1.PersistentVolumeSpec{
		PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: export}}}}
}

// TestFixReportsWhatIsLeft: of two findings one is mended; the other decides on the
// exit code.
func TestFixReportsWhatIsLeft(t *testing.T) {
	m := newMending(t)
	m.record(t, ledger.Active, "a", []string{"a/", "nobodys/"})
	o := doctorOptions{options: options{provisionerName: doctored, mountPath: m.dir, nfsServer: "nas", nfsPath: "/export"}, fix: true, output: "json"}
	var out, says bytes.Buffer
	if err := diagnose(t.Context(), o, m.client, streams{in: strings.NewReader("y\n"), out: &out, err: &says, terminal: true}); err == nil || !strings.Contains(err.Error(), "doctor found 1 problem") {
		t.Error(err)
	}
	var report doctor.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Findings) != 1 || report.Findings[0].Object != "nobodys" || report.Findings[0].Fix != "" {
		t.Errorf("%v: %s", err, &out)
	}
	if err := os.Remove(m.dir + "/nobodys"); err != nil {
		t.Fatal(err)
	}
	m.record(t, ledger.Retained, "b", nil)
	o.output, o.yes = "table", true
	out.Reset()
	if err := diagnose(t.Context(), o, m.client, streams{in: strings.NewReader("y\n"), out: &out, err: &says}); err != nil || !strings.Contains(out.String(), "doctor --fix") || !strings.Contains(out.String(), ": 0 findings.") {
		t.Errorf("%v: %s", err, &out)
	}
}

// Several questions have one reader, and without a terminal nothing is asked.
func TestFixAsksForEach(t *testing.T) {
	m := newMending(t)
	for _, path := range []string{"a", "b", "c"} {
		m.record(t, ledger.Retained, path, nil)
	}
	o := doctorOptions{options: options{provisionerName: doctored, mountPath: m.dir, nfsServer: "nas", nfsPath: "/export"}, fix: true, output: "table"}
	var says bytes.Buffer
	if err := diagnose(t.Context(), o, m.client, streams{in: strings.NewReader("y\n"), out: io.Discard, err: &says}); !errors.Is(err, errNoTerminal) || strings.Contains(says.String(), "[y/N]") {
		t.Errorf("%v: %s", err, &says)
	}
	_ = diagnose(t.Context(), o, m.client, streams{in: strings.NewReader("y\nn\ny\n"), out: io.Discard, err: &says, terminal: true})
	if got := m.entries(t); !slices.Equal(got, []string{"b.json"}) {
		t.Errorf("left are %q: %s", got, &says)
	}
}

// A share that cannot be used is a finding, and holds nothing on the others up.
func TestFixOfTheSharesThatCanBeUsed(t *testing.T) {
	m := newMending(t)
	shares := t.TempDir()
	if err := errors.Join(os.Rename(m.dir, shares+"/good"), os.Mkdir(shares+"/other", 0o755)); err != nil {
		t.Fatal(err)
	}
	m.dir = shares + "/good"
	m.record(t, ledger.Retained, "a", nil)
	o := doctorOptions{options: options{provisionerName: doctored, mountPath: shares, nfsServer: "good=nas,other=nas2", nfsPath: "good=/a,other=/b"}, fix: true, yes: true, output: "table"}
	var says bytes.Buffer
	err := diagnose(t.Context(), o, m.client, streams{out: io.Discard, err: &says})
	if got := m.entries(t); len(got) > 0 || err == nil || !strings.Contains(err.Error(), "doctor found 1 problem") {
		t.Errorf("left are %q, %v: %s", got, err, &says)
	}
}
