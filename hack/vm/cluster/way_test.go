//go:build vm

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/vm/node"
)

// testWholeWay is the promise: from a claim and a pod that are made at once to
// the bytes on the server, and to the archive.
func testWholeWay(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.Claim("data", clustertest.OfClass("claimdir")) // the one of the manifests
	w.pod("writer", "data", "echo from the pod >/data/hello; "+sleep)

	w.eventOn("data", `^ExternalProvisioning: .*'claimdir/nfs'`)
	pv := w.Bound("data")
	w.eventOn("data", `^ProvisioningSucceeded: `)
	path := fmt.Sprintf("%s/%s-data-%s", rootExport, w.Name, pv.Name)
	if nfs := pv.Spec.NFS; nfs == nil || nfs.Server != node.Address || nfs.Path != path || nfs.ReadOnly {
		t.Fatalf("the volume's source is %+v, want %s on %s", nfs, path, node.Address)
	}
	w.wantServer("777 0 0", "stat -c '%%a %%u %%g' %s", path)
	w.wantServer("1", "ls %s/.claimdir/records | grep -c %s", rootExport, pv.Name)

	pod := w.phase("writer", v1.PodRunning)
	w.eventOn("writer", `^Scheduled: .* to node$`)
	mount := fmt.Sprintf("/var/lib/kubelet/pods/%s/volumes/kubernetes.io~nfs/%s", pod.UID, pv.Name)
	w.wantServer(node.Address+":"+path, "awk '$2 == \"%s\" { print $1 }' /proc/mounts", mount)
	w.Eventually("the bytes are on the server", func() error {
		if got := w.server("cat %s/hello || true", path); got != "from the pod" {
			return fmt.Errorf("there is %q", got)
		}
		return nil
	})

	w.commands(pv)

	w.deletePod("writer")
	w.wantServer("0", "grep -c %s /proc/mounts || true", mount)
	w.release("data")
	w.wantServer("from the pod", "cat %s/hello", w.archived(pv, "data"))
	w.wantServer("gone", "[ -e %s ] || echo gone", path)
	for _, object := range []string{"data", "writer", pv.Name} {
		if warnings := append(w.Warnings(w.Name, object), w.Warnings("default", object)...); slices.ContainsFunc(warnings, important) {
			t.Errorf("%s has warnings: %q", object, warnings)
		}
	}
}

// commands runs those of claimdir in its pod, as the documents say.
func (w *world) commands(pv *v1.PersistentVolume) {
	w.T.Helper()
	// A claimdir that loses its lease on a busy machine starts anew; kubectl finds no container then.
	exec := func(command ...string) (out string, err error) {
		w.Eventually("claimdir "+command[0]+" runs", func() error {
			out, err = w.node.Kubectl.Run(w.T.Context(), "", append([]string{"-n", "claimdir", "exec", "deploy/claimdir", "--", "/claimdir"}, command...)...)
			if err != nil && strings.Contains(err.Error(), "container not found") {
				return err
			}
			return nil
		})
		return out, err
	}
	manifests, err := exec("recover", "--include-bound")
	w.Must(err)
	for _, want := range []string{"name: " + pv.Name + "\n", "path: " + pv.Spec.NFS.Path + "\n", "server: " + node.Address + "\n", "namespace: " + w.Name + "\n"} {
		if !strings.Contains(manifests, want) {
			w.T.Errorf("recover does not print %q:\n%s", want, manifests)
		}
	}
	// Other cases may leave something to find; this one must not.
	if report, err := exec("doctor"); !strings.Contains(report, "Checked ") || strings.Contains(report, "Not checked") || strings.Contains(report, pv.Name) {
		w.T.Errorf("doctor: %v\n%s", err, report)
	}
}

// important says whether a warning is more than that of a pod that was made together with its claim, or of a cluster without DNS. A
// kubelet finds such a claim not bound yet if the pod was scheduled before the claim's phase was set.
func important(warning string) bool {
	return !strings.HasPrefix(warning, "FailedScheduling: ") && !strings.HasPrefix(warning, "MissingClusterDNS: ") &&
		!strings.HasSuffix(warning, ": PVC is not bound")
}

// eventOn waits for an event, of any kind, that matches pattern.
func (w *world) eventOn(object, pattern string) {
	w.T.Helper()
	w.EventOfAnyType(w.Name, object, pattern)
}

// testMountOptions: those of the class arrive in the pod's mount.
func testMountOptions(t *testing.T, n *node.Node) {
	for name, options := range map[string][]string{
		"v3":  {"nfsvers=3", "noatime", "rsize=65536"},
		"v41": {"nfsvers=4.1", "noatime", "nodiratime"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, n, "baseline")
			class := w.classObject()
			class.MountOptions = options
			w.createClass(class)
			w.Claim("data")
			line := w.run("reader", "data", "grep ' /data ' /proc/mounts")
			for _, option := range options {
				shown := strings.Replace(option, "nfsvers=", "vers=", 1)
				if fields := strings.Fields(line); len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), shown) {
					t.Errorf("the pod's mount is %q, without %s", line, shown)
				}
			}
		})
	}
}

// testUsers: a pod as uid 1000 and one as root write beside each other, each
// under its own name.
func testUsers(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.Claim("data")
	w.run("user", "data", "echo u >/data/user; mkdir /data/dir; echo u >/data/dir/file", asUser(1000))
	w.run("root", "data", "cat /data/dir/file; echo r >/data/root")
	path := w.Bound("data").Spec.NFS.Path
	w.wantServer("1000:1000 dir\n0:0 root\n1000:1000 user", "cd %s && stat -c '%%u:%%g %%n' *", path)
}

func testRestricted(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "restricted")
	w.class()
	w.Claim("data")
	if out := w.run("user", "data", "echo hello >/data/f; cat /data/f", asUser(1000)); out != "hello\n" {
		t.Errorf("the pod says %q", out)
	}
}

func (w *world) claimGone(name string) {
	w.T.Helper()
	w.Eventually("claim "+name+" is gone", func() error {
		_, err := w.node.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
		return clustertest.NotFound(err)
	})
}
