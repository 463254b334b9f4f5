package resize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

type ctx = context.Context

// others are conditions that belong to others.
func others() []v1.PersistentVolumeClaimCondition {
	return []v1.PersistentVolumeClaimCondition{
		{Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue, Reason: "NoPods", LastTransitionTime: metav1.Unix(9, 0)},
		{Type: "example.com/backup", Status: v1.ConditionFalse, Message: "at night"},
	}
}

func TestAnExpansionIsThreeWrites(t *testing.T) {
	w := newWorld(t)
	w.claim.Status.Conditions = others()
	w.request("5Gi")
	sharetest.Must(t, w.pass())
	w.complete("5Gi")
	if want := []string{"persistentvolumeclaims/status", "persistentvolumes", "persistentvolumeclaims/status"}; !slices.Equal(w.writes, want) {
		t.Errorf("wrote %q", w.writes)
	}
	if got := w.claim.Status.Conditions; fmt.Sprint(got) != fmt.Sprint(others()) {
		t.Errorf("the conditions of others are %v", got)
	}
	if len(w.published) != 1 || !strings.Contains(w.published[0], "Normal VolumeResizeSuccessful: the volume has 5Gi now") {
		t.Errorf("told %q", w.published)
	}
}

// Between the writes the API server shows what Kubernetes' own tests look for.
func TestEachStepIsSeen(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.fault = func(write int) (error, error) { // the first write is made, the second is not
		return nil, map[int]error{2: apierrors.NewTimeoutError("etcd", 0)}[write]
	}
	if err := w.pass(); err == nil {
		t.Fatal("no error")
	}
	allocated := w.claim.Status.AllocatedResources[v1.ResourceStorage]
	if allocated.String() != "5Gi" || w.claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] != v1.PersistentVolumeClaimControllerResizeInProgress {
		t.Errorf("the status is %+v", w.claim.Status)
	}
	if c := w.claim.Status.Conditions; len(c) != 1 || c[0].Type != v1.PersistentVolumeClaimResizing || c[0].Status != v1.ConditionTrue || c[0].LastTransitionTime.Unix() != 1 {
		t.Errorf("the conditions are %+v", c)
	}
	if len(w.published) != 1 || !strings.Contains(w.published[0], "Warning VolumeResizeFailed: write the capacity of PersistentVolume pvc-1: ") {
		t.Errorf("told %q", w.published)
	}
}

// A process that ends anywhere leaves what the next one completes, also if an answer was lost.
func TestAnExpansionThatIsCutOffIsCompleted(t *testing.T) {
	broken := errors.New("connection reset by peer")
	for at := 1; at <= 3; at++ {
		for _, made := range []bool{true, false} {
			for _, request := range []string{"5Gi", "7Gi", "3Gi"} { // 3Gi: shrunk back as far as Kubernetes allows
				t.Run(fmt.Sprintf("write %d, made %v, then %s", at, made, request), func(t *testing.T) {
					w := newWorld(t)
					w.request("5Gi")
					w.fault = func(write int) (error, error) {
						if write != at {
							return nil, nil
						}
						if made {
							return broken, nil
						}
						return nil, broken
					}
					if err := w.pass(); !errors.Is(err, broken) {
						t.Fatal(err)
					}
					w.fault = nil
					grown := w.pv.Spec.Capacity[v1.ResourceStorage]
					if request != "5Gi" && (grown.String() != "5Gi" || request != "3Gi") {
						w.request(request)
					} else {
						request = "5Gi" // what has grown does not shrink
					}
					w.start()
					for range 2 {
						sharetest.Must(t, w.pass())
					}
					w.complete(request)
				})
			}
		}
	}
}

// A user changes the request between two writes.
func TestARequestThatIsChangedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.fault = func(write int) (error, error) {
		if write == 2 {
			w.mu.Unlock()
			w.request("8Gi")
			w.mu.Lock()
		}
		return nil, nil
	}
	if err := w.pass(); !errors.Is(err, errChanged) {
		t.Fatal(err)
	}
	w.fault = nil
	sharetest.Must(t, w.pass()) // 5Gi
	sharetest.Must(t, w.pass()) // 8Gi
	w.complete("8Gi")
	if len(w.published) != 2 || strings.Contains(strings.Join(w.published, ""), "Warning") {
		t.Errorf("told %q", w.published)
	}
}

// The cache may show the claim as it was for a while.
func TestNothingIsWrittenTwice(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.seen = w.claim.DeepCopy()
	sharetest.Must(t, w.pass())
	sharetest.Must(t, w.pass())
	w.seen = nil
	w.complete("5Gi")
	sharetest.Must(t, w.pass())
	if len(w.writes) != 3 || len(w.lanes[0].stale) != 0 {
		t.Errorf("wrote %q, remembers %v", w.writes, w.lanes[0].stale)
	}
}

func TestWhatIsNotExpanded(t *testing.T) {
	now := metav1.Now()
	for name, change := range map[string]func(w *world){
		"a claim that goes":                    func(w *world) { w.claim.DeletionTimestamp = &now },
		"a PersistentVolume that goes":         func(w *world) { w.pv.DeletionTimestamp = &now },
		"a PersistentVolume that is released":  func(w *world) { w.pv.Status.Phase = v1.VolumeReleased },
		"a namesake of the volume's claim":     func(w *world) { w.claim.UID = "uid-2" },
		"a claim that names another's volume":  func(w *world) { w.pv.Spec.ClaimRef.UID = "uid-2" },
		"a PersistentVolume without a claim":   func(w *world) { w.pv.Spec.ClaimRef = nil },
		"a PersistentVolume that is not ours":  func(w *world) { w.claim.Spec.VolumeName = "other" },
		"a claim that asks for what it has":    func(w *world) { w.claim.Spec.Resources.Requests = w.claim.Status.Capacity },
		"a PersistentVolume that is not legal": func(w *world) { w.pv.Annotations["claimdir/path"] = "elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.request("5Gi")
			change(w)
			sharetest.Must(t, w.pass())
			if len(w.writes) > 0 {
				t.Errorf("wrote %q", w.writes)
			}
			if told := len(w.published) > 0; told != (name == "a PersistentVolume that is not legal") {
				t.Errorf("told %q", w.published)
			}
		})
	}
}

func TestOnlyUnusedClaims(t *testing.T) {
	w := newWorld(t)
	w.start(func(c *Config) { c.OnlyUnused = true })
	w.request("5Gi")
	sharetest.Must(t, w.pass())
	if len(w.writes) > 0 || len(w.published) != 1 || !strings.Contains(w.published[0], "when no pod uses the claim") {
		t.Errorf("wrote %q, told %q", w.writes, w.published)
	}
	w.claim.Status.Conditions = others()
	sharetest.Must(t, w.pass())
	w.complete("5Gi")
	if strings.Contains(w.published[1], "kubelet") {
		t.Errorf("told %q", w.published)
	}
}

// The size of a PersistentVolume that is larger than its claim is not made smaller.
func TestALargerPersistentVolume(t *testing.T) {
	w := newWorld(t)
	w.pv.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse("20Gi")}
	w.request("5Gi")
	sharetest.Must(t, w.pass())
	if got := w.claim.Status.Capacity[v1.ResourceStorage]; got.String() != "20Gi" || len(w.writes) != 2 {
		t.Errorf("capacity %s, wrote %q", got.String(), w.writes)
	}
}

// What an expansion has left in the status of a claim that requests nothing goes, and no event is published.
func TestTracesOfAnExpansionAreRemoved(t *testing.T) {
	w := newWorld(t)
	w.claim.Status.Conditions = append(others(), v1.PersistentVolumeClaimCondition{Type: v1.PersistentVolumeClaimFileSystemResizePending, Status: v1.ConditionTrue})
	w.claim.Status.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: v1.PersistentVolumeClaimNodeResizePending}
	sharetest.Must(t, w.pass())
	w.complete("1Gi")
	if len(w.claim.Status.Conditions) != 2 || len(w.published) > 0 || len(w.writes) != 1 {
		t.Errorf("conditions %v, told %q, wrote %q", w.claim.Status.Conditions, w.published, w.writes)
	}
}

func TestAnExpansionWaitsForItsShare(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.Hook(func(string, func() error) error { return errors.New("input/output error") })
	if err := w.pass(); err == nil {
		t.Fatal("no error")
	}
	if len(w.published) != 1 || !strings.Contains(w.published[0], "Warning VolumeResizeFailed") || strings.Count(w.published[0], "retried automatically") != 1 {
		t.Errorf("told %q", w.published)
	}
	w.Hook(nil)
	sharetest.Must(t, w.pass())
	w.complete("5Gi")
}

func TestAMissingPermissionIsNamed(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.fault = func(int) (error, error) {
		return nil, apierrors.NewForbidden(v1.Resource("persistentvolumeclaims"), "data", errors.New("no"))
	}
	if err := w.pass(); err == nil || len(w.published) != 1 || !strings.Contains(w.published[0], "apply the ClusterRole") {
		t.Errorf("%v, told %q", err, w.published)
	}
}

// Run takes what waited before it, and what comes meanwhile, and ends with its context.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.Handle(w.claim) // before Run: nothing
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	for _, size := range []string{"5Gi", "6Gi"} {
		eventually(t, func() bool {
			_, grows := w.Expanding(w.name)
			return !grows && w.volumeSize() == size
		})
		w.request("6Gi")
		claim, _ := w.Expanding(w.name)
		if claim != nil {
			w.Handle(claim)
		}
	}
	cancel()
	<-ended
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

// volumeSize is the capacity of the PersistentVolume.
func (w *world) volumeSize() string {
	pv, _ := w.Volume("pvc-1")
	size := pv.Spec.Capacity[v1.ResourceStorage]
	return size.String()
}

// A namespace with many claims keeps no other waiting: see package fair.
func TestNamespacesTakeTurns(t *testing.T) {
	f := New(Config{Keepers: []*access.Keeper{nil}}).lanes[0].queue
	for i := range 100 {
		f.Add(cache.NewObjectName("many", fmt.Sprint(i)))
	}
	f.Add(cache.NewObjectName("few", "a"))
	f.Add(cache.NewObjectName("few", "b"))
	var order []string
	for range 5 {
		next, _ := f.Get()
		order = append(order, next.String())
	}
	if want := []string{"many/0", "few/a", "many/1", "few/b", "many/2"}; !slices.Equal(order, want) || f.Len() != 97 {
		t.Errorf("got %q, %d left", order, f.Len())
	}
}

// A volume of another provisioner that has no record yet is expanded without one.
func TestAVolumeWithoutARecord(t *testing.T) {
	w := newWorld(t)
	path := sharetest.PathOf(t, "data")
	sharetest.Must(t, w.Keeper.Do(t.Context(), "remove", func(_ ctx, store ledger.Store) error {
		r, _, err := store.Records.Own(path, "pvc-1", sharetest.Cluster)
		return errors.Join(err, store.Records.Remove(path, r))
	}))
	w.request("5Gi")
	sharetest.Must(t, w.pass())
	if w.volumeSize() != "5Gi" {
		t.Error(w.volumeSize())
	}
}

// The cache of PersistentVolumes may lag. What is allocated and recorded is never less than what has grown.
func TestARequestThatIsLoweredAfterTheVolumeHasGrown(t *testing.T) {
	w := newWorld(t)
	w.request("10Gi")
	cached := w.pv.DeepCopy()
	w.fault = func(write int) (error, error) {
		if write == 3 {
			w.mu.Unlock()
			w.request("5Gi")
			w.mu.Lock()
		}
		return nil, nil
	}
	if err := w.pass(); !errors.Is(err, errChanged) {
		t.Fatal(err)
	}
	w.fault, w.cached = nil, cached
	sharetest.Must(t, w.pass())
	w.cached = nil
	sharetest.Must(t, w.pass())
	w.complete("10Gi")
}

func TestAVolumeOfNoShareIsTold(t *testing.T) {
	w := newWorld(t)
	w.running.Store(true)
	w.request("5Gi")
	w.pv.Spec.NFS.Server = "elsewhere"
	for range 3 {
		w.Handle(w.claim)
	}
	if len(w.published) != 3 || !strings.Contains(w.published[0], `no share of this claimdir has the volume: spec.nfs.server "elsewhere"`) || w.lanes[0].queue.Len() > 0 {
		t.Errorf("told %q", w.published)
	}
}

// A repeat of the first write changes nothing: each change brings another repeat. Kubernetes drops the state
// where expansions cannot be recovered.
func TestTheFirstWriteIsRepeatedWithoutAChange(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.claim.Status.Conditions = []v1.PersistentVolumeClaimCondition{{Type: v1.PersistentVolumeClaimResizing, Status: v1.ConditionTrue}}
	p := beginPatch(w.claim, resource.MustParse("5Gi"), time.Now())
	if strings.Contains(string(p.data), "lastTransitionTime") {
		t.Errorf("patch %s", p.data)
	}
}

func TestABugEndsNoProcess(t *testing.T) {
	w := newWorld(t)
	w.request("5Gi")
	w.config.Live, w.config.Client = nil, nil // what calls them panics
	w.lanes[0].queue.Add(w.name)
	if !w.work(t.Context(), w.lanes[0]) || w.lanes[0].queue.NumRequeues(w.name) != 1 {
		t.Error("it is not retried")
	}
}

// Without room nothing is allocated, so that the claim can shrink back, and the status says why. It goes on
// when there is room.
func TestAnExpansionWaitsForRoom(t *testing.T) {
	w := newWorld(t)
	w.claim.Status.Conditions = others()
	w.request("5Gi")
	w.room = refusal.Postpone(refusal.ReasonRoom, "3Gi are free")
	for range 3 {
		if err := w.pass(); !errors.Is(err, errNoRoom) {
			t.Fatal(err)
		}
	}
	allocated, size := w.claim.Status.AllocatedResources[v1.ResourceStorage], w.pv.Spec.Capacity[v1.ResourceStorage]
	if allocated.String() != "1Gi" || size.String() != "1Gi" || len(w.writes) != 1 {
		t.Errorf("allocated %s, PersistentVolume %s, wrote %q", allocated.String(), size.String(), w.writes)
	}
	if state := w.claim.Status.AllocatedResourceStatuses[v1.ResourceStorage]; state != v1.PersistentVolumeClaimControllerResizeInfeasible {
		t.Errorf("state %q", state)
	}
	if c := w.claim.Status.Conditions; len(c) != 3 || c[2].Type != v1.PersistentVolumeClaimControllerResizeError && c[0].Type != v1.PersistentVolumeClaimControllerResizeError {
		t.Errorf("conditions %+v", c)
	}
	if !strings.Contains(w.published[0], "Warning VolumeResizeFailed: 3Gi are free") || w.asked[0] != 4<<30 {
		t.Errorf("told %q, asked for %v", w.published, w.asked)
	}
	w.room = nil
	sharetest.Must(t, w.pass())
	w.complete("5Gi")
	if len(w.claim.Status.Conditions) != 2 {
		t.Errorf("conditions %+v", w.claim.Status.Conditions)
	}
}
