//go:build vm

package cluster

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/vm/node"
)

func podCases() []testCase {
	return []testCase{
		{"the whole way of a claim", testWholeWay},
		{"mount options", testMountOptions},
		{"a restricted namespace", testRestricted},
		{"ReadWriteMany from two pods", testReadWriteMany},
		{"StatefulSet", testStatefulSet},
		{"a mounted volume grows", testExpandMounted},
		{"owner, group and setgid of a class", testOwnership},
		{"delete what tenants leave behind", testLeavings},
	}
}

func rarePodCases() []testCase {
	return []testCase{
		{"a StatefulSet is restored from snapshots", testSnapshotStatefulSet}, // the longest
		{"a CronJob makes snapshots", testNightly},
		{"kubectl claimdir in a real pod", testPlugin},
		{"uid 1000 and root in one volume", testUsers},
		{"ReadOnlyMany", testReadOnlyMany},
		{"ReadWriteOncePod", testReadWriteOncePod},
		{"subPath", testSubPath},
		{"generic ephemeral volume", testEphemeral},
	}
}

func testReadWriteMany(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.Claim("data")
	const exchange = "echo %[1]s >/data/%[1]s; until [ -s /data/%[2]s ]; do sleep 0.3; done; cat /data/%[2]s"
	w.pod("one", "data", fmt.Sprintf(exchange, "one", "two"))
	w.pod("two", "data", fmt.Sprintf(exchange, "two", "one"))
	for _, name := range []string{"one", "two"} {
		w.phase(name, v1.PodSucceeded)
		if got := w.logs(name); got == name+"\n" || (got != "one\n" && got != "two\n") {
			t.Errorf("pod %s read %q", name, got)
		}
	}
}

func testReadOnlyMany(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.Claim("data", clustertest.Mode(v1.ReadOnlyMany))
	pv := w.Bound("data")
	if len(pv.Spec.AccessModes) != 1 || pv.Spec.AccessModes[0] != v1.ReadOnlyMany {
		t.Errorf("the volume's access modes are %v", pv.Spec.AccessModes)
	}
	w.server("echo put there by somebody >%s/f", pv.Spec.NFS.Path)
	const script = "cat /data/f; if echo x >/data/g; then echo written; fi"
	for _, name := range []string{"one", "two"} {
		w.pod(name, "data", script, readOnly)
	}
	for _, name := range []string{"one", "two"} {
		w.phase(name, v1.PodSucceeded)
		if got := w.logs(name); !strings.HasPrefix(got, "put there by somebody\n") || !strings.Contains(got, "Read-only file system") || strings.Contains(got, "written") {
			t.Errorf("pod %s says %q", name, got)
		}
	}
}

func testReadWriteOncePod(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.Claim("data", clustertest.Mode(v1.ReadWriteOncePod))
	w.pod("first", "data", "echo first >/data/f; "+sleep)
	w.phase("first", v1.PodRunning)
	w.pod("second", "data", "cat /data/f")
	w.eventOn("second", "^FailedScheduling: .*ReadWriteOncePod")
	w.deletePod("first")
	w.phase("second", v1.PodSucceeded)
	if got := w.logs("second"); got != "first\n" {
		t.Errorf("the second pod read %q", got)
	}
}

func testSubPath(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.Claim("data")
	w.run("fixed", "data", "echo fixed >/data/f", mounted(func(m *v1.VolumeMount) { m.SubPath = "a/b" }))
	w.run("by-name", "data", "echo by-name >/data/f", mounted(func(m *v1.VolumeMount) { m.SubPathExpr = "pods/$(POD)" }), func(p *v1.Pod) {
		p.Spec.Containers[0].Env = []v1.EnvVar{{Name: "POD", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
	})
	w.wantServer("fixed\nby-name", "cd %s && cat a/b/f pods/by-name/f", w.Bound("data").Spec.NFS.Path)
}

// testEphemeral: the claim belongs to the pod, and the volume goes with it.
func testEphemeral(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class("onDelete", "delete")
	w.pod("writer", "", "echo x >/data/f; "+sleep, func(p *v1.Pod) {
		p.Spec.Volumes[0].VolumeSource = v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{
			VolumeClaimTemplate: &v1.PersistentVolumeClaimTemplate{Spec: claimSpec(w.Name)},
		}}
	})
	pv := w.Bound("writer-data")
	w.phase("writer", v1.PodRunning)
	w.Eventually("the pod has written", func() error { return w.holds(pv.Spec.NFS.Path+"/f", "x") })
	w.deletePod("writer")
	w.VolumeGone(pv.Name)
	w.wantServer("gone", "[ -e %s ] || echo gone", pv.Spec.NFS.Path)
}

func claimSpec(class string) v1.PersistentVolumeClaimSpec {
	return clustertest.NewClaim("", class).Spec
}

// holds says whether a file on the server has that text.
func (w *world) holds(path, want string) error {
	w.T.Helper()
	if got := w.server("cat %s || true", path); got != want {
		return fmt.Errorf("%s holds %q, want %q", path, got, want)
	}
	return nil
}

// testOwnership: uid 0 without any capability gives directories away, as long
// as the server lets it be root.
func testOwnership(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class("mode", "2770", "uid", "1234", "gid", "5678")
	w.Claim("data")
	path := w.Bound("data").Spec.NFS.Path
	w.wantServer("2770 1234 5678", "stat -c '%%a %%u %%g' %s", path)
	w.wantServer("0000000000000000", "for p in $(pidof claimdir); do awk '$1 == \"CapEff:\" { print $2 }' /proc/$p/status; done | sort -u")
	w.run("member", "data", "umask 007; echo x >/data/f", asUser(1000, 5678))
	w.wantServer("660 1000 5678", "stat -c '%%a %%u %%g' %s/f", path)
}

// testLeavings: tenants leave directories that only they may enter, sticky ones
// with files of others, files without any mode, and links to places outside.
func testLeavings(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class("onDelete", "delete")
	w.server("mkdir -p /srv/ext4/beside && echo mine >/srv/ext4/beside/f")
	w.Claim("data")
	w.run("user", "data", `cd /data; mkdir closed; echo x >closed/f; chmod 000 closed/f closed
		mkdir sticky; chmod 1777 sticky; echo x >sticky/mine; mkdir sticky/dir; echo x >sticky/dir/f; chmod 1700 sticky/dir
		ln -s /srv/ext4/beside out; ln -s ../../beside up; ln -s . loop; mkfifo pipe; echo x >"$(printf 'new\nline')"`, asUser(1000))
	w.run("other", "data", "cd /data/sticky; echo x >others; mkdir d2; chmod 0 d2", asUser(2000))
	pv := w.release("data")
	w.wantServer("gone", "[ -e %s ] || echo gone", pv.Spec.NFS.Path)
	w.wantServer("mine", "cat /srv/ext4/beside/f")
}
