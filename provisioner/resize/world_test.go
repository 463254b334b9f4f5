package resize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// world is a share, its Resizer and an API server with the claim team/data and its volume of 1Gi.
type world struct {
	*sharetest.World
	*Resizer
	t    *testing.T
	name cache.ObjectName

	mu        sync.Mutex
	client    *fake.Clientset
	claim     *v1.PersistentVolumeClaim
	pv        *v1.PersistentVolume
	cached    *v1.PersistentVolume      // if not nil, what the cache still shows
	seen      *v1.PersistentVolumeClaim // if not nil, what the cache still shows
	writes    []string
	fault     func(write int) (lost, refused error) // lost: the answer of a write that was made
	published []string
	room      error   // what Config.Room says
	asked     []int64 // with how many bytes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: sharetest.NewWorld(t), t: t, name: cache.NewObjectName("team", "data"), client: fake.NewClientset()}
	storage := func(size string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
	}
	w.claim = &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data", UID: "uid-1", ResourceVersion: "1"},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pvc-1", Resources: v1.VolumeResourceRequirements{Requests: storage("1Gi")}},
		Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Capacity: storage("1Gi"), AllocatedResources: storage("1Gi")},
	}
	source := sharetest.Source()
	w.pv = &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", UID: "pv-uid", ResourceVersion: "1", Annotations: map[string]string{"claimdir/path": "data", "claimdir/on-delete": "delete"}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: storage("1Gi"), StorageClassName: "nfs", ClaimRef: &v1.ObjectReference{Namespace: "team", Name: "data", UID: "uid-1"},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/data"}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	path := sharetest.PathOf(t, "data")
	w.record(path, ledger.Record{State: ledger.Active, PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"}, Policy: "delete", Size: "1Gi"})
	w.client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		object, err := w.answer(action)
		return true, object, err
	})
	w.start()
	return w
}

// start makes the Resizer of a new process.
func (w *world) start(change ...func(*Config)) {
	config := Config{Keepers: []*access.Keeper{w.Keeper}, Steps: w.Steps, Client: w.client, Objects: w, Live: w.live, Room: w.hasRoom, Tell: w.publish}
	for _, c := range change {
		c(&config)
	}
	w.Resizer = New(config)
	w.now = func() time.Time { return time.Unix(1, 0) }
}

func (w *world) record(path volpath.Path, r ledger.Record) {
	w.t.Helper()
	sharetest.Must(w.t, w.Keeper.Do(w.t.Context(), "record", func(_ ctx, store ledger.Store) error {
		r.Cluster = sharetest.Cluster
		taken, err := store.Records.Take(path, r, false)
		if err != nil {
			return err
		}
		return store.Records.Activate(path, taken, nil)
	}))
}

func (w *world) publish(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
	w.published = append(w.published, fmt.Sprintf("%s %s %s: %s", claim.Name, kind, reason, text))
}

// Growing implements Objects.
func (w *world) Expanding(name cache.ObjectName) (*v1.PersistentVolumeClaim, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	claim := w.claim
	if w.seen != nil {
		claim = w.seen
	}
	if claim == nil || name != w.name {
		return nil, false
	}
	t := next(claim, w.pv)
	return claim.DeepCopy(), t.finish
}

// AllExpanding implements Objects.
func (w *world) AllExpanding() []*v1.PersistentVolumeClaim {
	if claim, grows := w.Expanding(w.name); grows {
		return []*v1.PersistentVolumeClaim{claim}
	}
	return nil
}

// Volume implements Objects.
func (w *world) Volume(name string) (*v1.PersistentVolume, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pv == nil || w.pv.Name != name {
		return nil, false
	}
	if w.cached != nil {
		return w.cached.DeepCopy(), true
	}
	return w.pv.DeepCopy(), true
}

func (w *world) hasRoom(_ *access.Keeper, _ *v1.PersistentVolume, bytes int64) error {
	w.asked = append(w.asked, bytes)
	return w.room
}

func (w *world) live(_ context.Context, name string) (*v1.PersistentVolume, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pv.DeepCopy(), nil
}

// answer is the API server: it patches what the preconditions name, and refuses everything else.
func (w *world) answer(action clienttesting.Action) (runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	patch, is := action.(clienttesting.PatchAction)
	if !is {
		return nil, fmt.Errorf("unexpected %s of %s", action.GetVerb(), action.GetResource().Resource)
	}
	w.writes = append(w.writes, strings.TrimSuffix(action.GetResource().Resource+"/"+action.GetSubresource(), "/"))
	var lost, refused error
	if w.fault != nil {
		lost, refused = w.fault(len(w.writes))
	}
	if refused != nil {
		return nil, refused
	}
	var object runtime.Object
	var err error
	if action.GetResource().Resource == "persistentvolumes" {
		err = apply(w.t, patch, w.pv)
		object = w.pv.DeepCopy()
	} else {
		err = apply(w.t, patch, w.claim)
		object = w.claim.DeepCopy()
	}
	return object, errors.Join(err, lost)
}

// apply is what the API server does with a patch.
func apply[T metav1.Object](t *testing.T, patch clienttesting.PatchAction, object T) error {
	t.Helper()
	var asked struct{ Metadata metav1.ObjectMeta }
	sharetest.Must(t, json.Unmarshal(patch.GetPatch(), &asked))
	if asked.Metadata.UID != object.GetUID() || asked.Metadata.ResourceVersion != object.GetResourceVersion() {
		return apierrors.NewConflict(patch.GetResource().GroupResource(), patch.GetName(), errors.New("the object has been modified"))
	}
	before, err := json.Marshal(object)
	sharetest.Must(t, err)
	if patch.GetPatchType() != types.StrategicMergePatchType && patch.GetPatchType() != types.MergePatchType {
		t.Fatalf("a patch of type %s", patch.GetPatchType())
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch.GetPatch(), object) // for a capacity both types do the same
	sharetest.Must(t, err)
	switch o := any(object).(type) { // Unmarshal would keep what the patch removed
	case *v1.PersistentVolumeClaim:
		*o = v1.PersistentVolumeClaim{}
	case *v1.PersistentVolume:
		*o = v1.PersistentVolume{}
	}
	sharetest.Must(t, json.Unmarshal(after, object))
	version, err := strconv.Atoi(object.GetResourceVersion())
	sharetest.Must(t, err)
	object.SetResourceVersion(strconv.Itoa(version + 1))
	return nil
}

// request is what the user changes.
func (w *world) request(size string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claim.Spec.Resources.Requests = v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
	version, err := strconv.Atoi(w.claim.ResourceVersion)
	sharetest.Must(w.t, err)
	w.claim.ResourceVersion = strconv.Itoa(version + 1)
}

// pass makes one pass over the claim.
func (w *world) pass() error { return w.expand(w.t.Context(), w.lanes[0], w.name) }

// complete checks that everything says size, and nothing of an expansion any more.
func (w *world) complete(size string) {
	w.t.Helper()
	want := resource.MustParse(size)
	for what, list := range map[string]v1.ResourceList{
		"the PersistentVolume": w.pv.Spec.Capacity, "the claim's capacity": w.claim.Status.Capacity, "what is allocated": w.claim.Status.AllocatedResources,
	} {
		if got := list[v1.ResourceStorage]; got.Cmp(want) != 0 {
			w.t.Errorf("%s is %s, want %s", what, got.String(), size)
		}
	}
	if w.recorded() != size {
		w.t.Errorf("the record says %s, want %s", w.recorded(), size)
	}
	if claim, grows := w.Expanding(w.name); grows {
		w.t.Errorf("the claim still grows: %+v", claim.Status)
	}
}

func (w *world) recorded() (size string) {
	w.t.Helper()
	path := sharetest.PathOf(w.t, "data")
	sharetest.Must(w.t, w.Keeper.Do(w.t.Context(), "read", func(_ ctx, store ledger.Store) error {
		r, _, err := store.Records.Own(path, "pvc-1", sharetest.Cluster)
		size = r.Size
		return err
	}))
	return size
}
