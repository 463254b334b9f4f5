package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// testRenamed: a copy of the example that sets another namespace, other names and another
// provisioner's name, as its first lines say. Its share is bound, and its ServiceAccount
// may do what claimdir does.
func testRenamed(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	in := w.install("")
	share := clustertest.Namespace{T: t, Admin: bed.Admin, Name: in.namespace, Patience: w.Patience, Poll: w.Poll}
	if pv := share.Bound(w.Name + "-claimdir-share-mine"); pv.Spec.NFS.Server != testbed.Server {
		t.Errorf("the share is bound to %s of %s", pv.Name, pv.Spec.NFS.Server)
	}

	w.process = w.start(in.env()...)
	w.Claim("data", clustertest.OfClass(in.class))
	pv := w.Bound("data")
	leases, err := bed.Admin.CoordinationV1().Leases(in.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 1 {
		t.Errorf("the namespace has %d leases, %v", len(leases.Items), err)
	}
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantEntries(".", "archived-"+w.Name+"-data-"+pv.Name)
	w.healthy()
}

// installed is a copy of the example on the cluster.
type installed struct{ namespace, class, kubeconfig string }

// env is the environment of its pod, as far as it differs from the bed's.
func (i installed) env() []string {
	return []string{"KUBECONFIG=" + i.kubeconfig, "POD_NAMESPACE=" + i.namespace}
}

// install applies a copy of the example in a namespace and under names of its own, for the
// share of the world, with more lines in its file. MANIFESTS in them stands for our
// manifests' directory.
func (w *world) install(more string) installed {
	w.T.Helper()
	in := installed{namespace: w.Name + "-system", class: w.Name + "-claimdir-mine"}
	example, err := os.ReadFile("../../manifests/overlays/example/kustomization.yaml")
	w.Must(err)
	mine := strings.NewReplacer(
		"../../", "MANIFESTS/", "provisioner=claimdir/nfs", "provisioner="+w.provisioner,
		"server=nfs.example.com", "server="+testbed.Server, "path=/exports/claimdir", "path="+testbed.Export,
	).Replace(string(example))
	mine += "\nnamespace: " + in.namespace + "\nnamePrefix: " + w.Name + "-\nnameSuffix: -mine\n" + more
	rendered := w.render(mine)
	w.kubectl(rendered, "apply", "-f", "-")
	w.T.Cleanup(func() {
		if _, err := w.bed.KubectlInput(context.WithoutCancel(w.T.Context()), rendered, "delete", "--wait=false", "-f", "-"); err != nil {
			w.T.Log(err)
		}
	})
	token, err := w.bed.Kubectl(w.T.Context(), "create", "token", w.Name+"-claimdir-mine", "-n", in.namespace, "--duration=1h")
	w.Must(err)
	in.kubeconfig, err = w.bed.KubeconfigFor(w.Name, strings.TrimSpace(token))
	w.Must(err)
	return in
}

// testHardened: with components/hardening claimdir works as ever, and its token is good for
// no other PersistentVolume.
func testHardened(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	in := w.install("components: [MANIFESTS/components/hardening]\n")
	foreign := handPV(w.Name+"-foreign", testbed.Server, testbed.Export+"/foreign")
	_, err := bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), foreign, metav1.CreateOptions{})
	w.Must(err)
	config, err := clientcmd.BuildConfigFromFlags("", in.kubeconfig)
	w.Must(err)
	client, err := kubernetes.NewForConfig(config)
	w.Must(err)
	stolen := client.CoreV1().PersistentVolumes()
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	w.Eventually("the policy is in force", func() error {
		err := stolen.Delete(t.Context(), foreign.Name, metav1.DeleteOptions{DryRun: dry.DryRun})
		return refusedWith(err, "claimdir may only work on nfs volumes")
	})

	w.process = w.start(in.env()...)
	w.Claim("data", clustertest.OfClass(in.class))
	w.Claim("stays", clustertest.OfClass(in.class))
	pv := w.Bound("data")
	stays := w.Bound("stays").Name
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)

	migrated := handPV(w.Name+"-migrated", testbed.Server, testbed.Export+"/migrated") // claimdir serves these, too
	migrated.Annotations["pv.kubernetes.io/migrated-to"] = w.provisioner
	_, err = bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), migrated, metav1.CreateOptions{})
	w.Must(err)

	made := func(change func(*v1.PersistentVolume)) *v1.PersistentVolume {
		pv := handPV(w.Name+"-made", testbed.Server, testbed.Export+"/made")
		pv.Annotations["pv.kubernetes.io/provisioned-by"] = w.provisioner
		change(pv)
		return pv
	}
	for name, tt := range map[string]struct {
		change func(*v1.PersistentVolume)
		want   string // empty: it is let in
	}{
		"its own": {func(*v1.PersistentVolume) {}, ""},
		"of the node's files": {func(pv *v1.PersistentVolume) {
			pv.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/"}}
		}, "only work on nfs volumes"},
		"of no provisioner": {func(pv *v1.PersistentVolume) { pv.Annotations = nil }, "only work on nfs volumes"},
		"of another provisioner": {func(pv *v1.PersistentVolume) {
			pv.Annotations["pv.kubernetes.io/provisioned-by"] = "other.example.com/nfs"
		}, "only work on nfs volumes"},
		"of another provisioner, migrated": {func(pv *v1.PersistentVolume) {
			pv.Annotations["pv.kubernetes.io/provisioned-by"] = "other.example.com/nfs"
			pv.Annotations["pv.kubernetes.io/migrated-to"] = w.provisioner
		}, "only work on nfs volumes"},
		"on another server":     {func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "other.example.com" }, "only create volumes on its shares"},
		"beside its share":      {func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = testbed.Export + "2/made" }, "only create volumes on its shares"},
		"of the whole share":    {func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = testbed.Export }, "only create volumes on its shares"},
		"that leaves its share": {func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = testbed.Export + "/../etc" }, "only create volumes on its shares"},
	} {
		if _, err := stolen.Create(t.Context(), made(tt.change), dry); tt.want == "" && err != nil || tt.want != "" && refusedWith(err, tt.want) != nil {
			t.Errorf("a volume %s: %v", name, err)
		}
	}
	for volume, patches := range map[string]map[string]string{
		stays: {
			`{"metadata":{"finalizers":null}}`:                                                          "",
			`{"spec":{"capacity":{"storage":"9Ti"}}}`:                                                   "",
			`{"spec":{"capacity":{"storage":"1Ki"}}}`:                                                   "only change the finalizers",
			`{"spec":{"storageClassName":"other"}}`:                                                     "only change the finalizers",
			`{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`:                                       "only change the finalizers",
			`{"spec":{"claimRef":{"namespace":"default","name":"mine"}}}`:                               "only change the finalizers",
			`{"metadata":{"annotations":{"claimdir/on-delete":"delete"}}}`:                              "only change the finalizers",
			`{"metadata":{"annotations":{"pv.kubernetes.io/provisioned-by":"other.example.com/nfs"}}}`:  "only change the finalizers",
			`{"metadata":{"labels":{"a":"b"}}}`:                                                         "only change the finalizers",
			`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"a","uid":"b"}]}}`: "only change the finalizers",
		},
		migrated.Name: {
			`{"metadata":{"finalizers":null}}`: "",
			`{"metadata":{"annotations":{"pv.kubernetes.io/provisioned-by":"` + w.provisioner + `"}}}`: "only change the finalizers",
		},
		foreign.Name: {
			`{"metadata":{"finalizers":null}}`: "only work on nfs volumes",
			`{"metadata":{"annotations":{"pv.kubernetes.io/migrated-to":"` + w.provisioner + `"}}}`:    "only work on nfs volumes",
			`{"metadata":{"annotations":{"pv.kubernetes.io/provisioned-by":"` + w.provisioner + `"}}}`: "only work on nfs volumes",
		},
	} {
		for patch, want := range patches {
			_, err := stolen.Patch(t.Context(), volume, types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dry.DryRun})
			if want == "" && err != nil || want != "" && refusedWith(err, want) != nil {
				t.Errorf("%s of %s: %v", patch, volume, err)
			}
		}
	}
	claims := client.CoreV1().PersistentVolumeClaims(w.Name)
	for patch, want := range map[string]string{
		`{"status":{"conditions":[{"type":"Resizing","status":"True"}]}}`:                                "",
		`{"status":{"conditions":[{"type":"claimdir/OverSize","status":"True"}]}}`:                       "",
		`{"status":{"capacity":{"storage":"9Ti"}}}`:                                                      "",
		`{"status":{"capacity":{"storage":"1Ki"}}}`:                                                      "only say in a claim's status",
		`{"status":{"allocatedResources":{"storage":"9Ti"}}}`:                                            "only say in a claim's status",
		`{"metadata":{"finalizers":null}}`:                                                               "not change the metadata of a claim",
		`{"metadata":{"annotations":{"a":"b"}}}`:                                                         "not change the metadata of a claim",
		`{"metadata":{"labels":{"a":"b"}}}`:                                                              "not change the metadata of a claim",
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"b"}]}}`: "not change the metadata of a claim",
		`{"status":{"phase":"Lost"}}`:                                                                    "only say in a claim's status",
		`{"status":{"conditions":[{"type":"example.com/backup","status":"False"}]}}`:                     "only say in a claim's status",
	} {
		_, err := claims.Patch(t.Context(), "stays", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dry.DryRun}, "status")
		if want == "" && err != nil || want != "" && refusedWith(err, want) != nil {
			t.Errorf("%s of a claim: %v", patch, err)
		}
	}
	w.Must(w.resize("stays", "2Gi"))
	w.expanded("stays", "2Gi")
	w.patchVolume(foreign.Name, `{"metadata":{"labels":{"of":"admin"}}}`) // others are not affected
	w.Must(stolen.Delete(t.Context(), migrated.Name, metav1.DeleteOptions{}))
	w.Must(bed.Admin.CoreV1().PersistentVolumes().Delete(t.Context(), foreign.Name, metav1.DeleteOptions{}))
	w.healthy()
}

// refusedWith returns nil if err is a refusal of the API server that contains text.
func refusedWith(err error, text string) error {
	if err == nil || !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("want a refusal with %q, got %w", text, cmp.Or(err, errors.New("none")))
	}
	return nil
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
