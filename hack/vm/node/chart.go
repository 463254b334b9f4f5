package node

import (
	"context"
	"fmt"
	"path/filepath"

	"claimdir/hack/controlplane"
	"claimdir/hack/project"
)

// installChart installs or upgrades the chart in the namespace and under the name that the overlay has.
func (n *Node) installChart(ctx context.Context, i Installation) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	profile, values := "baseline", []string{"--set", "image.repository=" + ImageName + ",image.tag=" + i.Tag,
		"--set", "nfs.server=" + Address + ",nfs.path=" + i.Export, "--set", "storageClass.provisionerName=claimdir/nfs"}
	if i.Nonroot {
		profile, values = "restricted", append(values, "--set", "runAs.user=65532,runAs.group=65532")
	}
	namespace := fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: claimdir, labels: {pod-security.kubernetes.io/enforce: %s}}}", profile)
	if _, err := n.Kubectl.Run(ctx, namespace, "apply", "-f", "-"); err != nil {
		return err
	}
	args := []string{"upgrade", "claimdir", filepath.Join(root, "manifests", "chart", "claimdir"), "--install", "--namespace", "claimdir"}
	_, err = n.Helm(ctx, append(args, values...)...)
	return err
}

// uninstallChart removes the release and its namespace.
func (n *Node) uninstallChart(ctx context.Context) error {
	if _, err := n.Helm(ctx, "uninstall", "claimdir", "--namespace", "claimdir", "--wait", "--timeout", "3m"); err != nil {
		return err
	}
	_, err := n.Kubectl.Run(ctx, "", "delete", "namespace", "claimdir", "--timeout=3m")
	return err
}

// Helm runs helm as the administrator, and returns its standard output.
func (n *Node) Helm(ctx context.Context, args ...string) (string, error) {
	program, err := controlplane.BuildHelm(ctx, nil)
	if err != nil {
		return "", err
	}
	return controlplane.Helm{Program: program, Kubeconfig: n.Kubeconfig, Home: filepath.Join(n.dir, "helm")}.Run(ctx, args...)
}
