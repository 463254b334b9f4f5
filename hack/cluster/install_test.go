package cluster

import (
	"context"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// testRenamed: a copy of the example that sets another namespace, other names and another
// provisioner's name, as its first lines say. Its share is bound, and its ServiceAccount
// may do what claimdir does.
func testRenamed(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	namespace := w.Name + "-system"
	example, err := os.ReadFile("../../manifests/overlays/example/kustomization.yaml")
	w.Must(err)
	mine := strings.NewReplacer("../../", "MANIFESTS/", "provisioner=claimdir/nfs", "provisioner="+w.provisioner).Replace(string(example))
	mine += "\nnamespace: " + namespace + "\nnamePrefix: " + w.Name + "-\nnameSuffix: -mine\n"
	rendered := w.render(mine)
	w.kubectl(rendered, "apply", "-f", "-")
	t.Cleanup(func() {
		if _, err := bed.KubectlInput(context.WithoutCancel(t.Context()), rendered, "delete", "--wait=false", "-f", "-"); err != nil {
			t.Log(err)
		}
	})

	share := clustertest.Namespace{T: t, Admin: bed.Admin, Name: namespace, Patience: w.Patience, Poll: w.Poll}
	if pv := share.Bound(w.Name + "-claimdir-share-mine"); pv.Spec.NFS.Server != "nfs.example.com" {
		t.Errorf("the share is bound to %s of %s", pv.Name, pv.Spec.NFS.Server)
	}
	token, err := bed.Kubectl(t.Context(), "create", "token", w.Name+"-claimdir-mine", "-n", namespace, "--duration=1h")
	w.Must(err)
	kubeconfig, err := bed.KubeconfigFor(w.Name, strings.TrimSpace(token))
	w.Must(err)

	w.process = w.start("KUBECONFIG="+kubeconfig, "POD_NAMESPACE="+namespace)
	leases, err := bed.Admin.CoordinationV1().Leases(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 1 {
		t.Errorf("the namespace has %d leases, %v", len(leases.Items), err)
	}
	w.Claim("data", clustertest.OfClass(w.Name+"-claimdir-mine"))
	pv := w.Bound("data")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantEntries(".", "archived-"+w.Name+"-data-"+pv.Name)
	w.healthy()
}
