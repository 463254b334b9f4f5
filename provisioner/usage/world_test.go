package usage

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
)

// world is a share with volumes, its Measurer, and an API server with their claims.
type world struct {
	*sharetest.World
	*Measurer
	t *testing.T

	client  *fake.Clientset
	mu      sync.Mutex
	volumes map[string]*v1.PersistentVolume
	classes map[string]*storagev1.StorageClass
	clock   time.Time
	told    []string
	refuse  error // of the API server, to a patch
	rate    int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		World: sharetest.NewWorld(t), t: t, client: fake.NewClientset(), volumes: map[string]*v1.PersistentVolume{}, classes: map[string]*storagev1.StorageClass{},
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	w.client.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return w.refuse != nil, nil, w.refuse })
	w.start()
	return w
}

// start makes the Measurer of a new process.
func (w *world) start() {
	w.Measurer = New(Config{
		Keeper: w.Keeper, Steps: w.Steps, Objects: w, Client: w.client, Interval: time.Hour, Rate: w.rate, PerVolume: true,
		Tell: func(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
			w.told = append(w.told, fmt.Sprintf("%s/%s %s %s %s: %s", claim.Namespace, claim.Name, claim.UID, kind, reason, text))
		},
	})
	w.now = func() time.Time { return w.clock }
}

// Volume implements Objects.
func (w *world) Volume(name string) (*v1.PersistentVolume, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pv, found := w.volumes[name]
	return pv.DeepCopy(), found
}

// Class implements Objects.
func (w *world) Class(name string) (*storagev1.StorageClass, bool) {
	class, found := w.classes[name]
	return class, found
}

func must(t *testing.T, err error) {
	t.Helper()
	sharetest.Must(t, err)
}

// class makes a StorageClass.
func (w *world) class(name, onOverSize string) {
	w.classes[name] = &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("class-" + name + onOverSize)}, Parameters: map[string]string{"onOverSize": onOverSize}}
}

// volume makes a volume of 1Mi for the claim team/<name>, with a file of that many bytes.
func (w *world) volume(name, class string, bytes int) {
	w.t.Helper()
	w.Tree(w.t, name+"/")
	w.fill(name, bytes)
	store, path := w.Store(w.t), sharetest.PathOf(w.t, name)
	id, err := store.Dirs.Identify(path)
	must(w.t, err)
	r := ledger.Record{
		State: ledger.Active, PV: "pvc-" + name, Cluster: sharetest.Cluster, Class: class, Size: "1Mi",
		Claim: ledger.Claim{Namespace: "team", Name: name, UID: "uid-" + name},
	}
	taken, err := store.Records.Take(path, r, false)
	must(w.t, err)
	must(w.t, store.Records.Activate(path, taken, id))
	source := sharetest.Source()
	w.volumes[r.PV] = &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: r.PV},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}, StorageClassName: class,
			ClaimRef:               &v1.ObjectReference{Namespace: "team", Name: name, UID: types.UID(r.Claim.UID)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: source.Server, Path: source.Path + "/" + name}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	claim := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(r.Claim.UID)}}
	claim.Status.Conditions = []v1.PersistentVolumeClaimCondition{{Type: "example.com/backup", Status: v1.ConditionFalse, Message: "nobody's business"}}
	_, err = w.client.CoreV1().PersistentVolumeClaims("team").Create(w.t.Context(), claim, metav1.CreateOptions{})
	must(w.t, err)
}

// fill makes the volume's file take that many bytes, in units of 64 KiB.
func (w *world) fill(name string, bytes int) {
	w.t.Helper()
	must(w.t, os.WriteFile(w.Dir+"/"+name+"/file", make([]byte, bytes), 0o600))
}

// round makes a pass after that time.
func (w *world) round(after time.Duration) {
	w.t.Helper()
	w.clock = w.clock.Add(after)
	must(w.t, w.pass(w.t.Context()))
}

// overSize are the claims of the namespace that hold too much, which must be known.
func (w *world) overSize(class string) []string {
	w.t.Helper()
	claims, known := w.OverSize("team", class)
	if !known {
		w.t.Error("it is not known which claims hold too much")
	}
	return claims
}

// usage is what the share says of a volume.
func (w *world) usage(name string) (ledger.Usage, bool) {
	w.t.Helper()
	u, found, err := w.Store(w.t).Records.Usage(sharetest.PathOf(w.t, name), ledger.Record{PV: "pvc-" + name, Cluster: sharetest.Cluster})
	must(w.t, err)
	return u, found
}

// conditions are those of a claim, by type.
func (w *world) conditions(claim string) map[v1.PersistentVolumeClaimConditionType]string {
	w.t.Helper()
	c, err := w.client.CoreV1().PersistentVolumeClaims("team").Get(w.t.Context(), claim, metav1.GetOptions{})
	must(w.t, err)
	all := map[v1.PersistentVolumeClaimConditionType]string{}
	for _, condition := range c.Status.Conditions {
		all[condition.Type] = fmt.Sprintf("%s %s %s", condition.Status, condition.Reason, condition.Message)
	}
	return all
}

var errRefused = errors.New("the API server is away")
