package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"claimdir/hack/testbed"
)

// testLists: before streaming lists were on everywhere, informers listed and
// then watched; that takes the verb list.
func testLists(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "KUBE_FEATURE_WatchListClient=false")
	w.class()
	w.Claim("data")
	w.Bound("data")
}

const refuseVolumes = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [persistentvolumes]}]
  validations: [{expression: "object.spec.storageClassName != 'NAME'", message: "no volumes on Mondays"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, validationActions: [Deny]}
`

func testRefusedByServer(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	policy := strings.ReplaceAll(refuseVolumes, "NAME", w.Name)
	w.kubectl(policy, "apply", "-f", "-")
	probe := fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %[1]s}, spec: {storageClassName: %[1]s, accessModes: [ReadWriteMany], capacity: {storage: 1Mi}, nfs: {server: a, path: /b}}}`, w.Name)
	w.Eventually("the policy is in force", func() error {
		_, err := bed.KubectlInput(t.Context(), probe, "create", "--dry-run=server", "-f", "-")
		if err == nil {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	w.class()
	w.Claim("data")
	w.Event(w.Name, "data", `ProvisioningFailed: the API server refuses PersistentVolume pvc-.*no volumes on Mondays.*the directory is kept`)
	w.Eventually("it is counted", func() error {
		metrics, err := w.process.Get(t.Context(), "/metrics")
		if want := fmt.Sprintf(`claimdir_refusals_total{class=%q,operation="save",reason="save"}`, w.Name); err == nil && !strings.Contains(metrics, want) {
			err = fmt.Errorf("no %s", want)
		}
		return err
	})
	w.kubectl(policy, "delete", "-f", "-")
	w.Bound("data")
	if entries := w.entries("."); len(entries) != 1 {
		t.Errorf("the share holds %q", entries)
	}
}

// testPodSecurity: with components/nonroot the pod passes the restricted
// profile; without it only the uid is in the way.
func testPodSecurity(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.kubectl("", "label", "namespace", w.Name, "pod-security.kubernetes.io/enforce=restricted")
	w.Eventually("the default ServiceAccount is there", func() error {
		_, err := bed.Admin.CoreV1().ServiceAccounts(w.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	err := w.admit("resources: [MANIFESTS/overlays/example]\n")
	if err == nil {
		t.Fatal("the base passes the restricted profile as uid 0")
	}
	_, violations, _ := strings.Cut(err.Error(), `violates PodSecurity "restricted:latest": `)
	for _, violation := range regexp.MustCompile(`\w+ ?!?= ?\w+`).FindAllString(violations, -1) {
		if violation != "runAsNonRoot != true" && violation != "runAsUser=0" && violation != "runAsNonRoot=true" {
			t.Errorf("the base violates the restricted profile by %q: %v", violation, err)
		}
	}
	if !strings.Contains(violations, "runAsUser=0") {
		t.Errorf("want the uid as the reason: %v", err)
	}
	if err := w.admit("resources: [MANIFESTS/overlays/example]\ncomponents: [MANIFESTS/components/nonroot]\n"); err != nil {
		t.Errorf("with components/nonroot: %v", err)
	}

	// The pod of the base is admitted to its own namespace, and its share is
	// bound to the volume that the overlay fills in; no kubelet runs it here.
	w.Eventually("the pod is admitted", func() error {
		pods, err := bed.Admin.CoreV1().Pods("claimdir").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=claimdir"})
		if err == nil && len(pods.Items) == 0 {
			err = errors.New("no pod")
		}
		return err
	})
	w.Eventually("the share is bound", func() error {
		claim, err := bed.Admin.CoreV1().PersistentVolumeClaims("claimdir").Get(t.Context(), "claimdir-share", metav1.GetOptions{})
		if err == nil && claim.Status.Phase != v1.ClaimBound {
			err = fmt.Errorf("its claim is %s", claim.Status.Phase)
		}
		return err
	})
}

// render builds an overlay. MANIFESTS in its text stands for our manifests' directory.
func (w *world) render(kustomization string) string {
	w.T.Helper()
	overlay := w.T.TempDir()
	manifests, err := filepath.Abs("../../manifests")
	w.Must(err)
	manifests, err = filepath.Rel(overlay, manifests) // kustomize takes no absolute path
	w.Must(err)
	kustomization = strings.ReplaceAll(kustomization, "MANIFESTS", manifests)
	w.Must(os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(kustomization), 0o600))
	rendered, err := w.bed.Kubectl(w.T.Context(), "kustomize", overlay)
	w.Must(err)
	return rendered
}

// admit asks the API server whether the world's namespace would admit the pod of an
// overlay (see render).
func (w *world) admit(kustomization string) error {
	w.T.Helper()
	rendered := w.render(kustomization)
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		if !strings.Contains(document, "\nkind: Deployment\n") {
			continue
		}
		var deployment appsv1.Deployment
		w.Must(yaml.UnmarshalStrict([]byte(document), &deployment))
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "claimdir"}, Spec: deployment.Spec.Template.Spec}
		pod.Spec.ServiceAccountName = "default" // ours is in another namespace
		_, err := w.bed.Admin.CoreV1().Pods(w.Name).Create(w.T.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	w.T.Fatal("the overlay has no Deployment")
	return nil
}

func (w *world) kubectl(stdin string, args ...string) {
	w.T.Helper()
	_, err := w.bed.KubectlInput(w.T.Context(), stdin, args...)
	w.Must(err)
}
