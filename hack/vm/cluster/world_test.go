//go:build vm

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/vm/node"
)

// The exports of the node's own server.
const (
	// rootExport takes us for root.
	rootExport = "/srv/ext4/root"
	// ownedExport belongs to claimdirUID, on an XFS with project quotas.
	ownedExport = "/srv/quota-xfs/owned"
	// squashedExport belongs to claimdirUID, on an ext4 with project quotas, and takes root for nobody.
	squashedExport = "/srv/quota-ext4/squashed"
)

// patience is how long a step may take: kubelet's own retries come after half a
// minute and more, and everything is emulated.
const patience = 8 * time.Minute

// world is one case's namespace on the node.
type world struct {
	*clustertest.Namespace
	node *node.Node
}

// newWorld makes a namespace whose pods must keep to the Pod Security profile.
func newWorld(t *testing.T, n *node.Node, profile string) *world {
	t.Helper()
	namespace := clustertest.New(t, n.Admin, patience, 250*time.Millisecond,
		map[string]string{"pod-security.kubernetes.io/enforce": profile})
	w := &world{Namespace: namespace, node: n}
	report(t, n)
	t.Cleanup(func() { // ahead of the next case, which may disturb claimdir
		ctx := context.Background()
		if err := n.Admin.CoreV1().Namespaces().Delete(ctx, w.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return w
}

// class makes a class of the namespace's name; parameters are key, value, ….
func (w *world) class(parameters ...string) *storagev1.StorageClass {
	w.T.Helper()
	return w.createClass(w.classObject(parameters...))
}

func (w *world) classObject(parameters ...string) *storagev1.StorageClass {
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: "claimdir/nfs", Parameters: map[string]string{},
	}
	for pair := range slices.Chunk(parameters, 2) {
		class.Parameters[pair[0]] = pair[1]
	}
	return class
}

func (w *world) createClass(class *storagev1.StorageClass) *storagev1.StorageClass {
	w.T.Helper()
	created, err := w.node.Admin.StorageV1().StorageClasses().Create(w.T.Context(), class, metav1.CreateOptions{})
	w.Must(err)
	return created
}

// server runs a shell command on the NFS server, which is the node.
func (w *world) server(format string, args ...any) string {
	w.T.Helper()
	out, err := w.node.Run(w.T.Context(), fmt.Sprintf(format, args...))
	w.Must(err)
	return strings.TrimSpace(out)
}

// wantServer compares what a command on the server prints.
func (w *world) wantServer(want, format string, args ...any) {
	w.T.Helper()
	if got := w.server(format, args...); got != want {
		w.T.Errorf("on the server, %s says %q, want %q", fmt.Sprintf(format, args...), got, want)
	}
}

// archived is where the archive of a claim's volume is.
func (w *world) archived(pv *v1.PersistentVolume, claim string) string {
	share := pv.Spec.NFS.Path[:strings.LastIndex(pv.Spec.NFS.Path, "/")]
	return fmt.Sprintf("%s/archived-%s-%s-%s", share, w.Name, claim, pv.Name)
}

// pod starts a pod that runs a shell script, with the claim at /data.
func (w *world) pod(name, claim, script string, change ...func(*v1.Pod)) *v1.Pod {
	w.T.Helper()
	pod := newPod(name, claim, script)
	for _, c := range change {
		c(pod)
	}
	created, err := w.node.Admin.CoreV1().Pods(w.Name).Create(w.T.Context(), pod, metav1.CreateOptions{})
	w.Must(err)
	return created
}

// run is pod, and waits until the script has ended well; it returns its output.
func (w *world) run(name, claim, script string, change ...func(*v1.Pod)) string {
	w.T.Helper()
	w.pod(name, claim, script, change...)
	w.phase(name, v1.PodSucceeded)
	return w.logs(name)
}

// phase waits for a phase of a pod.
func (w *world) phase(name string, want v1.PodPhase) *v1.Pod {
	w.T.Helper()
	var pod *v1.Pod
	w.Eventually(fmt.Sprintf("pod %s is %s", name, want), func() (err error) {
		if pod, err = w.node.Admin.CoreV1().Pods(w.Name).Get(w.T.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		if pod.Status.Phase == want {
			return nil
		}
		if pod.Status.Phase == v1.PodFailed {
			w.T.Fatalf("pod %s failed; it says: %s", name, w.logs(name))
		}
		return fmt.Errorf("it is %s; events: %q", pod.Status.Phase, w.Warnings(w.Name, name))
	})
	return pod
}

func (w *world) logs(pod string) string {
	w.T.Helper()
	out, err := w.node.Admin.CoreV1().Pods(w.Name).GetLogs(pod, &v1.PodLogOptions{}).DoRaw(w.T.Context())
	w.Must(err)
	return string(out)
}

// deletePod deletes a pod and waits until it is gone.
func (w *world) deletePod(name string) {
	w.T.Helper()
	w.Must(w.node.Admin.CoreV1().Pods(w.Name).Delete(w.T.Context(), name, metav1.DeleteOptions{}))
	w.podGone(name)
}

func (w *world) podGone(name string) {
	w.T.Helper()
	w.Eventually("pod "+name+" is gone", func() error {
		_, err := w.node.Admin.CoreV1().Pods(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
		return clustertest.NotFound(err)
	})
}

// release deletes the claim, and its pods, and waits until its volume is gone.
func (w *world) release(claim string) *v1.PersistentVolume {
	w.T.Helper()
	pv := w.Bound(claim)
	w.DeleteClaim(claim)
	pods, err := w.node.Admin.CoreV1().Pods(w.Name).List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	for _, pod := range pods.Items { // a pod that has ended protects its claims, too
		if source := pod.Spec.Volumes[0].PersistentVolumeClaim; source != nil && source.ClaimName == claim {
			w.deletePod(pod.Name)
		}
	}
	w.VolumeGone(pv.Name)
	return pv
}

// exec runs a shell command in the first container of a pod.
func (w *world) exec(pod, command string) (string, error) {
	return w.node.Kubectl.Run(w.T.Context(), "", "exec", "-n", w.Name, pod, "--", "sh", "-euc", command)
}

// kubectl runs kubectl, with a standard input unless that is empty.
func (w *world) kubectl(stdin string, args ...string) string {
	w.T.Helper()
	out, err := w.node.Kubectl.Run(w.T.Context(), stdin, args...)
	w.Must(err)
	return out
}
