package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// saveTimeout bounds one try to save a PersistentVolume; the library sets no
// limit.
const saveTimeout = 30 * time.Second

// libraryClient is the client that the library gets: events go out on their
// own connection, so that they never queue before a PersistentVolume, and
// saving PersistentVolumes is watched.
type libraryClient struct {
	kubernetes.Interface
	core coreClient
}

func newLibraryClient(main, events kubernetes.Interface, w *saveWatch) libraryClient {
	return libraryClient{main, coreClient{main.CoreV1(), events, w}}
}

func (c libraryClient) CoreV1() corev1.CoreV1Interface { return c.core }

type coreClient struct {
	corev1.CoreV1Interface
	events kubernetes.Interface
	watch  *saveWatch
}

func (c coreClient) Events(namespace string) corev1.EventInterface {
	return c.events.CoreV1().Events(namespace)
}

func (c coreClient) PersistentVolumes() corev1.PersistentVolumeInterface {
	return volumeClient{c.CoreV1Interface.PersistentVolumes(), c.watch}
}

type volumeClient struct {
	corev1.PersistentVolumeInterface
	watch *saveWatch
}

// Create saves a PersistentVolume within saveTimeout.
func (c volumeClient) Create(ctx context.Context, pv *v1.PersistentVolume, o metav1.CreateOptions) (*v1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	saved, err := c.PersistentVolumeInterface.Create(ctx, pv, o)
	c.watch.observe(pv, err)
	return saved, err
}

// saveWatch tells the gate when a PersistentVolume is saved, and the user when
// the API server will never take it: the library would try again for ever and
// say so in its log alone.
type saveWatch struct {
	gate     *gate
	recorder record.EventRecorder
	metrics  *metrics
}

func (w *saveWatch) observe(pv *v1.PersistentVolume, err error) {
	switch {
	case err == nil || apierrors.IsAlreadyExists(err):
		w.gate.leave(opSave, pv.Name)
	case refusedForGood(err) && pv.Spec.ClaimRef != nil:
		w.metrics.failures.WithLabelValues(opSave, pv.Spec.StorageClassName, reasonSave).Inc()
		w.recorder.Event(pv.Spec.ClaimRef, v1.EventTypeWarning, eventProvisionFailed,
			fmt.Sprintf("the API server refuses PersistentVolume %s: %v; the directory is kept and saving is tried again", pv.Name, err))
	}
}

// refusedForGood tells a refusal of the object from a server that is out of
// order.
func refusedForGood(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsNotAcceptable(err)
}

// Wrap makes a transport refuse to send for a replica that has led and does not lead any
// more. Every client of a replica that may lead needs it (rest.Config.Wrap), except the
// one that asks for the lease. A watch that is open goes on.
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
		_ = r.Body.Close() // of no use to anybody; a RoundTripper must
	}
	return nil, fmt.Errorf("not sent: %w", err)
}

// WrappedRoundTripper is for client-go, which looks for the transport that sends.
func (t leaderTransport) WrappedRoundTripper() http.RoundTripper { return t.next }
