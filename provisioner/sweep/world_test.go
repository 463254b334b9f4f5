package sweep

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

const ours = "example.com/nfs"

// world is a real share, a cluster, and a Sweeper that looks at both.
type world struct {
	*sharetest.World
	*Sweeper

	steps    *steps.Steps
	client   *fake.Clientset
	contents []doctor.Content

	mu      sync.Mutex
	reports []sharetest.Report // of the Sweeper and of its steps
}

func newWorld(t *testing.T, grace time.Duration) *world {
	t.Helper()
	w := &world{World: sharetest.NewWorld(t), client: fake.NewClientset()}
	w.begin(grace)
	return w
}

// start is a new process in the place of one that was killed.
func (w *world) start(t *testing.T, grace time.Duration) {
	t.Helper()
	w.Restart(t)
	w.begin(grace)
}

func (w *world) begin(grace time.Duration) {
	w.steps = steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: cached{w}, Namespace: w.namespace, Volume: w.Seen.Volume, Report: w.report})
	w.Sweeper = New(Config{
		Keeper: w.Keeper, Client: w.client, Names: []string{ours}, Interval: time.Hour, Grace: grace, Steps: w.steps, Objects: cached{w}, Volume: cached{w}.volume, VolumesThat: cached{w}.volumesThat, Report: w.report,
		Contents: func() []doctor.Content { return w.contents },
	})
	w.settle = time.Millisecond
}

// namespace asks as the controller does. Tests that have no namespaces are about something else.
func (w *world) namespace(ctx context.Context, claim ledger.Claim) (string, error) {
	uid, err := w.live.Namespace(ctx, claim)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return uid, err
}

func (w *world) report(_ context.Context, r ledger.Record, reason, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, sharetest.Report{PV: r.PV, Reason: reason, Text: text})
}

// provisioner is what the library calls.
func (w *world) provisioner() *provisioner.Provisioner {
	return provisioner.New(w.steps, cached{w}, w.Keeper).Provisioners()[0]
}

// cached is what informers know of the cluster.
type cached struct{ *world }

func (cached) Synced() bool { return true }

func (cached) EachSize(string, string, func(string, int64)) {}

func (cached) UnboundClaim(string, string) (*v1.PersistentVolumeClaim, bool) { return nil, false }

func (cached) Class(string) (*storage.StorageClass, bool) { return nil, false }

func (c cached) Volumes(string) iter.Seq[*v1.PersistentVolume] {
	var all []*v1.PersistentVolume
	for _, pv := range c.volumes() {
		if (pvs.Names{ours}).Serve(&pv) {
			all = append(all, &pv)
		}
	}
	return slices.Values(all)
}

func (c cached) volumesThat(wanted func(name, export string) bool) iter.Seq[*v1.PersistentVolume] {
	return func(yield func(*v1.PersistentVolume) bool) {
		for pv := range c.Volumes("") {
			if pv.Spec.NFS != nil && wanted(pv.Name, pv.Spec.NFS.Path) && !yield(pv) {
				return
			}
		}
	}
}

func (c cached) volume(name string) (*v1.PersistentVolume, bool) {
	for pv := range c.Volumes("") {
		if pv.Name == name {
			return pv, true
		}
	}
	return nil, false
}

func (c cached) Overlapping(server, export string) (all []*v1.PersistentVolume) {
	for _, pv := range c.volumes() {
		if (pvs.Names{ours}).Overlap(&pv, server, export) {
			all = append(all, &pv)
		}
	}
	return all
}

func (cached) Above(_, _ string) []*v1.PersistentVolume { return nil }

func (c cached) Bound(name string) bool {
	return slices.ContainsFunc(c.volumes(), func(pv v1.PersistentVolume) bool { return pv.Name == name && pv.Status.Phase == v1.VolumeBound })
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

// volume saves a PersistentVolume that is bound.
func (w *world) volume(t *testing.T, name, path string) {
	t.Helper()
	source := sharetest.Source()
	must(t, w.client.Tracker().Add(&v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": ours, "claimdir/path": path, "claimdir/on-delete": "archive"}},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:               &v1.ObjectReference{Namespace: "ns", Name: "data", UID: types.UID("uid-" + name)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/" + path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}))
}

// earlier is an earlier address of the share.
var earlier = share.Source{Server: "earlier", Path: "/earlier"}

// readdress lets PersistentVolumes name an earlier address of the share.
func (w *world) readdress(t *testing.T, names ...string) {
	t.Helper()
	for _, pv := range w.volumes() {
		if slices.Contains(names, pv.Name) {
			pv.Spec.NFS.Server, pv.Spec.NFS.Path = earlier.Server, earlier.Path+"/"+pv.Annotations["claimdir/path"]
			must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
		}
	}
}

// record writes one that is two hours old, for claim "ns/data". It does not say which
// directory it is: see identify.
func (w *world) record(t *testing.T, state ledger.State, pv, path string, change ...func(*ledger.Record)) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	r := ledger.Record{
		Layout: ledger.Layout, State: state, Path: path, PV: pv, Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-" + pv},
		Cluster: sharetest.Cluster, Created: old, Mode: "0777", Policy: "delete",
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
	file := w.Dir + "/" + ledger.File(sharetest.PathOf(t, r.Path), r)
	data, err := json.Marshal(r)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, data, 0o600))
}

// identify lets each complete record say which directory it is, if that is there.
func (w *world) identify(t *testing.T) {
	t.Helper()
	dirs := w.Store(t).Dirs
	for _, r := range w.readRecords(t) {
		id, err := dirs.Identify(sharetest.PathOf(t, r.Path))
		if err == nil && r.State != ledger.Creating {
			r.Directory = id
			w.writeRecord(t, r)
		}
	}
}

func (w *world) readRecords(t *testing.T) (all []ledger.Record) {
	t.Helper()
	for r, err := range w.Store(t).Records.Records() {
		must(t, err)
		all = append(all, r)
	}
	return all
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
	sharetest.Must(t, err)
}
