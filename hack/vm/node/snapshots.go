package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	registry "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"claimdir/hack/controlplane"
	"claimdir/hack/release/oci"
)

// SnapshotControllerImage writes an image of the snapshot-controller that controlplane pins, for Options.Archives. It has the name
// that the controller's own manifests give it, whatever version they say.
func SnapshotControllerImage(ctx context.Context, archive string, progress io.Writer) error {
	program, err := controlplane.BuildSnapshotController(ctx, progress)
	if err != nil {
		return err
	}
	manifests, err := controlplane.SnapshotControllerManifests(ctx)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(manifests, "setup-snapshot-controller.yaml"))
	if err != nil {
		return err
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		return fmt.Errorf("read the manifests of the snapshot-controller: %w", err)
	}
	containers := deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		return fmt.Errorf("the Deployment of the snapshot-controller has %d containers, not one", len(containers))
	}
	image := oci.Image{
		Platform: registry.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   registry.Config{Entrypoint: []string{"/snapshot-controller"}},
		Files:    map[string]string{"snapshot-controller": program},
	}
	return image.Archive(archive, containers[0].Image)
}

// InstallSnapshots makes the cluster one with VolumeSnapshots, as docs/snapshots.md says: the CRDs, and the snapshot-controller with
// its own manifests, whose image Options.Archives must have. It does not wait until that runs.
func (n *Node) InstallSnapshots(ctx context.Context) error {
	if err := n.ApplySnapshotCRDs(ctx); err != nil {
		return err
	}
	manifests, err := controlplane.SnapshotControllerManifests(ctx)
	if err != nil {
		return err
	}
	if _, err := n.Kubectl.Run(ctx, "", "apply", "-k", manifests); err != nil {
		return fmt.Errorf("install the snapshot-controller: %w", err)
	}
	return nil
}
