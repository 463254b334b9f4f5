package cluster

import (
	"context"
	"os"
	"strings"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
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

// testUnserved: PROVISIONER_NAME was changed, and the class was not. doctor says so, and not
// of a class that another claimdir serves.
func testUnserved(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class()
	w.Claim("data")
	pv := w.Bound("data")
	changed := testbed.Config{Share: w.share, Provisioner: "test.claimdir/" + w.Name + "-new"}
	report := w.doctor(changed)
	if report.Checked.Classes != 0 {
		t.Errorf("%+v", report.Checked)
	}

	code := w.process.Stop() // gives the lease back
	if code != 0 {
		t.Errorf("claimdir ended with exit code %d", code)
	}
	report = w.doctor(changed, "volume "+pv.Name)
	if !strings.Contains(report.Findings[0].Remedy, `add "`+w.provisioner+`" to ADDITIONAL_PROVISIONER_NAMES`) {
		t.Errorf("%+v", report.Findings)
	}
	changed.Env = []string{"ADDITIONAL_PROVISIONER_NAMES=" + w.provisioner}
	w.doctor(changed)

	other := &world{Namespace: w.Namespace, bed: bed, provisioner: "claimdir/" + w.Name, share: t.TempDir()}
	other.createClass(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.Name + "-base"}, Provisioner: other.provisioner})
	report = w.doctor(changed, "class "+w.Name+"-base")
	if !strings.Contains(report.Findings[0].Remedy, "create it again with provisioner") {
		t.Errorf("%+v", report.Findings)
	}
	other.process = other.start()
	w.doctor(changed)
	other.healthy()
}
