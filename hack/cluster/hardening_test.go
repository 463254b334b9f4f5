package cluster

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/clustertest"
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

// testSnapshotHardened: with components/hardening claimdir makes and removes snapshots as ever, and its token is good for no
// VolumeSnapshotContent of another driver, and for nothing of a VolumeSnapshot but to name the class where none is named.
func testSnapshotHardened(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	in := w.install("components: [MANIFESTS/components/hardening, MANIFESTS/components/snapshots]\n")
	config, err := clientcmd.BuildConfigFromFlags("", in.kubeconfig)
	w.Must(err)
	stolen, err := dynamic.NewForConfig(config)
	w.Must(err)
	dry := []string{metav1.DryRunAll}
	contents := stolen.Resource(snapshotAPI("volumesnapshotcontents"))
	snapshots := stolen.Resource(snapshotAPI("volumesnapshots")).Namespace(w.Name)
	create := func(driver string) error {
		_, err := contents.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": w.Name + "-made"},
			"spec": map[string]any{
				"driver": driver, "deletionPolicy": "Delete", "source": map[string]any{"volumeHandle": "a"},
				"volumeSnapshotRef": map[string]any{"namespace": w.Name, "name": "a"},
			},
		}}, metav1.CreateOptions{DryRun: dry})
		return err
	}
	const others = "only make and change VolumeSnapshotContents whose driver is one of "
	foreign := "foreign.example.com/" + w.Name
	w.Eventually("the policy is in force", func() error { return refusedWith(create(foreign), others+w.provisioner) })
	w.Must(create(w.provisioner))

	untyped := "untyped.example.com/" + w.Name // a name that nobody has typed into the policy
	w.process = w.start(append(in.env(), "ADDITIONAL_PROVISIONER_NAMES="+untyped)...)
	w.Claim("data", clustertest.OfClass(in.class))
	w.write("data", "first")
	w.snapshot("goes", "data", "")
	w.snapshot("stays", "data", in.class)
	w.snapshot("classless", "none", "") // it waits for its claim
	goes, gone := w.ready("goes")
	_, own := w.ready("stays")
	if class := field(goes, "spec", "volumeSnapshotClassName"); class != in.class {
		t.Errorf("the snapshot has the class %q", class)
	}
	w.wantFile(w.treeOf(gone.GetName())+"/file", "first")
	w.deleteSnapshot("goes")
	w.snapshotGone("goes")
	w.contentGone(gone.GetName())

	as := *w
	as.provisioner = foreign
	as.makeContent(w.Name+"-foreign", v1.ObjectReference{Namespace: w.Name, Name: "foreign"}, map[string]any{"snapshotHandle": "a"}, "Retain")
	as.provisioner = untyped
	as.snapshotClass(w.Name+"-untyped", "Delete", nil, nil)
	w.snapshot("untyped", "data", w.Name+"-untyped")
	w.Event(w.Name, "untyped", "SnapshotFailed: .*"+others)

	const content = "only change the finalizers and the status of a VolumeSnapshotContent"
	const name = "only name the class of a VolumeSnapshot that names none"
	const owner = `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"a","uid":"b"}]}}`
	for _, tt := range []struct {
		of                dynamic.ResourceInterface
		name, part, patch string
		want              string // empty: it is let in
	}{
		{contents, own.GetName(), "", `{"metadata":{"finalizers":null}}`, ""},
		{contents, own.GetName(), "status", `{"status":{"readyToUse":false}}`, ""},
		{contents, own.GetName(), "", `{"spec":{"deletionPolicy":"Retain"}}`, content},
		{contents, own.GetName(), "", `{"spec":{"volumeSnapshotRef":{"name":"mine"}}}`, content},
		{contents, own.GetName(), "", `{"metadata":{"annotations":{"claimdir/retention":"1d"}}}`, content},
		{contents, own.GetName(), "", `{"metadata":{"labels":{"a":"b"}}}`, content},
		{contents, own.GetName(), "", owner, content},
		{contents, w.Name + "-foreign", "", `{"metadata":{"finalizers":["example.com/stay"]}}`, others},
		{contents, w.Name + "-foreign", "status", `{"status":{"readyToUse":true,"snapshotHandle":"b"}}`, others},
		{snapshots, "classless", "", `{"spec":{"volumeSnapshotClassName":"` + in.class + `"}}`, ""},
		{snapshots, "classless", "", `{"spec":{"volumeSnapshotClassName":"` + in.class + `"},"metadata":{"labels":{"a":"b"}}}`, name},
		{snapshots, "classless", "", `{"metadata":{"annotations":{"a":"b"}},"spec":{"volumeSnapshotClassName":"` + in.class + `"}}`, name},
		{snapshots, "stays", "", `{"spec":{"volumeSnapshotClassName":"other"}}`, name},
		{snapshots, "stays", "", `{"metadata":{"finalizers":null}}`, name},
		{snapshots, "stays", "", owner, name},
	} {
		var part []string
		if tt.part != "" {
			part = append(part, tt.part)
		}
		_, err := tt.of.Patch(t.Context(), tt.name, types.MergePatchType, []byte(tt.patch), metav1.PatchOptions{DryRun: dry}, part...)
		if tt.want == "" && err != nil || tt.want != "" && refusedWith(err, tt.want) != nil {
			t.Errorf("%s of %s: %v", tt.patch, tt.name, err)
		}
	}
	w.deleteContent(w.Name + "-foreign") // others are not affected
	w.contentGone(w.Name + "-foreign")
	w.healthy()
}
