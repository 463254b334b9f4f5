package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const ours, clusterID = "example.com/nfs", "cluster-1"

var source = share.Source{Server: "nfs.example.com", Path: "/export"}

// world is a real share, a cluster, and a Sweeper that looks at both.
type world struct {
	*Sweeper

	dir    string
	client *fake.Clientset
}

func newWorld(t *testing.T, grace time.Duration) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), client: fake.NewClientset()}
	w.start(t, grace)
	return w
}

// start is a new process in the place of one that was killed.
func (w *world) start(t *testing.T, grace time.Duration) {
	t.Helper()
	k := keeper.New(keeper.Config{
		Mount: share.Mount{Dir: w.dir, Source: source}, NewID: "share-1", Timeout: 20 * time.Second, Slots: 2,
		Changed: func() {}, Known: func() ([]volpath.Path, bool) { return nil, true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go k.Run(ctx)
	must(t, k.WaitReady(t.Context()))
	w.Sweeper = New(Config{
		Keeper: k, Client: w.client, Names: []string{ours}, Cluster: clusterID, Interval: time.Hour, Grace: grace,
		Shares: provisioner.New(clusterID, cached{w}, provisioner.SiteOf(k)),
	})
	w.settle = time.Millisecond
}

// cached is what informers know of the cluster.
type cached struct{ *world }

func (cached) Synced() bool { return true }

func (cached) Class(string) (*storage.StorageClass, bool) { return nil, false }

func (c cached) Volumes() (all []*v1.PersistentVolume) {
	for _, pv := range c.volumes() {
		all = append(all, &pv)
	}
	return all
}

func (c cached) Overlapping(server, export string) (all []*v1.PersistentVolume) {
	for _, pv := range c.volumes() {
		if (pvs.Names{ours}).Overlap(&pv, server, export) {
			all = append(all, &pv)
		}
	}
	return all
}

// volumes asks the tracker itself, whatever the API server answers.
func (w *world) volumes() []v1.PersistentVolume {
	list, err := w.client.Tracker().List(v1.SchemeGroupVersion.WithResource("persistentvolumes"), v1.SchemeGroupVersion.WithKind("PersistentVolume"), "")
	if err != nil {
		return nil
	}
	return list.(*v1.PersistentVolumeList).Items
}

// options are those of a claim in namespace "ns"; the claim's UID is "uid-" and
// the PersistentVolume's name.
func options(claim, pv string, params map[string]string) controller.ProvisionOptions {
	return controller.ProvisionOptions{
		PVName:       pv,
		StorageClass: &storage.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Parameters: params},
		PVC:          newClaim(claim, pv),
	}
}

func newClaim(name, pv string) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + pv)},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func (w *world) claim(t *testing.T, name, pv string) {
	t.Helper()
	must(t, w.client.Tracker().Add(newClaim(name, pv)))
}

// volume saves a PersistentVolume.
func (w *world) volume(t *testing.T, name, path string) {
	t.Helper()
	must(t, w.client.Tracker().Add(&v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": ours, "claimdir/path": path, "claimdir/on-delete": "archive"}},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:               &v1.ObjectReference{Namespace: "ns", Name: "data", UID: types.UID("uid-" + name)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/" + path}},
		},
	}))
}

// record writes one that is two hours old, for claim "ns/data".
func (w *world) record(t *testing.T, state ledger.State, pv, path string, change ...func(*ledger.Record)) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	r := ledger.Record{
		Layout: 1, State: state, Path: path, PV: pv, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-" + pv},
		Cluster: clusterID, Created: old, Mode: "0777", Policy: "delete",
	}
	if state == ledger.Retained || state == ledger.Archived {
		r.Released = &old
	}
	for _, c := range change {
		c(&r)
	}
	w.writeRecord(t, r)
}

func (w *world) writeRecord(t *testing.T, r ledger.Record) {
	t.Helper()
	p, err := volpath.ParseRecorded(r.Path)
	must(t, err)
	data, err := json.Marshal(r)
	must(t, err)
	must(t, os.WriteFile(w.dir+"/"+ledger.FileOf(p), data, 0o600))
}

// tree makes directories (names that end in "/") and files on the share.
func (w *world) tree(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, os.MkdirAll(filepath.Dir(w.dir+"/"+name), 0o755))
		if !strings.HasSuffix(name, "/") {
			must(t, os.WriteFile(w.dir+"/"+name, []byte("content"), 0o640))
		}
	}
}

func (w *world) readRecords(t *testing.T) (all []ledger.Record) {
	t.Helper()
	found, err := w.read(t.Context())
	must(t, err)
	if len(found.damaged) > 0 {
		t.Error(found.damaged)
	}
	return found.good
}

// holds compares the directories and files on the share, and "path = volume state"
// of the records.
func (w *world) holds(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	must(t, filepath.WalkDir(w.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == w.dir {
			return err
		}
		if entry.Name() == ".claimdir" {
			return fs.SkipDir
		}
		got = append(got, strings.TrimPrefix(name, w.dir+"/"))
		return nil
	}))
	for _, r := range w.readRecords(t) {
		got = append(got, fmt.Sprintf("%s = %s %s", r.Path, r.PV, r.State))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the share holds\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// told compares what the last pass found, as "kind object".
func (w *world) told(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, f := range w.findings {
		got = append(got, f.Kind+" "+f.Object)
	}
	if !slices.Equal(got, want) {
		t.Errorf("it tells of %q, want %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
