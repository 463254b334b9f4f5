package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"claimdir/hack/project"
)

// Installation says how claimdir is installed: what a user types into
// manifests/overlays/example, or gives the chart.
type Installation struct {
	Export    string // path on the node's NFS server
	Tag       string // of the image
	Nonroot   bool   // as uid 65532: with components/nonroot, or runAs of the chart
	Snapshots bool   // with components/snapshots; the node must have VolumeSnapshots, see InstallSnapshots
	Chart     bool   // by helm and the chart; otherwise by kustomize
}

// Install applies the overlay, or installs the chart, and waits until the new pods,
// and only these, are ready. Over an installation with the same Export it is an update.
func (n *Node) Install(ctx context.Context, i Installation) error {
	apply := n.applyOverlay
	if i.Chart {
		apply = n.installChart
	}
	if err := apply(ctx, i); err != nil {
		return fmt.Errorf("install claimdir: %w", err)
	}
	if _, err := n.Kubectl.Run(ctx, "", "rollout", "status", "deployment/claimdir", "-n", "claimdir", "--timeout=3m"); err != nil {
		return fmt.Errorf("install claimdir: %w", err)
	}
	return nil
}

func (n *Node) applyOverlay(ctx context.Context, i Installation) error {
	overlay, err := n.writeOverlay(i)
	if err != nil {
		return err
	}
	_, err = n.Kubectl.Run(ctx, "", "apply", "-k", overlay)
	return err
}

// Uninstall deletes what Install applied and waits until it is gone.
func (n *Node) Uninstall(ctx context.Context, i Installation) error {
	if i.Chart {
		if err := n.uninstallChart(ctx); err != nil {
			return fmt.Errorf("uninstall claimdir: %w", err)
		}
		return nil
	}
	overlay, err := n.writeOverlay(i)
	if err != nil {
		return fmt.Errorf("uninstall claimdir: %w", err)
	}
	if _, err := n.Kubectl.Run(ctx, "", "delete", "-k", overlay, "--timeout=3m"); err != nil {
		return fmt.Errorf("uninstall claimdir: %w", err)
	}
	return nil
}

// writeOverlay edits a copy of manifests as the comments there say, and returns
// the overlay's directory.
func (n *Node) writeOverlay(i Installation) (string, error) {
	root, err := project.Root()
	if err != nil {
		return "", err
	}
	copied := filepath.Join(n.dir, "manifests")
	if err := errors.Join(os.RemoveAll(copied), os.CopyFS(copied, os.DirFS(filepath.Join(root, "manifests")))); err != nil {
		return "", err
	}
	edits := []string{
		"server=nfs.example.com", "server=" + Address,
		"path=/exports/claimdir", "path=" + i.Export,
		"newTag: v", "newTag: " + i.Tag + " # before: v",
	}
	if i.Nonroot || i.Snapshots {
		edits = append(edits, "# components:\n", "components:\n")
	}
	for component, wanted := range map[string]bool{"nonroot": i.Nonroot, "snapshots": i.Snapshots} {
		if line := "- ../../components/" + component + "\n"; wanted {
			edits = append(edits, "# "+line, line)
		}
	}
	overlay := filepath.Join(copied, "overlays", "example")
	return overlay, edit(filepath.Join(overlay, "kustomization.yaml"), edits)
}

// edit replaces texts that must occur exactly once: old, new, ….
func edit(path string, edits []string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := 0; i < len(edits); i += 2 {
		if n := strings.Count(string(data), edits[i]); n != 1 {
			return fmt.Errorf("%s has %q %d times, not once", path, edits[i], n)
		}
	}
	return os.WriteFile(path, []byte(strings.NewReplacer(edits...).Replace(string(data))), 0o644)
}
