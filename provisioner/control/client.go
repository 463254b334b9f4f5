package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/pvs"
)

// saveTimeout bounds one attempt to save a PersistentVolume. The library sets no limit.
const saveTimeout = 30 * time.Second

// libraryClient is the client for the library. It sends events on their own connection, and normal
// ones when there is time, so that a PersistentVolume never waits behind them. It observes the
// saving of PersistentVolumes.
type libraryClient struct {
	kubernetes.Interface
	core coreClient
}

func newLibraryClient(main kubernetes.Interface, events func(namespace string) corev1.EventInterface, w *saveWatch, released *releasedVolumes) libraryClient {
	return libraryClient{main, coreClient{main.CoreV1(), cluster.Live{Client: main}, events, w, released}}
}

func (c libraryClient) CoreV1() corev1.CoreV1Interface { return c.core }

type coreClient struct {
	corev1.CoreV1Interface
	live     cluster.Live
	events   func(namespace string) corev1.EventInterface
	watch    *saveWatch
	released *releasedVolumes
}

func (c coreClient) Events(namespace string) corev1.EventInterface {
	return c.events(namespace)
}

func (c coreClient) PersistentVolumes() corev1.PersistentVolumeInterface {
	return volumeClient{c.CoreV1Interface.PersistentVolumes(), c.live, c.watch, c.released}
}

type volumeClient struct {
	corev1.PersistentVolumeInterface
	live     cluster.Live
	watch    *saveWatch
	released *releasedVolumes
}

// Delete deletes the very PersistentVolume that was released, not a later one of its name. It is no
// error if that one is gone, and there is no request if its deletion was accepted: the library may
// call Delete again before its cache shows that.
func (c volumeClient) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	volume, known := c.released.get(name)
	if !known || volume.uid == "" {
		return ignoreAbsent(c.PersistentVolumeInterface.Delete(ctx, name, o))
	}
	if volume.deleted {
		return nil
	}
	o.Preconditions = &metav1.Preconditions{UID: &volume.uid}
	err := ignoreAbsent(c.PersistentVolumeInterface.Delete(ctx, name, o))
	if apierrors.IsConflict(err) && c.isGone(ctx, name, volume.uid) {
		err = nil
	}
	if err == nil {
		c.released.set(name, releasedVolume{uid: volume.uid, deleted: true})
	}
	return err
}

// Patch notes that a deleted PersistentVolume has lost its finalizer, so that nothing is left to do for it.
func (c volumeClient) Patch(ctx context.Context, name string, kind types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (*v1.PersistentVolume, error) { //nolint:revive // the interface's arguments
	pv, err := c.PersistentVolumeInterface.Patch(ctx, name, kind, data, o, sub...)
	volume, known := c.released.get(name)
	if err == nil && known && volume.deleted && pv.UID == volume.uid && pv.DeletionTimestamp != nil && !pvs.HasFinalizer(pv) {
		volume.finished = true
		c.released.set(name, volume)
	}
	return pv, err
}

// ignoreAbsent returns nil if the API server says that the object does not exist, else err.
func ignoreAbsent(err error) error {
	if cluster.IsAbsent(err) {
		return nil
	}
	return err
}

// isGone asks the API server whether the PersistentVolume of that UID is gone. A conflict alone does not
// say that: it may have other causes.
func (c volumeClient) isGone(ctx context.Context, name string, uid types.UID) bool {
	pv, err := c.live.Volume(ctx, name)
	return err == nil && (pv == nil || pv.UID != uid)
}

// Create saves a PersistentVolume within saveTimeout.
func (c volumeClient) Create(ctx context.Context, pv *v1.PersistentVolume, o metav1.CreateOptions) (*v1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	saved, err := c.PersistentVolumeInterface.Create(ctx, pv, o)
	c.watch.observe(pv, err)
	return saved, err
}

// saveWatch tells the gate when a PersistentVolume is saved. It publishes an event if the API
// server refuses the object for good; the library would retry for ever and only log it.
type saveWatch struct {
	gate     *gate
	recorder record.EventRecorder
	metrics  *metrics
	refused  *refusals
}

func (w *saveWatch) observe(pv *v1.PersistentVolume, err error) {
	claim := pv.Spec.ClaimRef
	switch {
	case err == nil || apierrors.IsAlreadyExists(err):
		if at, began := w.gate.leave(opSave, pv.Name); began {
			w.metrics.took(opSave, at)
		}
		if claim != nil {
			w.refused.forget(claim.UID)
		}
	case refusedForGood(err) && claim != nil:
		class := pv.Spec.StorageClassName
		w.metrics.failures.WithLabelValues(opSave, class, reasonSave).Inc()
		text := brief(fmt.Sprintf("the API server refuses PersistentVolume %s: %v; the directory is kept and saving is retried", pv.Name, err))
		w.refused.add(claim.UID, Refused{Operation: opSave, Namespace: claim.Namespace, Name: claim.Name, Class: class, Reason: reasonSave, Text: text, Since: time.Now()})
		w.recorder.Event(claim, v1.EventTypeWarning, eventProvisionFailed, text)
	}
}

// refusedForGood reports whether the API server refuses the object itself, rather than being out of
// order.
func refusedForGood(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsNotAcceptable(err)
}

// Wrap returns a transport that sends nothing once this replica has lost the lead. Every client of
// a replica that may lead needs it (rest.Config.Wrap), except the one for the lease. Open watches
// go on.
func (l *Leadership) Wrap(next http.RoundTripper) http.RoundTripper {
	return leaderTransport{next, l}
}

type leaderTransport struct {
	next       http.RoundTripper
	leadership *Leadership
}

// RoundTrip sends the request, unless the lease is lost.
func (t leaderTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	err := t.leadership.allow()
	if err == nil {
		return t.next.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close() // a RoundTripper must close the body; an error of it does not matter
	}
	return nil, fmt.Errorf("not sent: %w", err)
}

// WrappedRoundTripper lets client-go find the inner transport.
func (t leaderTransport) WrappedRoundTripper() http.RoundTripper { return t.next }
