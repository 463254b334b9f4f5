package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Kubeconfig is the path of an administrator's kubeconfig file.
func (cp *ControlPlane) Kubeconfig() string { return cp.kubeconfigPath("admin") }

// KubectlProgram is the path of the kubectl that belongs to this control plane.
func (cp *ControlPlane) KubectlProgram() string { return cp.opts.Binaries.Kubectl }

// KubeconfigOf is the path of the kubeconfig file of one of Options.Users. In
// the file's name a dash stands for each colon of the user's.
func (cp *ControlPlane) KubeconfigOf(user string) string {
	return cp.kubeconfigPath(kubeconfigName(user))
}

func kubeconfigName(user string) string { return strings.ReplaceAll(user, ":", "-") }

func (cp *ControlPlane) kubeconfigPath(name string) string {
	return filepath.Join(cp.dir, name+".kubeconfig")
}

// KubeconfigFor writes a kubeconfig file for the bearer of token, such as a
// service account, and returns its path. name becomes the file's and the
// user's; the same name replaces the file.
func (cp *ControlPlane) KubeconfigFor(name, token string) (string, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.writeKubeconfig(name, token)
}

func (cp *ControlPlane) writeKubeconfig(name, token string) (string, error) {
	if name == "" || name != filepath.Base(name) {
		return "", fmt.Errorf("write kubeconfig: %q is not a file name", name)
	}
	type object = map[string]any
	data, err := json.MarshalIndent(object{ // JSON is YAML too
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []object{{"name": "claimdir", "cluster": object{
			"server": cp.server(), "certificate-authority-data": cp.ca, // as base64
		}}},
		"users":           []object{{"name": name, "user": object{"token": token}}},
		"contexts":        []object{{"name": "claimdir", "context": object{"cluster": "claimdir", "user": name}}},
		"current-context": "claimdir",
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	path := cp.kubeconfigPath(name)
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	return path, nil
}

// Kubectl runs kubectl as the administrator and returns its standard output;
// the error carries its standard error. With `--kubeconfig PATH` among args it
// runs as somebody else.
func (cp *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return cp.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with a standard input, for `apply -f -`.
func (cp *ControlPlane) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	return Kubectl{Program: cp.opts.Binaries.Kubectl, Kubeconfig: cp.Kubeconfig(), CacheDir: filepath.Join(cp.dir, "kubectl-cache")}.Run(ctx, stdin, args...)
}

// Shell runs a shell script that calls $KUBECTL as the administrator, and returns what it
// prints; the error carries its standard error. env comes last and wins, as NAME=VALUE.
func (cp *ControlPlane) Shell(ctx context.Context, script string, env ...string) (string, error) {
	k := Kubectl{Program: cp.opts.Binaries.Kubectl, Kubeconfig: cp.Kubeconfig(), CacheDir: filepath.Join(cp.dir, "kubectl-cache")}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh")
	cmd.Env = append(append(k.env(), "KUBECTL="+k.Program), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("script: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Kubectl is kubectl for one cluster, whatever cluster and preferences the user
// of this machine has.
type Kubectl struct {
	Program    string // path of kubectl
	Kubeconfig string // path
	// CacheDir holds what kubectl learns of the API. kubectl keeps it by
	// address, and another cluster may have the same one later.
	CacheDir string
}

// Run runs kubectl with a standard input and returns its standard output; the
// error carries its standard error.
func (k Kubectl) Run(ctx context.Context, stdin string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, k.Program, args...)
	cmd.Env = k.env()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

func (k Kubectl) env() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "KUBE") // KUBECONFIG, KUBECACHEDIR, KUBERC, KUBECTL_…, KUBERNETES_…
	})
	return append(env, "KUBECONFIG="+k.Kubeconfig, "KUBECACHEDIR="+k.CacheDir, "KUBERC=off")
}
