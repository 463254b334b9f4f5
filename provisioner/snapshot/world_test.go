package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/sharetest"
)

const driver = "claimdir/nfs"

// world is a share with the volume of claim team/data, an API server, and a Snapshotter. The snapshot-controller is played by the test.
type world struct {
	*onShare
	*Snapshotter

	api *api

	mu      sync.Mutex
	claims  map[string]*v1.PersistentVolumeClaim
	pvs     map[string]*v1.PersistentVolume
	told    []string
	reading string // a claim that is restored
	stop    func()
	// later is by how much the clock of the process is ahead, a time.Duration.
	later atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{onShare: newOnShare(t), api: newAPI(t)}
	source := sharetest.Source()
	size := v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}
	w.claims = map[string]*v1.PersistentVolumeClaim{"team/data": {
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data", UID: "uid-1"},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pvc-1"},
		Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Conditions: []v1.PersistentVolumeClaimCondition{
			{Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue},
		}},
	}}
	w.pvs = map[string]*v1.PersistentVolume{"pvc-1": {
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", Annotations: map[string]string{"claimdir/path": "data", "claimdir/on-delete": "delete"}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: size, ClaimRef: &v1.ObjectReference{Namespace: "team", Name: "data", UID: "uid-1"},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/data"}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}}
	w.api.set("volumesnapshotclasses", "", object{"metadata": object{"name": "nfs"}, "driver": driver, "deletionPolicy": "Delete"})
	w.begin()
	return w
}

// begin starts the process; end, and a later begin, a new one.
func (w *world) begin() {
	w.t.Helper()
	client, err := snapshots.NewClient(&rest.Config{Host: w.api.URL, QPS: -1})
	sharetest.Must(w.t, err)
	jobs := copies.New(copies.Config{AtOnce: 2, Workers: 2})
	s := New(Config{
		Keepers: []*access.Keeper{w.Keeper}, Steps: w.Steps, Names: []string{driver}, Client: client, Caches: snapshots.NewCaches(client, []string{driver}),
		Cluster: w, Copies: jobs, Reading: w.isReading, Tell: w.tell,
	})
	s.now = func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }
	w.Snapshotter = s
	ctx, end := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	all.Go(func() { jobs.Run(ctx) })
	all.Go(func() { s.Run(ctx) })
	w.stop = func() {
		end()
		all.Wait()
	}
	w.t.Cleanup(w.stop)
}

func (w *world) Volume(name string) (*v1.PersistentVolume, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pv, found := w.pvs[name]
	return pv, found
}

func (w *world) VolumeNow(_ context.Context, name string) (*v1.PersistentVolume, error) {
	pv, _ := w.Volume(name)
	return pv, nil
}

func (w *world) Claim(_ context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.claims[namespace+"/"+name], nil
}

func (w *world) Namespace(_ context.Context, name string) (string, error) {
	return "ns-of-" + name, nil
}

func (w *world) isReading(namespace, name string, size resource.Quantity, _ time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if namespace != "team" || name != "now" || size.Value() != 1<<30 {
		return ""
	}
	return w.reading
}

func (w *world) tell(of *v1.ObjectReference, kind, reason, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf("%s %s/%s %s %s: %s", of.Kind, of.Namespace, of.Name, kind, reason, text))
}

// eventually waits until what holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Fatalf("it does not come true that %s; told: %q", what, w.told)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) wasTold(parts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("people are told %q", parts), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.told, func(line string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
		})
	})
}

// snapshot makes a VolumeSnapshot of team/data, and returns the name of its content.
func (w *world) snapshot(name string) (content string) {
	w.t.Helper()
	return "snapcontent-" + w.api.set("volumesnapshots", "team", object{
		"metadata": object{"name": name}, "spec": object{"volumeSnapshotClassName": "nfs", "source": object{"persistentVolumeClaimName": "data"}},
	})
}

// ready waits until a content is ready, and binds its VolumeSnapshot, as the snapshot-controller does.
func (w *world) ready(name, content string) object {
	w.t.Helper()
	w.eventually(content+" is ready", func() bool {
		return at(w.api.get("volumesnapshotcontents", "", content), "status", "readyToUse") == true
	})
	w.api.edit("volumesnapshots", "team", name, object{"status": object{"boundVolumeSnapshotContentName": content, "readyToUse": true}})
	w.eventually("the cache has it", func() bool {
		cached, found := w.config.Caches.Content(content)
		bound, also := w.config.Caches.Snapshot("team", name)
		return found && also && cached.IsReady() && bound.Status != nil
	})
	return w.api.get("volumesnapshotcontents", "", content)
}

// delete deletes a VolumeSnapshot and its content, as the API server and the snapshot-controller do for the policy Delete.
func (w *world) delete(name, content string) {
	w.t.Helper()
	now := metav1.Now().UTC().Format(time.RFC3339)
	w.api.edit("volumesnapshots", "team", name, object{"metadata": object{"deletionTimestamp": now, "finalizers": []any{"x"}}})
	w.api.edit("volumesnapshotcontents", "", content, object{"metadata": object{"deletionTimestamp": now, "annotations": object{snapshots.AnnotationBeingDeleted: "yes"}}})
}

func (w *world) contentGone(content string) {
	w.t.Helper()
	w.eventually(content+" is gone", func() bool { return w.api.get("volumesnapshotcontents", "", content) == nil })
}

// at returns a field of an object.
func at(o object, path ...string) any {
	var value any = o
	for _, key := range path {
		below, _ := value.(object)
		value = below[key]
	}
	return value
}

var errTest = errors.New("the test says so")
