package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/controlplane"
	"claimdir/hack/project"
)

// Options say how a Bed differs from the usual one.
type Options struct {
	// Progress is told what happens; nil means nobody is.
	Progress io.Writer
	// ControlPlane is passed on.
	ControlPlane controlplane.Options
	// BuildArgs go to the build of claimdir, such as -race.
	BuildArgs []string
}

// Bed is a control plane with our manifests on it, and claimdir's program.
type Bed struct {
	*controlplane.ControlPlane
	// Admin may do everything; it has no limit on its calls.
	Admin kubernetes.Interface
	// Dynamic is Admin for objects that Kubernetes itself does not have.
	Dynamic dynamic.Interface

	dir        string
	program    string
	kubeconfig string // of our ServiceAccount
}

// ServiceAccount is the user name of the manifests' ServiceAccount.
const ServiceAccount = "system:serviceaccount:claimdir:claimdir"

// Start builds claimdir, starts a control plane and applies the manifests. End
// it with Close.
func Start(ctx context.Context, o Options) (*Bed, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	o.ControlPlane.Progress = o.Progress
	dir, err := os.MkdirTemp("", "claimdir-testbed-")
	if err != nil {
		return nil, fmt.Errorf("start test bed: %w", err)
	}
	b := &Bed{dir: dir}
	if err := b.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start test bed: %w", err), b.Close())
	}
	return b, nil
}

func (b *Bed) start(ctx context.Context, o Options) (err error) {
	root, err := project.Root()
	if err != nil {
		return err
	}
	fmt.Fprintln(o.Progress, "Building claimdir")
	if b.program, err = b.Build(ctx, "claimdir", o.BuildArgs...); err != nil {
		return err
	}
	fmt.Fprintln(o.Progress, "Starting etcd, kube-apiserver and kube-controller-manager on loopback (the first time they are built, which takes some minutes)")
	if b.ControlPlane, err = controlplane.Start(ctx, o.ControlPlane); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	fmt.Fprintln(o.Progress, "Applying manifests/overlays/example")
	if _, err := b.Kubectl(ctx, "apply", "-k", filepath.Join(root, "manifests", "overlays", "example")); err != nil {
		return err
	}
	token, err := b.Kubectl(ctx, "create", "token", "claimdir", "-n", "claimdir", "--duration=24h")
	if err != nil {
		return err
	}
	b.kubeconfig, err = b.KubeconfigFor("claimdir", strings.TrimSpace(token))
	return err
}

// AddSnapshots makes the cluster one with VolumeSnapshots, as its administrator does: the CRDs, the snapshot-controller, and our
// component with claimdir's rights. The first time the snapshot-controller is built, which takes some minutes.
func (b *Bed) AddSnapshots(ctx context.Context) error {
	if err := b.ApplySnapshotCRDs(ctx); err != nil {
		return err
	}
	if err := b.StartSnapshotController(ctx); err != nil {
		return err
	}
	return b.AllowSnapshots(ctx)
}

// AllowSnapshots applies our component with claimdir's rights on VolumeSnapshots. It needs the CRDs.
func (b *Bed) AllowSnapshots(ctx context.Context) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	component := filepath.Join(root, "manifests", "components", "snapshots")
	_, err = b.Kubectl(ctx, "apply", "-f", filepath.Join(component, "rbac.yaml"), "-f", filepath.Join(component, "class.yaml"))
	return err
}

// Program is the path of claimdir as Start built it.
func (b *Bed) Program() string { return b.program }

// Build builds claimdir with these arguments, under a name of its own, for Config.Program.
func (b *Bed) Build(ctx context.Context, name string, args ...string) (program string, err error) {
	root, err := project.Root()
	if err != nil {
		return "", err
	}
	program = filepath.Join(b.dir, name)
	args = append([]string{"build", "-o", program}, args...)
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/claimdir")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return program, nil
}

func (b *Bed) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", b.Kubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1
	if b.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	config.ContentType, config.DisableCompression = "application/vnd.kubernetes.protobuf", true
	b.Admin, err = kubernetes.NewForConfig(config)
	return err
}

// Close stops the control plane and removes everything.
func (b *Bed) Close() error {
	var stopped error
	if b.ControlPlane != nil {
		stopped = b.Stop()
	}
	return errors.Join(stopped, os.RemoveAll(b.dir))
}
