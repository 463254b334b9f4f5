//go:build vm

package cluster

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/vm/node"
)

// testStatefulSet: a replica that comes back finds its own data; what the
// retention policy deletes is archived.
func testStatefulSet(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.statefulSet(2, podSpec("", "hostname >>/data/starts; "+sleep))
	first, second := w.Bound("data-set-0"), w.Bound("data-set-1")
	w.ready(2)
	w.scale(1)
	w.podGone("set-1")
	if again := w.Bound("data-set-1"); again.Name != second.Name {
		t.Errorf("scaling down replaced %s by %s", second.Name, again.Name)
	}
	w.scale(2)
	w.ready(2)
	w.Eventually("the replica has started twice on the same data", func() error {
		return w.holds(second.Spec.NFS.Path+"/starts", "set-1\nset-1")
	})

	w.kubectl("", "patch", "statefulset", "set", "-n", w.Name, "--type=merge", "-p",
		`{"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"}}}`)
	w.scale(1)
	w.claimGone("data-set-1")
	w.VolumeGone(second.Name)
	w.wantServer("set-1\nset-1", "cat %s/starts", w.archived(second, "data-set-1"))
	w.wantServer("set-0", "cat %s/starts", first.Spec.NFS.Path)

	w.Must(w.node.Admin.AppsV1().StatefulSets(w.Name).Delete(t.Context(), "set", metav1.DeleteOptions{}))
	w.claimGone("data-set-0")
	w.VolumeGone(first.Name)
	w.wantServer("set-0", "cat %s/starts", w.archived(first, "data-set-0"))
}

// statefulSet makes one with a claim "data" for each of its pods, all of which start at once.
func (w *world) statefulSet(replicas int32, spec v1.PodSpec, change ...func(*v1.PersistentVolumeClaim)) {
	w.T.Helper()
	labels := map[string]string{"app": "set"}
	spec.RestartPolicy, spec.Volumes = v1.RestartPolicyAlways, nil
	claim := clustertest.NewClaim("data", w.Name)
	for _, c := range change {
		c(claim)
	}
	_, err := w.node.Admin.AppsV1().StatefulSets(w.Name).Create(w.T.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas:             &replicas,
			PodManagementPolicy:  appsv1.ParallelPodManagement,
			Selector:             &metav1.LabelSelector{MatchLabels: labels},
			Template:             v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
			VolumeClaimTemplates: []v1.PersistentVolumeClaim{*claim},
		},
	}, metav1.CreateOptions{})
	w.Must(err)
}

func (w *world) scale(replicas int) {
	w.T.Helper()
	w.kubectl("", "scale", "statefulset", "set", "-n", w.Name, fmt.Sprint("--replicas=", replicas))
}

func (w *world) ready(replicas int32) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("%d replicas are ready", replicas), func() error {
		set, err := w.node.Admin.AppsV1().StatefulSets(w.Name).Get(w.T.Context(), "set", metav1.GetOptions{})
		if err == nil && set.Status.ReadyReplicas != replicas {
			err = fmt.Errorf("%d are", set.Status.ReadyReplicas)
		}
		return err
	})
}
