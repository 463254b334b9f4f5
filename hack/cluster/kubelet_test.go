package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"claimdir/hack/testbed"
)

// kubelet stands for the one of a node: the API server asks it to run something in a pod. It runs claimdir on this machine.
type kubelet struct {
	bed *testbed.Bed
	as  testbed.Config
}

// podOnNode makes a node with such a kubelet, and a pod there like that of the manifests.
func (w *world) podOnNode() {
	w.T.Helper()
	k := &kubelet{w.bed, testbed.Config{Share: w.share, Provisioner: w.provisioner}}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.exec)
	server := httptest.NewTLSServer(mux)
	w.T.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	w.Must(err)
	number, err := strconv.Atoi(port)
	w.Must(err)

	nodes, ctx := w.bed.Admin.CoreV1().Nodes(), w.T.Context()
	node, err := nodes.Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}, metav1.CreateOptions{})
	w.Must(err)
	w.T.Cleanup(func() {
		if err := nodes.Delete(context.WithoutCancel(ctx), w.Name, metav1.DeleteOptions{}); err != nil {
			w.T.Error(err)
		}
	})
	w.Eventually("the node has a kubelet", func() error {
		if node, err = nodes.Get(ctx, w.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		node.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: host}}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})

	pods := w.bed.Admin.CoreV1().Pods(w.Name)
	var pod *v1.Pod
	w.Eventually("the pod is admitted", func() error {
		pod, err = pods.Create(ctx, &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "claimdir", Labels: map[string]string{"app.kubernetes.io/name": "claimdir"}},
			Spec: v1.PodSpec{NodeName: w.Name, Containers: []v1.Container{{
				Name: "claimdir", Image: "claimdir", Env: []v1.EnvVar{{Name: "PROVISIONER_NAME", Value: w.provisioner}},
			}}},
		}, metav1.CreateOptions{})
		return err // until the namespace has its ServiceAccount
	})
	pod.Status.Phase, pod.Status.Conditions = v1.PodRunning, []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	w.Must(err)
}

func (k *kubelet) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	const patience = time.Minute
	remotecommand.ServeExec(w, r, k, r.PathValue("pod"), "", r.PathValue("container"), r.URL.Query()["command"], options,
		patience, patience, remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer implements remotecommand.Executor.
func (k *kubelet) ExecInContainer(ctx context.Context, _, _, container string, cmd []string, in io.Reader, out, stderr io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if container != "claimdir" || cmd[0] != "/claimdir" {
		return errors.New("the image has /claimdir alone")
	}
	run := k.bed.Command(ctx, k.as, cmd[1:]...)
	run.Stdin, run.Stdout, run.Stderr = in, out, stderr
	err := run.Run()
	if ended, is := errors.AsType[*exec.ExitError](err); is {
		return utilexec.CodeExitError{Err: err, Code: ended.ExitCode()}
	}
	return err
}
