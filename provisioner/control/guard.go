package control

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// Reasons of failures that are not refusals.
const (
	reasonOther = "other"
	reasonPanic = "panic"
	reasonSave  = "save" // the API server refuses the PersistentVolume

	reasonTwoClasses = "claim" // as refusal.ReasonClaim
	reasonAbsent     = "claim"
)

// Event reasons, the same as the library uses.
const (
	eventProvisionFailed = "ProvisioningFailed"
	eventDeleteFailed    = "VolumeFailedDelete"
)

// refusal is an error of the Provisioner that says why it refused, and when a retry can help.
type refusal interface {
	error
	Reason() string
	Final() bool
	// Waits says that Controller.Retry is called when a retry can help.
	Waits() bool
}

// apiObject is a claim or a PersistentVolume.
type apiObject interface {
	runtime.Object
	metav1.Object
}

// guard stands between the library and the Provisioner.
type guard struct {
	next     controller.Provisioner
	gate     *gate
	known    func(claim *v1.PersistentVolumeClaim) bool // its class exists and is ours
	released *releasedVolumes
	recorder record.EventRecorder
	metrics  *metrics
	told     *told
	claims   *refusals // claims that are refused
	volumes  *refusals // released volumes that are refused
	turns    turnLimiter
}

var (
	_ controller.BlockProvisioner = &guard{}
	_ controller.Qualifier        = &guard{}
	_ controller.DeletionGuard    = &guard{}
)

// ShouldProvision returns false, without an event, after a stop, and for claims of classes that do
// not exist: the library would retry those for ever, and count each under a label that a tenant
// chose. When the class appears, its claims are queued again (see claimInformer). It also returns
// false for a claim whose turn has not come yet; that one is queued again too (see turns).
func (g *guard) ShouldProvision(ctx context.Context, claim *v1.PersistentVolumeClaim) bool {
	if !g.gate.open() || !g.known(claim) {
		return false
	}
	qualifier, ok := g.next.(controller.Qualifier)
	return (!ok || qualifier.ShouldProvision(ctx, claim)) && g.namesOneClass(ctx, claim) && g.turns.claims.take(claim.Namespace, string(claim.UID))
}

// namesOneClass reports whether the claim's annotation and its field name the same class, and
// otherwise publishes an event. The library reads the class from the annotation, but takes the
// field, which then may hold any text, as the label of its metrics.
func (g *guard) namesOneClass(ctx context.Context, claim *v1.PersistentVolumeClaim) bool {
	annotated, field := claim.Annotations[v1.BetaStorageClassAnnotation], claim.Spec.StorageClassName
	if annotated == "" || field == nil || *field == annotated {
		return true
	}
	err := briefError{fmt.Errorf("annotation %s is %q, and spec.storageClassName is %q: remove the annotation, or make both the same",
		v1.BetaStorageClassAnnotation, annotated, *field)}
	g.metrics.failures.WithLabelValues(opProvision, annotated, reasonTwoClasses).Inc()
	g.remember(opProvision, claim, annotated, reasonTwoClasses, err)
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "PVC", klog.KObj(claim), "StorageClass", annotated)
	g.tell(klog.NewContext(ctx, logger), opProvision, claim, reasonTwoClasses, err)
	return false
}

// ShouldDelete returns false after a stop, for a volume with which nothing is left to do, and for a
// released one whose turn has not come yet.
func (g *guard) ShouldDelete(ctx context.Context, pv *v1.PersistentVolume) bool {
	if !g.gate.open() || g.released.isFinished(pv) {
		return false
	}
	other, ok := g.next.(controller.DeletionGuard)
	if ok && !other.ShouldDelete(ctx, pv) {
		return false
	}
	return pv.Status.Phase != v1.VolumeReleased || g.turns.volumes.take(namespaceOf(pv), pv.Name)
}

// SupportsBlock returns true, so that the Provisioner itself refuses Block claims, with an event,
// and the guard counts them.
func (g *guard) SupportsBlock(context.Context) bool { return true }

// Provision calls the Provisioner.
func (g *guard) Provision(ctx context.Context, o controller.ProvisionOptions) (pv *v1.PersistentVolume, state controller.ProvisioningState, err error) {
	if !g.gate.enter(opProvision, o.PVName) {
		return nil, controller.ProvisioningFinished, &controller.IgnoredError{Reason: "claimdir is stopping"}
	}
	defer g.gate.leave(opProvision, o.PVName)
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "PVC", klog.KObj(o.PVC), "PV", o.PVName, "StorageClass", o.StorageClass.Name)
	began := time.Now()
	err = safely(klog.NewContext(ctx, logger), func(ctx context.Context) error {
		pv, state, err = g.next.Provision(ctx, o)
		return err
	})
	if err != nil {
		return nil, controller.ProvisioningFinished, g.failed(klog.NewContext(ctx, logger), opProvision, o.PVC, o.StorageClass.Name, err)
	}
	g.metrics.provisions.WithLabelValues(o.StorageClass.Name).Inc()
	g.metrics.took(opProvision, began)
	g.gate.expectSave(o.PVName)
	return pv, state, nil
}

// Delete calls the Provisioner until it has succeeded once. After that the library has only the
// PersistentVolume to delete, and may call Delete again.
func (g *guard) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	if !g.gate.enter(opDelete, pv.Name) {
		return &controller.IgnoredError{Reason: "claimdir is stopping"}
	}
	defer g.gate.leave(opDelete, pv.Name)
	if g.released.has(pv) {
		return nil
	}
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "PV", pv.Name, "StorageClass", pv.Spec.StorageClassName)
	began := time.Now()
	err := safely(klog.NewContext(ctx, logger), func(ctx context.Context) error {
		return g.next.Delete(ctx, pv)
	})
	if err != nil {
		return g.failed(klog.NewContext(ctx, logger), opDelete, pv, pv.Spec.StorageClassName, err)
	}
	g.released.add(pv)
	g.volumes.forget(pv.UID)
	g.metrics.deletions.WithLabelValues(pv.Spec.StorageClassName).Inc()
	g.metrics.took(opDelete, began)
	return nil
}

// failed counts a failure and returns the error for the library. If a retry cannot help, or not
// before Controller.Retry, failed publishes the event and tells the library to ignore the error;
// the library then comes back at every resync, when the object changes and when its class is
// replaced. All other errors go to the library, which publishes the event and retries with a
// growing delay, and logs it. What the library ignores, failed logs, once for each text of an object.
// An error that the Provisioner wants ignored is not a failure.
func (g *guard) failed(ctx context.Context, op string, object apiObject, class string, err error) error {
	if ignored, ok := errors.AsType[*controller.IgnoredError](err); ok {
		g.refusals(op).forget(object.GetUID())
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
	g.remember(op, object, class, reason, err)
	if refused == nil || !refused.Final() && !refused.Waits() {
		return err
	}
	g.tell(ctx, op, object, reason, err)
	return &controller.IgnoredError{Reason: err.Error()}
}

// refusals are those of an operation.
func (g *guard) refusals(op string) *refusals {
	if op == opDelete {
		return g.volumes
	}
	return g.claims
}

// remember notes that a claim or a released volume is refused.
func (g *guard) remember(op string, object apiObject, class, reason string, err error) {
	namespace := object.GetNamespace()
	if pv, is := object.(*v1.PersistentVolume); is {
		namespace = namespaceOf(pv)
	}
	g.refusals(op).add(object.GetUID(), Refused{
		Operation: op, Namespace: namespace, Name: object.GetName(), Class: class, Reason: reason, Text: err.Error(), Since: time.Now(),
	})
}

// tell publishes a refusal, and logs it once for each text of an object.
func (g *guard) tell(ctx context.Context, op string, object apiObject, reason string, err error) {
	eventReason := eventProvisionFailed
	if op == opDelete {
		eventReason = eventDeleteFailed
	}
	g.recorder.Event(object, v1.EventTypeWarning, eventReason, err.Error())
	if g.told.isNew(object.GetUID(), err.Error()) {
		klog.FromContext(ctx).Info("Refused", "operation", op, "reason", reason, "because", err.Error())
	}
}

// panicError is a panic of the Provisioner. It is handled like any error, so that one claim that
// triggers a bug does not end the process, start after start.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("internal error: %v; this is a bug in claimdir, its log has the details", e.value)
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
