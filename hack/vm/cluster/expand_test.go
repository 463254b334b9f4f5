//go:build vm

package cluster

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/vm/node"
)

// kubeletLines is how many lines kubelet has logged that it cannot expand the volume: see kubernetes#122037.
func (w *world) kubeletLines(pv string) int {
	w.T.Helper()
	n, err := strconv.Atoi(w.server("grep 'failed to find expandable plugin' /var/log/kubelet.log | grep -c %s || true", pv))
	w.Must(err)
	return n
}

// expand edits what a claim asks for, and waits until its status says that it has that.
func (w *world) expand(name, size string) {
	w.T.Helper()
	claims, began := w.node.Admin.CoreV1().PersistentVolumeClaims(w.Name), time.Now()
	patch := fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":%q}}}}`, size)
	_, err := claims.Patch(w.T.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	w.Must(err)
	w.Eventually("the claim has its new size", func() error {
		claim, err := claims.Get(w.T.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := claim.Status.Capacity[v1.ResourceStorage]; got.Cmp(resource.MustParse(size)) != 0 {
			return fmt.Errorf("it has %s", got.String())
		}
		return nil
	})
	w.T.Logf("expanded after %v", time.Since(began).Round(10*time.Millisecond))
}

// testExpandMounted expands a volume that a pod writes to. The pod goes on; what kubelet logs meanwhile is what
// docs/expand.md says, and ends with the pod.
func testExpandMounted(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	class := w.classObject()
	class.AllowVolumeExpansion = new(true)
	w.createClass(class)
	counter := w.counter()
	pv := w.Bound("counter")

	w.expand("counter", "2Gi")
	w.eventOn("counter", `^VolumeResizeSuccessful: the volume has 2Gi now`)
	counter.goesOn()

	before, from := w.kubeletLines(pv.Name), time.Now()
	time.Sleep(20 * time.Second)
	lines, took := w.kubeletLines(pv.Name)-before, time.Since(from)
	perSecond := float64(lines) / took.Seconds()
	t.Logf("kubelet logged %d lines in %v, %.1f a second", lines, took.Round(time.Second), perSecond)
	if perSecond > 15 {
		t.Errorf("docs/expand.md says ten lines a second")
	}
	counter.goesOn()

	w.deletePod("counter")
	w.pod("again", "counter", sleep)
	w.phase("again", v1.PodRunning)
	before = w.kubeletLines(pv.Name)
	time.Sleep(5 * time.Second)
	if lines := w.kubeletLines(pv.Name) - before; lines > 0 {
		t.Errorf("kubelet logged %d lines about a volume that was mounted after its expansion", lines)
	}
}
