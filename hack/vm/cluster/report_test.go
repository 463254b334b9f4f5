//go:build vm

package cluster

import (
	"context"
	"testing"

	"claimdir/hack/vm/node"
)

// report prints, if the test fails, what somebody looks for then. It comes
// before the test's namespace goes.
func report(t *testing.T, n *node.Node) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx := context.Background()
		for _, args := range [][]string{
			{"get", "pods,pvc,pv,leases,volumesnapshots,volumesnapshotcontents", "-A", "-o", "wide"},
			{"get", "events", "-A", "--sort-by=.lastTimestamp"},
			{"logs", "-n", "claimdir", "-l", "app.kubernetes.io/name=claimdir", "--tail=60", "--prefix"},
			{"logs", "-n", "kube-system", "-l", "app.kubernetes.io/name=snapshot-controller", "--tail=20", "--prefix"},
		} {
			out, err := n.Kubectl.Run(ctx, "", args...)
			t.Logf("kubectl %q: %v\n%s", args, err, out)
		}
		for _, command := range []string{
			"grep ' nfs4\\? ' /proc/mounts",
			"ls -lna " + rootExport + " " + ownedExport + " " + squashedExport,
			"grep -E '^[EW]' /var/log/kubelet.log | tail -n 30",
			"dmesg | tail -n 10",
		} {
			out, err := n.Run(ctx, command)
			t.Logf("%s: %v\n%s", command, err, out)
		}
	})
}
