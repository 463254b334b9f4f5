package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"claimdir/hack/controlplane"
	"claimdir/hack/project"
)

// job is the directory that the machine sees as /job.
func (n *Node) job() string { return filepath.Join(n.dir, "job") }

// writeJob puts all that the machine needs into the directory, and returns the
// key that opens it.
func (n *Node) writeJob(ctx context.Context, o Options) (ssh.Signer, error) {
	for _, dir := range []string{"bin", "images"} {
		if err := os.MkdirAll(filepath.Join(n.job(), dir), 0o755); err != nil {
			return nil, err
		}
	}
	plane, err := controlplane.Build(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	node, err := controlplane.BuildNode(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	n.Program = plane.Kubectl
	files := map[string]string{}
	for _, program := range []string{
		plane.Etcd, plane.KubeAPIServer, plane.KubeControllerManager, plane.Kubectl,
		node.Kubelet, node.KubeScheduler, node.KubeProxy,
	} {
		files[program] = "bin/" + filepath.Base(program)
	}
	for i, archive := range o.Archives {
		files[archive] = fmt.Sprintf("images/%d", i)
	}
	if err := n.writePause(); err != nil {
		return nil, err
	}
	root, err := project.Root()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"node", "kubelet", "nfs.sh", "containerd.toml", "bridge.conflist", "kubelet.yaml"} {
		files[filepath.Join(root, "hack", "vm", "guest", name)] = name
	}
	for from, to := range files {
		if err := place(from, filepath.Join(n.job(), to)); err != nil {
			return nil, err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(n.job(), "controlplane"), "./vm/guest/controlplane")
	build.Dir, build.Env = filepath.Join(root, "hack"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest's control plane: %w\n%s", err, out)
	}
	return n.writeKey()
}

// writePause writes the image of the sandboxes, which guest/containerd.toml
// names.
func (n *Node) writePause() error {
	pause, err := Busybox()
	if err != nil {
		return err
	}
	return pause.Archive(filepath.Join(n.job(), "images", "pause"), "registry.k8s.io/pause:3.10.2")
}

// place gives a file a second name, or copies it where that cannot be.
func place(from, to string) (err error) {
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
