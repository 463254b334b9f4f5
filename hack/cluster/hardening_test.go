package cluster

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/testbed"
)

// morePolicy is an overlay that types in a second provisioner name and a second share, as admission.yaml says.
const morePolicy = `components: [MANIFESTS/components/hardening]
patches:
- target: {kind: ValidatingAdmissionPolicy, name: claimdir}
  patch: |-
    - {op: replace, path: /spec/variables/0/expression, value: "['SET-IN-OVERLAY', '%s']"}
    - {op: replace, path: /spec/variables/1/expression, value: "[['SET-IN-OVERLAY', '/SET-IN-OVERLAY'], ['second.example.com', '/bulk/']]"}
`

// testHardenedTakeover: the API server lets claimdir take over and release volumes of another provisioner, and make
// volumes on each of several shares and on no other.
func testHardenedTakeover(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	peer := "cluster.local/" + w.Name
	in := w.install(fmt.Sprintf(morePolicy, peer))
	config, err := clientcmd.BuildConfigFromFlags("", in.kubeconfig)
	w.Must(err)
	client, err := kubernetes.NewForConfig(config)
	w.Must(err)
	create := func(provisioner, server, path string) error {
		pv := handPV(w.Name+"-made", server, path)
		pv.Annotations["pv.kubernetes.io/provisioned-by"] = provisioner
		_, err := client.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	w.Eventually("the policy is in force", func() error {
		return refusedWith(create("other.example.com/nfs", testbed.Server, testbed.Export+"/made"), "only work on nfs volumes")
	})
	for name, tt := range map[string]struct {
		provisioner, server, path string
		want                      string // empty: it is let in
	}{
		"of the other name":                  {peer, testbed.Server, testbed.Export + "/made", ""},
		"on the second share":                {w.provisioner, "second.example.com", "/bulk/a/made", ""},
		"beside the second share":            {w.provisioner, "second.example.com", "/bulk2/made", "only create volumes on its shares"},
		"with the path of one on the other":  {w.provisioner, testbed.Server, "/bulk/made", "only create volumes on its shares"},
		"on the second share, of nobody's":   {"x/y", "second.example.com", "/bulk/made", "only work on nfs volumes"},
		"of the second share as a whole":     {w.provisioner, "second.example.com", "/bulk", "only create volumes on its shares"},
		"that leaves the second share again": {w.provisioner, "second.example.com", "/bulk/../made", "only create volumes on its shares"},
	} {
		if err := create(tt.provisioner, tt.server, tt.path); tt.want == "" && err != nil || tt.want != "" && refusedWith(err, tt.want) != nil {
			t.Errorf("a volume %s: %v", name, err)
		}
	}

	archive, remove := w.peerClass(peer, "archive", "archiveOnDelete", "true"), w.peerClass(peer, "delete", "archiveOnDelete", "false")
	keeps := w.peerVolume(peer, "keeps", archive)
	goes := w.peerVolume(peer, "goes", remove)
	w.process = w.start(append(in.env(), "ADDITIONAL_PROVISIONER_NAMES="+peer)...)
	w.logged("Took over volumes that others made", "volumes=2")
	for claim, pv := range map[string]*v1.PersistentVolume{"keeps": keeps, "goes": goes} {
		w.DeleteClaim(claim)
		w.VolumeGone(pv.Name)
	}
	w.wantEntries(".", "archived-"+dirOf(keeps))
	w.healthy()
}

// testPodPolicies: what the components say of pods is about claimdir's, also under other names.
func testPodPolicies(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	in := w.install("components: [MANIFESTS/components/pdb, MANIFESTS/components/egress]\nreplicas: [{name: claimdir, count: 2}]\n")
	ctx := t.Context()
	w.Eventually("the budget counts two pods and needs one", func() error {
		budget, err := bed.Admin.PolicyV1().PodDisruptionBudgets(in.namespace).Get(ctx, w.Name+"-claimdir-mine", metav1.GetOptions{})
		if err == nil && (budget.Status.ExpectedPods != 2 || budget.Status.DesiredHealthy != 1) {
			err = fmt.Errorf("it is %+v", budget.Status)
		}
		return err
	})
	policy, err := bed.Admin.NetworkingV1().NetworkPolicies(in.namespace).Get(ctx, w.Name+"-claimdir-egress-mine", metav1.GetOptions{})
	w.Must(err)
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	w.Must(err)
	pods, err := bed.Admin.CoreV1().Pods(in.namespace).List(ctx, metav1.ListOptions{})
	w.Must(err)
	for _, pod := range pods.Items {
		if !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("the NetworkPolicy is not about pod %s, %v", pod.Name, pod.Labels)
		}
	}
	if len(pods.Items) != 2 || len(policy.Spec.Egress) != 1 || len(policy.Spec.Ingress) != 0 {
		t.Errorf("%d pods, %+v", len(pods.Items), policy.Spec)
	}
}
