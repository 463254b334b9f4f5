//go:build vm

package cluster

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/vm/node"
)

// plugin runs kubectl claimdir against the node, and returns its exit code too.
func (w *world) plugin(program string, args ...string) (code int, out, stderr string) {
	w.T.Helper()
	var stdout, says bytes.Buffer
	cmd := exec.CommandContext(w.T.Context(), program, append([]string{"--cache-dir=" + filepath.Dir(program), "--namespace=claimdir"}, args...)...)
	cmd.Env = []string{"KUBECONFIG=" + w.node.Kubeconfig}
	cmd.Stdout, cmd.Stderr = &stdout, &says
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		w.T.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), says.String()
}

// testPlugin: kubectl claimdir runs claimdir in its pod, through a real kubelet and containerd, and brings an archive back
// that a pod then reads.
func testPlugin(t *testing.T, n *node.Node) {
	program := filepath.Join(t.TempDir(), "kubectl-claimdir")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, ".")
	build.Dir, build.Env = "../../../cmd/kubectl-claimdir", append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	w := newWorld(t, n, "baseline")
	w.class("onDelete", "archive")
	w.Claim("data")
	w.run("writer", "data", "echo kept >/data/file")
	pv := w.release("data")
	want := func(name string, code, wantCode int, printed string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(printed, text) {
				t.Errorf("%s: no %q in:\n%s", name, text, printed)
			}
		}
		if code != wantCode {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, wantCode, printed)
		}
	}

	code, out, stderr := w.plugin(program, "archive", "list", w.Name)
	want("archive list", code, 0, out+stderr, w.Name+"/data", pv.Name, "archived-"+w.Name)
	code, out, stderr = w.plugin(program, "archive", "restore", w.Name+"/none")
	if want("an archive that there is not", code, 1, stderr, "claimdir: there is no archive of claim "+w.Name+"/none"); out != "" {
		t.Errorf("it printed %s", out)
	}
	code, out, stderr = w.plugin(program, "archive", "restore", w.Name+"/data", "--to=back", "--wait", "--timeout="+patience.String())
	want("archive restore", code, 0, out+stderr, "persistentvolumeclaim/back created\n", "persistentvolumeclaim/back is bound to ")
	if got := w.run("reader", "back", "cat /data/file"); got != "kept\n" {
		t.Errorf("the pod reads %q", got)
	}
	code, out, stderr = w.plugin(program, "list", w.Name+"/back")
	want("list", code, 0, out+stderr, w.Name+"/back", w.Bound("back").Name, "archive", string(v1.VolumeBound))
	code, out, stderr = w.plugin(program, "version")
	want("version", code, 0, out+stderr, "kubectl-claimdir devel\n", "claimdir v")
	// The API server asks the pod for its metrics; other cases may disturb a share, but this one does not.
	code, out, stderr = w.plugin(program, "status")
	want("status", code, 0, out+stderr, "claimdir   claimdir-", node.Address+":"+rootExport, "ready")
}
