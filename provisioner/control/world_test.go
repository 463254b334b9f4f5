package control

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/cluster"
)

const (
	provisionerName = "example.com/NFS"
	peerName        = "cluster.local/nfs-subdir-external-provisioner"
	finalizer       = "external-provisioner.volume.kubernetes.io/finalizer"
	patience        = 40 * time.Second
)

var (
	volumesResource = v1.SchemeGroupVersion.WithResource("persistentvolumes")
	claimsResource  = v1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	classesResource = storagev1.SchemeGroupVersion.WithResource("storageclasses")
)

func TestMain(m *testing.M) {
	klog.SetLogger(klog.Logger{}) // what the library says to nobody in particular
	workqueue.SetProvider(depths)
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait most of the time
		panic(err)
	}
	os.Exit(m.Run())
}

// world is the real library between a Provisioner that does as it is told and
// API servers that are fakes.
type world struct {
	t                   *testing.T
	main, events, lease *fake.Clientset
	provisioner         *puppet
	registry            *prometheus.Registry
	config              Config
	controller          *Controller
	volumeQueue         *depth
	cancel              context.CancelFunc
	run                 func()
	ended               chan struct{} // closed when Run has returned
	result              error
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{
		t: t, main: fake.NewSimpleClientset(objects...), events: fake.NewSimpleClientset(), lease: fake.NewSimpleClientset(),
		provisioner: &puppet{}, registry: prometheus.NewRegistry(), ended: make(chan struct{}),
	}
	version := 0
	w.react("create", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		version++ // reactors run one at a time
		pv := action.(clienttesting.CreateAction).GetObject().(*v1.PersistentVolume).DeepCopy()
		pv.UID, pv.ResourceVersion = types.UID("uid-of-"+pv.Name), fmt.Sprint(version)
		return true, pv, w.main.Tracker().Create(volumesResource, pv, "")
	})
	w.config = Config{
		Informers: newInformers(w.main), Workers: 4, DrainTimeout: patience,
		Clients:      Clients{Main: w.main, Events: w.events, Lease: w.lease},
		Provisioners: []controller.Provisioner{w.provisioner}, Registry: w.registry,
	}
	return w
}

func newInformers(client kubernetes.Interface) *cluster.Informers {
	return cluster.NewInformers(client, provisionerName, peerName)
}

// react puts a reactor before all others of the main client.
func (w *world) react(verb, resource string, reaction clienttesting.ReactionFunc) {
	w.main.PrependReactor(verb, resource, reaction)
}

// build makes the controllers and lets the test run beside others: the library
// writes to client-go's scheme, so no controller may be made while one runs.
func build(worlds ...*world) {
	for _, w := range worlds {
		w.t.Helper()
		_, ctx := ktesting.NewTestContext(w.t)
		ctx, w.cancel = context.WithCancel(ctx)
		w.run = func() { w.result = w.controller.Run(ctx) }
		var err error
		if w.controller, err = New(ctx, w.config); err != nil {
			w.t.Fatal(err)
		}
		w.volumeQueue = depths.last("volumes")
	}
	worlds[0].t.Parallel()
}

// start runs the controller, which it builds if need be; the test's end stops it.
func (w *world) start() *world {
	w.t.Helper()
	if w.controller == nil {
		build(w)
	}
	go func() {
		defer close(w.ended)
		w.run()
	}()
	w.t.Cleanup(func() { w.cancel(); <-w.ended })
	w.eventually("caches are filled", func() bool { return w.controller.Ready() == nil })
	return w
}

// stop is SIGTERM; it returns what Run does.
func (w *world) stop() error {
	w.t.Helper()
	w.cancel()
	return w.wait()
}

// wait returns what Run does.
func (w *world) wait() error {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Fatal("Run does not return")
	}
	return w.result
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	eventually(w.t, what, condition)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !condition(); {
		select {
		case <-late:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// throughout fails if condition does not hold until the deadline.
func (w *world) throughout(d time.Duration, what string, condition func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(d); ; {
		if !condition() {
			w.t.Fatalf("not any more: %s", what)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// add makes objects on the API server, and set changes one.
func (w *world) add(objects ...runtime.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := w.main.Tracker().Add(object); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) saved(name string) *v1.PersistentVolume {
	object, err := w.main.Tracker().Get(volumesResource, "", name)
	if err != nil {
		return nil
	}
	return object.(*v1.PersistentVolume)
}

func (w *world) setVolume(name string, change func(*v1.PersistentVolume)) {
	w.t.Helper()
	pv := w.saved(name).DeepCopy()
	change(pv)
	if err := w.main.Tracker().Update(volumesResource, pv, ""); err != nil {
		w.t.Fatal(err)
	}
}

// told returns the texts of the events with that reason about an object, or
// about any if the name is empty. "Provisioning" alone is no warning.
func (w *world) told(reason, object string) []string {
	w.t.Helper()
	list, err := w.events.CoreV1().Events("").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	kind := v1.EventTypeWarning
	if reason == "Provisioning" {
		kind = v1.EventTypeNormal
	}
	var texts []string
	for _, event := range list.Items {
		about := object == "" || event.InvolvedObject.Name == object
		if about && event.Reason == reason && event.Type == kind {
			texts = append(texts, event.Message)
		}
	}
	return texts
}

// metric returns the sum of a metric's series that carry all these labels
// (key, value, key, value ...), and how many there are.
func (w *world) metric(name string, labels ...string) (sum float64, series int) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && slices.Contains(pairs, labels[i]+"="+labels[i+1])
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				series++
			}
		}
	}
	return sum, series
}
