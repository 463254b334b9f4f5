package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"claimdir/hack/project"
)

// Installation says how claimdir is installed: what a user types into
// manifests/overlays/example, or gives the chart.
type Installation struct {
	Export  string // path on the node's NFS server
	Tag     string // of the image
	Nonroot bool   // as uid 65532: with components/nonroot, or runAs of the chart
	Chart   bool   // by helm and the chart; otherwise by kustomize
}

// imageName is the one in manifests/overlays/example.
const imageName = "registry.example.com/claimdir"

// ClaimdirImage builds claimdir's image as `make image` does, into an archive
// for Options.Archives. tag is its version, too.
func ClaimdirImage(ctx context.Context, archive, tag string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "make", "image")
	build.Dir = root
	build.Env = append(os.Environ(), "ARCHIVE="+archive, "IMAGE="+imageName+":"+tag, "VERSION="+tag, "ARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("make image: %w\n%s", err, out)
	}
	return nil
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
		"newTag: v0.1.0", "newTag: " + i.Tag,
	}
	if i.Nonroot {
		edits = append(edits, "# components:\n# - ../../components/nonroot\n", "components:\n- ../../components/nonroot\n")
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
