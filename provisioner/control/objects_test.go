package control

import (
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"claimdir/provisioner/cluster/pvs"
)

func newClass(name string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name)},
		Provisioner: provisionerName,
	}
}

// newClaim returns a pending claim; its volume's name is "pvc-" + name.
func newClaim(name, class string) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: name, UID: types.UID(name),
			Annotations: map[string]string{"volume.kubernetes.io/storage-provisioner": provisionerName},
		},
		Spec:   v1.PersistentVolumeClaimSpec{StorageClassName: &class},
		Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimPending},
	}
}

func newClaims(n int, class string) (claims []*v1.PersistentVolumeClaim) {
	for i := range n {
		claims = append(claims, newClaim(fmt.Sprintf("claim-%03d", i), class))
	}
	return claims
}

func newVolume(name string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete},
	}
}

// newReleased returns a PersistentVolume of ours whose claim is gone.
func newReleased(name string) *v1.PersistentVolume {
	pv := newVolume(name)
	pv.UID, pv.ResourceVersion = types.UID("uid-of-"+name), "1"
	pv.Annotations = map[string]string{pvs.AnnotationProvisionedBy: provisionerName}
	pv.Finalizers = []string{finalizer}
	pv.Spec.StorageClassName = "nfs"
	pv.Status.Phase = v1.VolumeReleased
	return pv
}

func errInternal() error { return apierrors.NewInternalError(fmt.Errorf("out of order")) }

// final is a refusal that only a change can lift.
type final string

func (f final) Error() string { return string(f) }
func (final) Reason() string  { return "claim" }
func (final) Final() bool     { return true }
func (final) Waits() bool     { return false }

// depths are the depths of all work queues, in the order of their making.
var depths = &depthMetrics{gauges: map[string][]*depth{}}

type depthMetrics struct {
	mu     sync.Mutex
	gauges map[string][]*depth
}

func (d *depthMetrics) last(queue string) *depth {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gauges[queue][len(d.gauges[queue])-1]
}

type depth struct {
	mu sync.Mutex
	n  int
}

func (d *depth) add(n int) { d.mu.Lock(); defer d.mu.Unlock(); d.n += n }
func (d *depth) Inc()      { d.add(1) }
func (d *depth) Dec()      { d.add(-1) }
func (d *depth) get() int  { d.mu.Lock(); defer d.mu.Unlock(); return d.n }

func (d *depthMetrics) NewDepthMetric(name string) workqueue.GaugeMetric {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := &depth{}
	d.gauges[name] = append(d.gauges[name], g)
	return g
}

type ignored struct{}

func (ignored) Inc()            {}
func (ignored) Set(float64)     {}
func (ignored) Observe(float64) {}

func (*depthMetrics) NewAddsMetric(string) workqueue.CounterMetric           { return ignored{} }
func (*depthMetrics) NewLatencyMetric(string) workqueue.HistogramMetric      { return ignored{} }
func (*depthMetrics) NewWorkDurationMetric(string) workqueue.HistogramMetric { return ignored{} }
func (*depthMetrics) NewUnfinishedWorkSecondsMetric(string) workqueue.SettableGaugeMetric {
	return ignored{}
}
func (*depthMetrics) NewLongestRunningProcessorSecondsMetric(string) workqueue.SettableGaugeMetric {
	return ignored{}
}
func (*depthMetrics) NewRetriesMetric(string) workqueue.CounterMetric { return ignored{} }
