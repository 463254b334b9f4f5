package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/provisioner/control"
)

// leaseTimeout is the time-out of one renewal of the lease: half of the renew deadline, so
// that there is time for a second try.
const leaseTimeout = 5 * time.Second

// connect makes one client for each kind of traffic. No client limits its own rate: the
// number of workers bounds the requests, and the API server is fair to its clients.
// leadership is nil for commands, which never lead.
func connect(o options, leadership *control.Leadership) (control.Clients, error) {
	config, err := clientConfig(o, leadership)
	if err != nil {
		return control.Clients{}, err
	}
	// Every object that claimdir reads or writes has a protobuf form. It costs both sides less, and
	// the API server encodes a change once for all watchers of a form.
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// The API server would compress every change that is watched, which costs it more than it saves
	// on a cluster's network.
	config.DisableCompression = true
	lease := rest.CopyConfig(config)
	lease.Timeout, lease.WrapTransport = leaseTimeout, nil

	var clients control.Clients
	for _, c := range []struct {
		to     *kubernetes.Interface
		config *rest.Config
	}{{&clients.Main, config}, {&clients.Events, rest.CopyConfig(config)}, {&clients.Lease, lease}} {
		client, err := kubernetes.NewForConfig(c.config)
		if err != nil {
			return control.Clients{}, fmt.Errorf("connect to the cluster: %w", err)
		}
		*c.to = client
	}
	return clients, nil
}

// clientConfig returns how to connect. leadership is nil for commands, which never lead.
func clientConfig(o options, leadership *control.Leadership) (*rest.Config, error) {
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.UserAgent = "claimdir/" + version
	if leadership != nil {
		config.Wrap(leadership.Wrap)
	}
	return config, nil
}

// connectCommand is connect for a command. Outside a pod it takes the kubeconfig that kubectl takes.
func connectCommand(o options) (control.Clients, error) {
	o.findKubeconfig()
	return connect(o, nil)
}

// findKubeconfig sets the kubeconfig outside a pod to the file that kubectl takes, unless one is
// given. It reports whether it did.
func (o *options) findKubeconfig() bool {
	if o.kubeconfig != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return false
	}
	o.kubeconfig = clientcmd.RecommendedHomeFile
	return true
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("connect to the cluster: %w; outside a pod set KUBECONFIG", err)
		}
		return config, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if files := filepath.SplitList(kubeconfig); len(files) > 1 { // as kubectl does
		rules = &clientcmd.ClientConfigLoadingRules{Precedence: files}
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; set KUBECONFIG, or run it in the pod", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// clusterID returns the UID of the namespace kube-system, which lives as long as the
// cluster.
func clusterID(ctx context.Context, client kubernetes.Interface) (string, error) {
	system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("identify the cluster: %w", err)
	}
	return string(system.UID), nil
}

// ownNamespace returns the namespace of the pod, or an empty string outside a pod.
func ownNamespace() string {
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// cleanExport removes trailing slashes, which users often type.
func cleanExport(export string) string {
	if export == "" {
		return ""
	}
	return path.Clean(export)
}
