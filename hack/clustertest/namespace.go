// Package clustertest is what tests say to a cluster, real or emulated: claims
// and volumes of one namespace, and waiting for what must come true.
package clustertest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Namespace is one test's part of a cluster.
type Namespace struct {
	T     *testing.T
	Admin kubernetes.Interface
	// Name is that of the namespace, and of the class that Claim takes.
	Name string
	// Patience is how long something may take that should take moments, and
	// Poll how often Eventually looks.
	Patience, Poll time.Duration
}

// New makes a namespace with a name of its own and these labels.
func New(t *testing.T, admin kubernetes.Interface, patience, poll time.Duration, labels map[string]string) *Namespace {
	t.Helper()
	namespace, err := admin.CoreV1().Namespaces().Create(t.Context(),
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "case-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &Namespace{T: t, Admin: admin, Name: namespace.Name, Patience: patience, Poll: poll}
}

// Claim makes a claim for many writers, which change may change.
func (n *Namespace) Claim(name string, change ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	n.T.Helper()
	claim := NewClaim(name, n.Name)
	for _, c := range change {
		c(claim)
	}
	created, err := n.Admin.CoreV1().PersistentVolumeClaims(n.Name).Create(n.T.Context(), claim, metav1.CreateOptions{})
	n.Must(err)
	return created
}

// NewClaim is a claim for many writers.
func NewClaim(name, class string) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
}

// Annotated gives a claim an annotation.
func Annotated(key, value string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { metav1.SetMetaDataAnnotation(&c.ObjectMeta, key, value) }
}

// OfClass gives a claim another class.
func OfClass(name string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}

// Mode gives a claim other access modes.
func Mode(modes ...v1.PersistentVolumeAccessMode) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.AccessModes = modes }
}

// VolumeOfPeer is the PersistentVolume that nfs-subdir-external-provisioner makes for a claim, by its spec.volumeName.
func VolumeOfPeer(claim *v1.PersistentVolumeClaim, provisioner, server, path string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: claim.Spec.VolumeName, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			ClaimRef:                      &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: path}},
		},
	}
}

// DeleteClaim deletes a claim and does not wait.
func (n *Namespace) DeleteClaim(name string) {
	n.T.Helper()
	n.Must(n.Admin.CoreV1().PersistentVolumeClaims(n.Name).Delete(n.T.Context(), name, metav1.DeleteOptions{}))
}

// Bound waits until the claim is Bound and returns its volume.
func (n *Namespace) Bound(name string) *v1.PersistentVolume {
	n.T.Helper()
	var pv *v1.PersistentVolume
	n.Eventually("claim "+name+" is Bound", func() error {
		claim, err := n.Admin.CoreV1().PersistentVolumeClaims(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if claim.Status.Phase != v1.ClaimBound {
			return fmt.Errorf("it is %s; events: %q", claim.Status.Phase, n.Warnings(n.Name, name))
		}
		pv, err = n.Admin.CoreV1().PersistentVolumes().Get(n.T.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		return err
	})
	return pv
}

// VolumeGone waits until the PersistentVolume is gone.
func (n *Namespace) VolumeGone(name string) {
	n.T.Helper()
	n.Eventually("volume "+name+" is gone", func() error {
		pv, err := n.Admin.CoreV1().PersistentVolumes().Get(n.T.Context(), name, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it is %s; events: %q", pv.Status.Phase, n.Warnings("default", name))
		}
		return ignoreNotFound(err)
	})
}

// Event waits for a warning on the named object that matches pattern.
func (n *Namespace) Event(namespace, object, pattern string) {
	n.T.Helper()
	n.event(namespace, object, pattern, n.Warnings)
}

// EventOfAnyType is Event for normal events too.
func (n *Namespace) EventOfAnyType(namespace, object, pattern string) {
	n.T.Helper()
	n.event(namespace, object, pattern, n.Events)
}

func (n *Namespace) event(namespace, object, pattern string, of func(namespace, object string) []string) {
	n.T.Helper()
	n.Eventually(fmt.Sprintf("%s has an event that matches %q", object, pattern), func() error {
		messages := of(namespace, object)
		if !slices.ContainsFunc(messages, regexp.MustCompile(pattern).MatchString) {
			return fmt.Errorf("events: %q", messages)
		}
		return nil
	})
}

// Warnings returns the events of that kind on an object, as "reason: message".
func (n *Namespace) Warnings(namespace, object string) []string {
	n.T.Helper()
	return n.events(namespace, "involvedObject.name="+object+",type=Warning")
}

// Events returns all events on an object, as "reason: message".
func (n *Namespace) Events(namespace, object string) []string {
	n.T.Helper()
	return n.events(namespace, "involvedObject.name="+object)
}

func (n *Namespace) events(namespace, selector string) (messages []string) {
	n.T.Helper()
	events, err := n.Admin.CoreV1().Events(namespace).List(n.T.Context(), metav1.ListOptions{FieldSelector: selector})
	n.Must(err)
	for _, e := range events.Items {
		messages = append(messages, e.Reason+": "+e.Message)
	}
	return messages
}

// Eventually looks until check is content, and fails after Patience with what
// it said last.
func (n *Namespace) Eventually(what string, check func() error) {
	n.T.Helper()
	deadline := time.Now().Add(n.Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.T.Fatalf("after %v it does not hold that %s: %v", n.Patience, what, err)
		}
		select {
		case <-n.T.Context().Done():
			n.T.Fatal(n.T.Context().Err())
		case <-time.After(n.Poll):
		}
	}
}

// Must ends the test if err is one.
func (n *Namespace) Must(err error) {
	n.T.Helper()
	if err != nil {
		n.T.Fatal(err)
	}
}

// NotFound turns the answer to a Get into what Eventually wants of an object
// that must go.
func NotFound(err error) error {
	if err == nil {
		return errors.New("it is there")
	}
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
