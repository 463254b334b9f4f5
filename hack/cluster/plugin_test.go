package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// usersOfPlugin are what may use kubectl claimdir: an operator who may do all that it does, and one who may not create claims.
const usersOfPlugin = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: NAME}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list]}
- {apiGroups: [""], resources: [pods/exec], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: NAME}
rules:
- {apiGroups: [""], resources: [pods/exec], verbs: [get]} # for websockets; without it the plugin speaks SPDY, which takes create
- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME-volumes}
rules:
- {apiGroups: [""], resources: [persistentvolumes], verbs: [list]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: guest, namespace: NAME}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: NAME}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: NAME}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: NAME}, {kind: ServiceAccount, name: operator, namespace: NAME}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: NAME}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME-volumes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-volumes}
subjects: [{kind: ServiceAccount, name: operator, namespace: NAME}]
`

// plugin is the program of kubectl claimdir, in a directory that kubectl finds it in.
type plugin struct {
	w       *world
	dir     string
	program string
}

func (w *world) buildPlugin() plugin {
	w.T.Helper()
	p := plugin{w: w, dir: w.T.TempDir()}
	p.program = filepath.Join(p.dir, "kubectl-claimdir")
	build := exec.CommandContext(w.T.Context(), "go", "build", "-trimpath", "-o", p.program, ".")
	build.Dir, build.Env = "../../cmd/kubectl-claimdir", append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if out, err := build.CombinedOutput(); err != nil {
		w.T.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return p
}

// as runs the plugin with a kubeconfig, and returns its exit code too.
func (p plugin) as(kubeconfig string, args ...string) (code int, out, stderr string) {
	p.w.T.Helper()
	var stdout, says bytes.Buffer
	cmd := exec.CommandContext(p.w.T.Context(), p.program, append([]string{"--cache-dir=" + filepath.Join(p.dir, "cache")}, args...)...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
	cmd.Stdout, cmd.Stderr = &stdout, &says
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		p.w.T.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), says.String()
}

// user returns the kubeconfig of a ServiceAccount of the namespace.
func (w *world) user(name string) string {
	w.T.Helper()
	token, err := w.bed.Kubectl(w.T.Context(), "create", "token", name, "-n", w.Name, "--duration=1h")
	w.Must(err)
	path, err := w.bed.KubeconfigFor(w.Name+"-"+name, strings.TrimSpace(token))
	w.Must(err)
	return path
}

// testPlugin: a real API server passes what the plugin runs to a kubelet, with the user's rights and no others.
func testPlugin(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	first := w.released("data", "first")
	w.podOnNode()
	users := strings.ReplaceAll(usersOfPlugin, "NAME", w.Name)
	w.kubectl(users, "apply", "-f", "-")
	t.Cleanup(func() {
		for _, kind := range []string{"clusterrole", "clusterrolebinding"} {
			if _, err := bed.Kubectl(context.WithoutCancel(t.Context()), "delete", kind, w.Name+"-volumes"); err != nil {
				t.Error(err)
			}
		}
	})
	p := w.buildPlugin()
	guest, reader, operator := w.user("guest"), w.user("reader"), w.user("operator")
	in := "--namespace=" + w.Name
	want := func(name string, code, wantCode int, printed string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(printed, text) {
				code = -1
			}
		}
		if code != wantCode {
			t.Errorf("%s: exit code %d, want %d and %q; it printed:\n%s", name, code, wantCode, texts, printed)
		}
	}

	code, _, stderr := p.as(guest, "archive", "list", in)
	want("a user without rights", code, 1, stderr, "find claimdir's pod: pods is forbidden")
	code, out, stderr := p.as(reader, "archive", "list", in)
	want("archive list", code, 0, out+stderr, w.Name+"/data", first, "archived-"+w.Name)
	code, out, stderr = p.as(reader, "archive", "restore", w.Name+"/none", in)
	want("an archive that there is not", code, 1, stderr, "claimdir: there is no archive of claim "+w.Name+"/none")
	if out != "" {
		t.Errorf("it printed %s", out)
	}
	code, _, stderr = p.as(reader, "archive", "list", in, "-o", "wide")
	want("a format that there is not", code, 2, stderr, `--output "wide": allowed are table and json`)

	code, _, stderr = p.as(reader, "archive", "restore", w.Name+"/data", in)
	want("a user who may not create claims", code, 1, stderr, "create claim "+w.Name+"/data: persistentvolumeclaims is forbidden")
	if _, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(t.Context(), "data", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the claim: %v", err)
	}
	code, out, stderr = p.as(operator, "archive", "restore", w.Name+"/data", in, "--dry-run=server")
	want("a dry run", code, 0, out+stderr, "persistentvolumeclaim/data created (server dry run)")
	code, out, stderr = p.as(operator, "archive", "restore", w.Name+"/data", "--to=back", in, "--wait", "--timeout="+patience.String())
	pv := w.Bound("back").Name
	want("archive restore", code, 0, out+stderr, "persistentvolumeclaim/back created\n", "persistentvolumeclaim/back is bound to "+pv)
	w.wantFile(w.Name+"/back/file", "first")
	code, _, stderr = p.as(operator, "archive", "restore", w.Name+"/data", in)
	want("the same once more", code, 1, stderr, "there is no archive of claim "+w.Name+"/data")

	code, out, stderr = p.as(operator, "list", in, w.Name)
	want("list", code, 0, out+stderr, w.Name+"/back", pv, w.Name+"/back", "archive", "Bound")
	code, _, stderr = p.as(reader, "list", in)
	want("a user who may not list volumes", code, 1, stderr, "list the PersistentVolumes: persistentvolumes is forbidden")
	code, out, stderr = p.as(reader, "version", in)
	want("version", code, 0, out+stderr, "kubectl-claimdir devel\nclaimdir devel\n")
	code, _, stderr = p.as(operator, "status", in)
	want("status with a pod that cannot be asked", code, 1, stderr, "read its metrics: ", "problem")
	p.underKubectl(t, operator, in)
	w.healthy()
}

// underKubectl: kubectl finds the plugin, has nothing against it, and completes its command line.
func (p plugin) underKubectl(t *testing.T, kubeconfig, in string) {
	script, err := filepath.Abs("../../cmd/kubectl-claimdir/kubectl_complete-claimdir")
	p.w.Must(err)
	p.w.Must(os.Symlink(script, filepath.Join(p.dir, "kubectl_complete-claimdir")))
	commands := fmt.Sprintf(`set -e
ln -s "$KUBECTL" %[1]q/kubectl
export PATH=%[1]q:$PATH
kubectl plugin list 2>&1
kubectl claimdir version --client
kubectl __complete claimdir archive re 2>/dev/null
KUBECONFIG=%[2]q kubectl claimdir archive list %[3]s team
`, p.dir, kubeconfig, in)
	out, err := p.w.bed.Shell(t.Context(), commands, "PATH=/usr/bin:/bin")
	p.w.Must(err)
	for _, want := range []string{p.program + "\n", "kubectl-claimdir devel\n", "restore\t"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "warning") || strings.Contains(out, "error") {
		t.Error(out)
	}
}
