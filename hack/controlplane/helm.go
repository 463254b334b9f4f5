package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Helm is helm for one cluster, or for none, whatever cluster, plugins and preferences the user of this machine has.
type Helm struct {
	Program    string // path of helm: BuildHelm
	Kubeconfig string // path; empty where no cluster is asked
	Home       string // directory for helm's caches and settings
}

// Run runs helm and returns its standard output; the error carries its standard error.
func (h Helm) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.Program, args...)
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "HELM") || strings.HasPrefix(entry, "KUBE") || strings.HasPrefix(entry, "XDG_")
	})
	env = append(env, "HOME="+h.Home, "KUBECONFIG="+h.Kubeconfig)
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
