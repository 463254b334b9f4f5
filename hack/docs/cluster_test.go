package docs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// reader is somebody who follows the documents: with a checkout of the project, kubectl, and a cluster. No kubelet runs pods there, so
// claimdir runs as a process with the environment of its Deployment, and `kubectl exec` of it runs its program in that environment.
type reader struct {
	*clustertest.Namespace
	bed     *testbed.Bed
	program string
	// checkout is the reader's current directory, share what the pod has mounted.
	checkout, share string
	// server is that of the share's mount.
	server  string
	process *testbed.Process
	config  testbed.Config
	blocks  map[string]Document
}

// shim is the reader's kubectl.
const shim = `#!/bin/sh
for argument; do
	if [ "$argument" = exec ]; then
		while [ "$1" != -- ]; do shift; done
		[ "$2" = /claimdir ] || { echo "no $2 in the image" >&2; exit 126; }
		shift 2
		exec env -i $CLAIMDIR_ENVIRONMENT "$CLAIMDIR_PROGRAM" "$@"
	fi
done
exec "$KUBECTL" "$@"
`

// newReader starts a cluster, takes off what the test bed has installed, and gives the reader a checkout and a namespace, which is
// kubectl's current one.
func newReader(t *testing.T) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	root, documents := read(t)
	r := &reader{bed: bed, checkout: t.TempDir(), share: t.TempDir(), server: "nas1.example.com", blocks: documents}
	r.Namespace = &clustertest.Namespace{T: t, Admin: bed.Admin, Name: "team", Patience: 2 * time.Minute, Poll: 100 * time.Millisecond}
	_, err = bed.Admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{})
	r.Must(err)
	r.Must(os.CopyFS(filepath.Join(r.checkout, "manifests"), os.DirFS(filepath.Join(root, "manifests"))))
	r.program, err = bed.Build(ctx, "claimdir-of-the-checkout")
	r.Must(err)
	r.Must(os.Mkdir(filepath.Join(r.checkout, "bin"), 0o755))
	r.Must(os.Symlink(r.program, filepath.Join(r.checkout, "bin", "claimdir")))
	r.Must(os.WriteFile(filepath.Join(r.checkout, "bin", "kubectl"), []byte(shim), 0o755))
	_, err = bed.Kubectl(ctx, "delete", "-k", filepath.Join(root, "manifests", "overlays", "example"))
	r.Must(err)
	return r
}

// start starts claimdir as kubelet would: with the environment of the Deployment that is installed, and the token of its
// ServiceAccount.
func (r *reader) start(more ...string) {
	r.T.Helper()
	deployment, err := r.Admin.AppsV1().Deployments("claimdir").Get(r.T.Context(), "claimdir", metav1.GetOptions{})
	r.Must(err)
	pod := deployment.Spec.Template.Spec
	token, err := r.bed.Kubectl(r.T.Context(), "create", "token", pod.ServiceAccountName, "-n", "claimdir", "--duration=2h")
	r.Must(err)
	kubeconfig, err := r.bed.KubeconfigFor("pod", strings.TrimSpace(token))
	r.Must(err)
	r.config = testbed.Config{Share: r.share, Program: r.program}
	for _, variable := range pod.Containers[0].Env {
		if variable.ValueFrom == nil {
			r.config.Env = append(r.config.Env, variable.Name+"="+variable.Value)
		}
		if variable.Name == "PROVISIONER_NAME" {
			r.config.Provisioner = variable.Value
		}
	}
	// What kubelet would have mounted.
	r.config.Env = append(r.config.Env, "KUBECONFIG="+kubeconfig, "NFS_SERVER="+r.server, "NFS_PATH=/exports/claimdir")
	r.config.Env = append(r.config.Env, more...)
	r.process, err = r.bed.Claimdir(r.config)
	r.Must(err)
	r.T.Cleanup(func() { r.process.Stop() })
	ctx, cancel := context.WithTimeout(r.T.Context(), r.Patience)
	defer cancel()
	r.Must(r.process.WaitReady(ctx))
}

// log is what claimdir has logged since it was started last.
func (r *reader) log() string {
	if r.process == nil {
		return "it has not been started"
	}
	return r.process.Log()
}

// stop ends claimdir, as a Deployment with 0 replicas does.
func (r *reader) stop() {
	r.T.Helper()
	if code := r.process.Stop(); code != 0 {
		r.T.Errorf("claimdir exits %d:\n%s", code, r.process.Log())
	}
}

// does runs a script in the checkout, and returns what it prints. If answer is not empty, it is typed on a terminal, which the script
// then has.
func (r *reader) does(script, answer string) (string, error) {
	ctx, cancel := context.WithTimeout(r.T.Context(), r.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	if answer != "" {
		cmd = exec.CommandContext(ctx, "script", "--quiet", "--return", "--echo=never", "--command", "bash -euo pipefail -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'", os.DevNull)
	}
	cmd.Dir, cmd.Env = r.checkout, r.environment()
	if answer == "" {
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	typed, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	_, err = io.WriteString(typed, answer)
	if waited := cmd.Wait(); waited != nil { // which closes the terminal's standard input
		err = waited
	}
	return out.String(), err
}

// environment is the reader's, with that of claimdir's container for the shim.
func (r *reader) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "KUBE") })
	container := append([]string{"POD_NAMESPACE=claimdir", "PROVISIONER_NAME=" + r.config.Provisioner, "MOUNT_PATH=" + r.share}, r.config.Env...)
	return append(env, "PATH="+filepath.Join(r.checkout, "bin")+":"+os.Getenv("PATH"),
		"KUBECTL="+r.bed.KubectlProgram(), "KUBECONFIG="+r.kubeconfig(), "KUBERC=off",
		"CLAIMDIR_PROGRAM="+r.program, "CLAIMDIR_ENVIRONMENT="+strings.Join(container, " "))
}

// kubeconfig is the administrator's, with the namespace of the reader as the current one.
func (r *reader) kubeconfig() string {
	path := filepath.Join(r.checkout, "kubeconfig")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	content, err := os.ReadFile(r.bed.Kubeconfig())
	r.Must(err)
	r.Must(os.WriteFile(path, content, 0o600))
	_, err = r.bed.Kubectl(r.T.Context(), "config", "--kubeconfig", path, "set-context", "--current", "--namespace="+r.Name)
	r.Must(err)
	return path
}

// file writes a file into the volume of a claim.
func (r *reader) file(claim, text string) {
	r.T.Helper()
	r.Must(os.WriteFile(filepath.Join(r.directory(claim), "file"), []byte(text), 0o644))
}

// wantFile looks for that file.
func (r *reader) wantFile(claim, text string) {
	r.T.Helper()
	if got, err := os.ReadFile(filepath.Join(r.directory(claim), "file")); err != nil || string(got) != text {
		r.T.Errorf("the volume of %s holds %q, %v; want %q", claim, got, err, text)
	}
}

// directory is that of a claim's volume.
func (r *reader) directory(claim string) string {
	r.T.Helper()
	path, ok := strings.CutPrefix(r.Bound(claim).Spec.NFS.Path, "/exports/claimdir/")
	if !ok {
		r.T.Fatalf("the volume of %s does not lie on the share", claim)
	}
	return filepath.Join(r.share, path)
}

// loseObjects removes a claim and its PersistentVolume as a lost cluster does: nobody is asked.
func (r *reader) loseObjects(claims ...string) {
	r.T.Helper()
	patch := `{"metadata":{"finalizers":null}}`
	for _, claim := range claims {
		pv := r.Bound(claim).Name
		for _, object := range []string{"pvc/" + claim, "pv/" + pv} {
			if _, err := r.does(fmt.Sprintf("kubectl patch %[1]s --type=merge -p '%[2]s' && kubectl delete --wait=false %[1]s && kubectl wait --for=delete --timeout=60s %[1]s", object, patch), ""); err != nil {
				r.T.Fatalf("remove %s: %v", object, err)
			}
		}
	}
}
