package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// ApplySnapshotCRDs applies the CRDs of VolumeSnapshots, of the version that snapshotter/go.mod pins, and returns when the API
// server serves them.
func (cp *ControlPlane) ApplySnapshotCRDs(ctx context.Context) error {
	return cp.kubectl().ApplySnapshotCRDs(ctx)
}

// ApplySnapshotCRDs applies the CRDs of VolumeSnapshots, of the version that snapshotter/go.mod pins, and returns when the API
// server serves them.
func (k Kubectl) ApplySnapshotCRDs(ctx context.Context) error {
	dir, err := pinnedModule(ctx, snapshotterClient)
	if err != nil {
		return fmt.Errorf("apply the CRDs of VolumeSnapshots: %w", err)
	}
	names := []string{"volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"}
	apply, wait := []string{"apply"}, []string{"wait", "--for=condition=Established", "--timeout=60s"}
	for _, name := range names {
		apply = append(apply, "-f", filepath.Join(dir, "config", "crd", "snapshot.storage.k8s.io_"+name+".yaml"))
		wait = append(wait, "crd/"+name+".snapshot.storage.k8s.io")
	}
	for _, args := range [][]string{apply, wait} {
		if _, err := k.Run(ctx, "", args...); err != nil {
			return fmt.Errorf("apply the CRDs of VolumeSnapshots: %w", err)
		}
	}
	return nil
}

// SnapshotControllerManifests is the directory of the manifests with which the snapshot-controller is installed on a cluster, of
// the version that snapshotter/go.mod pins.
func SnapshotControllerManifests(ctx context.Context) (string, error) {
	dir, err := pinnedModule(ctx, snapshotterModule)
	if err != nil {
		return "", fmt.Errorf("find the manifests of the snapshot-controller: %w", err)
	}
	return filepath.Join(dir, "deploy", "kubernetes", "snapshot-controller"), nil
}

// StartSnapshotController starts the snapshot-controller of Kubernetes CSI as the ServiceAccount of its own manifests, with the
// rights that these give it, and returns when it runs. It needs the CRDs. It builds the program first if the cache does not
// hold it.
func (cp *ControlPlane) StartSnapshotController(ctx context.Context) error {
	program, err := BuildSnapshotController(ctx, cp.opts.Progress)
	if err != nil {
		return err
	}
	manifests, err := SnapshotControllerManifests(ctx)
	if err != nil {
		return fmt.Errorf("start snapshot-controller: %w", err)
	}
	const name = "snapshot-controller"
	if _, err := cp.Kubectl(ctx, "apply", "-f", filepath.Join(manifests, "rbac-"+name+".yaml")); err != nil {
		return fmt.Errorf("start snapshot-controller: %w", err)
	}
	token, err := cp.Kubectl(ctx, "create", "token", name, "-n", "kube-system", "--duration=24h")
	if err != nil {
		return fmt.Errorf("start snapshot-controller: %w", err)
	}
	kubeconfig, err := cp.KubeconfigFor(name, strings.TrimSpace(token))
	if err != nil {
		return fmt.Errorf("start snapshot-controller: %w", err)
	}
	return cp.runSnapshotController(ctx, program, kubeconfig)
}

// runSnapshotController starts the program. Its limits of calls are raised as kube-controller-manager's are, so that they are no
// bottleneck for a test that makes many snapshots; all else is as its manifests have it.
func (cp *ControlPlane) runSnapshotController(ctx context.Context, program, kubeconfig string) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.apiServer == nil {
		return errors.New("start snapshot-controller: API server is stopped")
	}
	return cp.startServer(ctx, &cp.snapshotController, &cp.snapshotPort, func(ctx context.Context, port int) (*process, error) {
		endpoint := fmt.Sprintf("127.0.0.1:%d", port)
		args := []string{"--kubeconfig=" + kubeconfig, "--http-endpoint=" + endpoint, "--kube-api-qps=300", "--kube-api-burst=600", "--v=4"}
		return cp.runServer(ctx, cp.apiServer, program, args, func(ctx context.Context) error {
			return cp.get(ctx, "http://"+endpoint+"/metrics")
		})
	})
}

// StopSnapshotController kills the snapshot-controller: nobody binds VolumeSnapshots, until StartSnapshotController.
func (cp *ControlPlane) StopSnapshotController() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	kill(&cp.snapshotController)
}

// pinnedModule is the directory of a module that snapshotter/go.mod pins, downloaded if need be.
func pinnedModule(ctx context.Context, module string) (string, error) {
	pins, err := moduleDir(snapshotterPins)
	if err != nil {
		return "", err
	}
	g := &goCommand{name: snapshotterSet().name, dir: pins, progress: io.Discard, every: time.Minute}
	out, err := g.run(ctx, "download "+module, &meter{}, "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &downloaded); err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	return downloaded.Dir, nil
}
