package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"claimdir/provisioner/control"
)

// As kubectl does, KUBECONFIG may name several files, of which some may be missing.
func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"one": "contexts: [{name: c, context: {cluster: k}}]\ncurrent-context: c\n",
		"two": "clusters: [{name: k, cluster: {server: \"https://api.example.com\"}}]\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte("apiVersion: v1\nkind: Config\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := restConfig(fmt.Sprintf("%s/one:%s/none:%s/two", dir, dir, dir))
	if err != nil || config.Host != "https://api.example.com" {
		t.Errorf("%v, %v", config, err)
	}
	if _, err := restConfig(dir + "/none"); err == nil || !strings.Contains(err.Error(), "no such file or directory; set KUBECONFIG, or run it in the pod") {
		t.Error(err)
	}
}

// Whatever may act for a leader asks first whether it still leads; the election itself,
// and what never leads, does not.
func TestClientsOfALeader(t *testing.T) {
	o := newOptions()
	o.kubeconfig = t.TempDir() + "/config"
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: k, cluster: {server: \"https://api.example.com\"}}]\n" +
		"contexts: [{name: c, context: {cluster: k}}]\ncurrent-context: c\n"
	if err := os.WriteFile(o.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	wrapper := fmt.Sprintf("%T", control.NewLeadership(nil).Wrap(nil))
	asks := func(client kubernetes.Interface) bool {
		transport := client.CoreV1().RESTClient().(*rest.RESTClient).Client.Transport
		for {
			if fmt.Sprintf("%T", transport) == wrapper {
				return true
			}
			outer, ok := transport.(utilnet.RoundTripperWrapper)
			if !ok {
				return false
			}
			transport = outer.WrappedRoundTripper()
		}
	}
	o.leaderElect, o.podNamespace = true, "claimdir"
	leadership, clients, err := connectToLead(o)
	if err != nil {
		t.Fatal(err)
	}
	if !asks(clients.Main) || !asks(clients.Events) || asks(clients.Lease) {
		t.Errorf("asks: main %v, events %v, lease %v", asks(clients.Main), asks(clients.Events), asks(clients.Lease))
	}
	if leadership.Check() == nil {
		t.Error("one of several leads before it is elected")
	}
	if clients, err = connect(o, nil); err != nil || asks(clients.Main) {
		t.Error("a command asks whether it leads:", err)
	}
	o.leaderElect = false
	if leadership, _, err = connectToLead(o); err != nil || leadership.Check() != nil {
		t.Error("the only one does not lead:", err)
	}
}
