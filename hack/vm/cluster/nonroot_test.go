//go:build vm

package cluster

import (
	"fmt"
	"path"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/vm/node"
)

// releases are for claimdir with components/nonroot, on an export of its uid; with root_squash nobody else could serve that.
func releases() []testCase {
	return []testCase{{"archive", testNonrootArchive}, {"delete", testNonrootDelete}}
}

// sizes has the case of an export with project quotas; full is what a pod is told that needs more than its volume has.
func sizes(export, full string) []testCase {
	return []testCase{{"the server holds volumes to their sizes", sizesHeld(export, full)}}
}

// claimdirUID is the one in components/nonroot.
const claimdirUID = "65532"

func testProfile(t *testing.T, n *node.Node) {
	namespace, err := n.Admin.CoreV1().Namespaces().Get(t.Context(), "claimdir", metav1.GetOptions{})
	must(t, err)
	if got := namespace.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("the namespace enforces %q", got)
	}
	w := newWorld(t, n, "restricted")
	w.wantServer(claimdirUID+" 0000000000000000",
		"for p in $(pidof claimdir); do awk '$1 == \"Uid:\" { uid = $2 } $1 == \"CapEff:\" { print uid, $2 }' /proc/$p/status; done")
}

func testNonrootArchive(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "restricted")
	w.class("mode", "2777")
	w.Claim("data")
	path := w.Bound("data").Spec.NFS.Path
	w.wantServer("2777 65532 65532", "stat -c '%%a %%u %%g' %s", path)
	w.run("user", "data", "mkdir -m 700 /data/own; echo x >/data/own/f", asUser(1000))
	w.wantServer("1000", "stat -c %%u %s/own/f", path)
	w.run("again", "data", "cat /data/own/f", asUser(1000))
	pv := w.release("data")
	w.wantServer("x", "cat %s/own/f", w.archived(pv, "data"))
}

// testNonrootDelete: what a tenant has put away under its own uid, only that
// uid can delete. Its volume goes; it stays in the trash, its class says so, and the
// trash is empty once it is out of the way.
func testNonrootDelete(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "restricted")
	w.class("onDelete", "delete")
	w.Claim("plain")
	w.run("plain", "plain", "echo x >/data/f; mkdir /data/empty; chmod 400 /data/f", asUser(1000))
	w.wantServer("gone", "[ -e %s ] || echo gone", w.release("plain").Spec.NFS.Path)

	w.Claim("closed")
	w.run("closed", "closed", "mkdir /data/own; echo x >/data/own/f; chmod 700 /data/own", asUser(1000))
	pv := w.Bound("closed")
	w.deletePod("closed")
	w.DeleteClaim("closed")
	w.VolumeGone(pv.Name)
	w.Event("default", w.Name, `^TrashNotEmptied: .*permission denied`)
	trash := path.Dir(pv.Spec.NFS.Path) + "/.claimdir/trash"
	inTrash := trash + "/" + pv.Name + "@*-1/emptying" // a tag of the cluster is between
	w.wantServer("x", "cat %s/own/f", inTrash)
	w.server("chown -R 65532 %s/own", inTrash)
	w.Eventually("the trash is empty", func() error {
		if left := strings.TrimSpace(w.server("ls -A %s", trash)); left != "" {
			return fmt.Errorf("it holds %s", left)
		}
		return nil
	})
}
