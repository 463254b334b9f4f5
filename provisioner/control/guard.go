package control

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// Reasons of failures that are no refusal.
const (
	reasonOther = "other"
	reasonPanic = "panic"
	reasonSave  = "save" // the API server refuses the PersistentVolume
)

// Event reasons, those that the library uses.
const (
	eventProvisionFailed = "ProvisioningFailed"
	eventDeleteFailed    = "VolumeFailedDelete"
)

// refusal is what this package asks of an error of the Provisioner: why, and
// whether there is no use in trying again until somebody changes something.
type refusal interface {
	error
	Reason() string
	Final() bool
	// Waits says that Controller.Retry is called when it is worth trying again.
	Waits() bool
}

// guard stands between the library and the Provisioner.
type guard struct {
	next     controller.Provisioner
	gate     *gate
	known    func(claim *v1.PersistentVolumeClaim) bool // its class exists and is ours
	released *releasedVolumes
	recorder record.EventRecorder
	metrics  *metrics
}

var (
	_ controller.BlockProvisioner = &guard{}
	_ controller.Qualifier        = &guard{}
	_ controller.DeletionGuard    = &guard{}
)

// ShouldProvision says no, without an event, to everything after a stop, and
// to claims of classes that do not exist: the library would try those again
// and again, and count each under a label that a tenant chose. When the class
// comes, its claims are queued again (see claimInformer).
func (g *guard) ShouldProvision(ctx context.Context, claim *v1.PersistentVolumeClaim) bool {
	if !g.gate.open() || !g.known(claim) {
		return false
	}
	qualifier, ok := g.next.(controller.Qualifier)
	return !ok || qualifier.ShouldProvision(ctx, claim)
}

// ShouldDelete says no to everything after a stop.
func (g *guard) ShouldDelete(ctx context.Context, pv *v1.PersistentVolume) bool {
	if !g.gate.open() {
		return false
	}
	other, ok := g.next.(controller.DeletionGuard)
	return !ok || other.ShouldDelete(ctx, pv)
}

// SupportsBlock claims that it does, so that Block claims are refused by the
// Provisioner with the rest of what it cannot do, and counted.
func (g *guard) SupportsBlock(context.Context) bool { return true }

// Provision calls the Provisioner.
func (g *guard) Provision(ctx context.Context, o controller.ProvisionOptions) (pv *v1.PersistentVolume, state controller.ProvisioningState, err error) {
	if !g.gate.enter(opProvision, o.PVName) {
		return nil, controller.ProvisioningFinished, &controller.IgnoredError{Reason: "claimdir is stopping"}
	}
	defer g.gate.leave(opProvision, o.PVName)
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "PVC", klog.KObj(o.PVC), "PV", o.PVName, "StorageClass", o.StorageClass.Name)
	err = safely(klog.NewContext(ctx, logger), func(ctx context.Context) error {
		pv, state, err = g.next.Provision(ctx, o)
		return err
	})
	if err != nil {
		return nil, controller.ProvisioningFinished, g.failed(opProvision, o.PVC, o.StorageClass.Name, eventProvisionFailed, err)
	}
	g.metrics.provisions.WithLabelValues(o.StorageClass.Name).Inc()
	g.gate.expectSave(o.PVName)
	return pv, state, nil
}

// Delete calls the Provisioner, once: when it has succeeded, what is left is
// for the library to delete the PersistentVolume, as often as that takes.
func (g *guard) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	if !g.gate.enter(opDelete, pv.Name) {
		return &controller.IgnoredError{Reason: "claimdir is stopping"}
	}
	defer g.gate.leave(opDelete, pv.Name)
	if g.released.has(pv) {
		return nil
	}
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "PV", pv.Name, "StorageClass", pv.Spec.StorageClassName)
	err := safely(klog.NewContext(ctx, logger), func(ctx context.Context) error {
		return g.next.Delete(ctx, pv)
	})
	if err != nil {
		return g.failed(opDelete, pv, pv.Spec.StorageClassName, eventDeleteFailed, err)
	}
	g.released.add(pv)
	g.metrics.deletions.WithLabelValues(pv.Spec.StorageClassName).Inc()
	return nil
}

// failed counts a failure. One that trying again cannot mend, or not before
// Retry, becomes an event here and is ignored by the library, which comes back
// at every resync, when the object changes and when its class is made anew;
// everything else goes to the library, which makes the event and tries again,
// later and later. What the Provisioner itself wants ignored is no failure.
func (g *guard) failed(op string, object runtime.Object, class, eventReason string, err error) error {
	if ignored, ok := errors.AsType[*controller.IgnoredError](err); ok {
		return ignored // found by type assertion: never wrap it
	}
	reason := reasonOther
	var refused refusal
	if errors.As(err, &refused) {
		reason = refused.Reason()
	}
	if _, panicked := errors.AsType[*panicError](err); panicked {
		reason = reasonPanic
	}
	g.metrics.failures.WithLabelValues(op, class, reason).Inc()
	err = briefError{err}
	if refused == nil || !refused.Final() && !refused.Waits() {
		return err
	}
	g.recorder.Event(object, v1.EventTypeWarning, eventReason, err.Error())
	return &controller.IgnoredError{Reason: err.Error()}
}

// panicError is a panic of the Provisioner. It is an error like any other, so
// that one claim that trips over a mistake of ours does not take all others
// down with it, start after start.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("internal error: %v; this is a mistake in claimdir, its log has the details", e.value)
}

func safely(ctx context.Context, call func(context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			klog.FromContext(ctx).Error(nil, "Panic", "panic", value, "stack", string(debug.Stack()))
			err = &panicError{value}
		}
	}()
	return call(ctx)
}
