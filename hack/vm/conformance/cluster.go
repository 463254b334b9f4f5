package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"claimdir/hack/controlplane"
	"claimdir/hack/release/oci"
	"claimdir/hack/vm/node"
)

// testdata has what goes into the machine: its files do not depend on the run.
//
//go:embed testdata
var testdata embed.FS

const (
	images = "registry.k8s.io/e2e-test-images/" // test/utils/image of the suite has the tags
	tag    = "conformance"                      // of claimdir's image
	export = "/srv/ext4/root"
)

// cluster is a node with claimdir under test.
type cluster struct {
	*node.Node
	results string
	out     io.Writer
}

// startCluster returns when claimdir is ready and its class is there.
func startCluster(ctx context.Context, o options, b controlplane.ConformanceBinaries, out io.Writer) (_ *cluster, err error) {
	dir, err := os.MkdirTemp("", "claimdir-conformance-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archives, err := writeImages(ctx, dir, b.Agnhost, out)
	if err != nil {
		return nil, err
	}
	n, err := node.Start(ctx, node.Options{Progress: out, Archives: archives, Limit: o.timeout})
	if err != nil {
		return nil, err
	}
	c := &cluster{n, o.results, out}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.saveLogs(context.WithoutCancel(ctx)), c.Stop())
	}
	return c, nil
}

// writeImages writes the images of claimdir, of the snapshot-controller and of the suite's pods. Where
// those run busybox, nginx and the like they need no more than a shell.
func writeImages(ctx context.Context, dir, agnhost string, out io.Writer) ([]string, error) {
	archives := []string{filepath.Join(dir, "claimdir"), filepath.Join(dir, "busybox"), filepath.Join(dir, "agnhost"), filepath.Join(dir, "snapshots")}
	if err := node.ClaimdirImage(ctx, archives[0], tag); err != nil {
		return nil, err
	}
	if err := node.SnapshotControllerImage(ctx, archives[3], out); err != nil {
		return nil, err
	}
	shell, err := node.Busybox()
	if err != nil {
		return nil, err
	}
	tools, err := node.Busybox()
	if err != nil {
		return nil, err
	}
	tools.Config.Entrypoint, tools.Config.Cmd = []string{"/agnhost"}, []string{"pause"}
	tools.Files["agnhost"] = agnhost
	if err := addNsenter(ctx, &tools); err != nil {
		return nil, err
	}
	return archives, errors.Join(
		shell.Archive(archives[1], images+"busybox:1.37.0-2", images+"nginx:1.27.0-2", images+"glibc-dns-testing:2.1.1"),
		tools.Archive(archives[2], images+"agnhost:2.66.1"),
	)
}

// addNsenter puts the nsenter of util-linux in place of busybox's. Debian's
// busybox runs its own applets where a spec has entered the node's mount
// namespace and means the node's programs: then umount fails, the spec of stale
// subpaths takes no notice, and passes without a test.
func addNsenter(ctx context.Context, image *oci.Image) error {
	program, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("find nsenter: %w; install it: sudo apt-get install util-linux", err)
	}
	libraries, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return fmt.Errorf("find the libraries of nsenter: %w", err)
	}
	delete(image.Links, "bin/nsenter")
	image.Files["bin/nsenter"] = program
	for _, path := range regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1) {
		image.Files[strings.TrimPrefix(path, "/")] = path
	}
	return nil
}

func (c *cluster) prepare(ctx context.Context) error {
	for _, name := range []string{"systemctl", "crictl"} {
		if err := c.place(ctx, name+".sh", "/usr/bin/"+name); err != nil {
			return err
		}
	}
	if err := c.InstallSnapshots(ctx); err != nil {
		return err
	}
	if err := c.Install(ctx, node.Installation{Export: export, Tag: tag, Snapshots: true}); err != nil {
		return err
	}
	class, err := testdata.ReadFile("testdata/class.yaml")
	if err != nil {
		return err
	}
	_, err = c.Kubectl.Run(ctx, string(class), "apply", "-f", "-")
	return err
}

// place makes a file of testdata a program of the machine.
func (c *cluster) place(ctx context.Context, from, to string) error {
	text, err := testdata.ReadFile("testdata/" + from)
	if err != nil {
		return err
	}
	_, err = c.Run(ctx, fmt.Sprintf("rm -f %s; cat >%s <<'end-of-the-file'\n%send-of-the-file\nchmod 755 %[1]s", to, to, text))
	return err
}

// phase is specs that run in the same way.
type phase struct {
	name       string
	disturbing bool // stops kubelet: one at a time, over ssh
	specs      []string
}

func phases(specs []string) []phase {
	p := []phase{{name: "parallel"}, {name: "disruptive", disturbing: true}}
	for _, name := range specs {
		i := 0
		if strings.Contains(name, "[Disruptive]") {
			i = 1
		}
		p[i].specs = append(p[i].specs, name)
	}
	return p
}

// run runs the chosen specs, phase by phase. The logs of the node are kept
// however it ends.
func (c *cluster) run(ctx context.Context, s *suite, o options, chosen []string) (specs []spec, err error) {
	defer func() { err = errors.Join(err, c.saveLogs(context.WithoutCancel(ctx))) }()
	for _, p := range phases(chosen) {
		if len(p.specs) == 0 {
			continue
		}
		begin := time.Now()
		i := invocation{name: p.name, specs: p.specs, procs: o.procs, args: []string{
			"-kubeconfig=" + c.Kubeconfig, "-kubectl-path=" + c.Program, "-allowed-not-ready-nodes=0", "-provider=skeleton",
		}}
		if p.disturbing {
			i.procs = 1
			i.args = append(i.args, "-provider=local") // the last one counts; skeleton has no ssh
			i.env = []string{"KUBE_SSH_BASTION=" + c.SSHAddress(), "KUBE_SSH_USER=root", "KUBE_SSH_KEY_PATH=" + c.SSHKey()}
		}
		ran, err := s.run(ctx, i)
		if err != nil {
			return specs, err
		}
		fmt.Fprintf(c.out, "%s: %d specs in %s\n", p.name, len(ran), time.Since(begin).Round(time.Second))
		specs = append(specs, ran...)
		if len(ran) != len(p.specs) {
			return specs, fmt.Errorf("%s: %d specs were to run, and %d did", p.name, len(p.specs), len(ran))
		}
	}
	return specs, c.empty(ctx)
}

// empty waits until nothing is left of all the volumes that there were.
func (c *cluster) empty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		left, err := c.left(ctx)
		if err == nil && left == "" {
			return nil
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("left behind by the specs:\n%s", left), err)
		}
	}
}

// left lists volumes, but for that of claimdir's own share, VolumeSnapshotContents, and directories of both, but for claimdir's own.
func (c *cluster) left(ctx context.Context) (string, error) {
	volumes, err := c.Kubectl.Run(ctx, "", "get", "pv", "--no-headers", "--field-selector=metadata.name!=claimdir-share")
	if err != nil {
		return "", err
	}
	contents, err := c.Kubectl.Run(ctx, "", "get", "volumesnapshotcontents", "--no-headers")
	if err != nil {
		return "", err
	}
	directories, err := c.Run(ctx, "cd "+export+" && ls -Ad -- * .[!.]* .claimdir/snapshots/* 2>/dev/null | grep -vx .claimdir || true")
	return strings.TrimSpace(volumes + contents + directories), err
}

// saveLogs keeps what the machine takes with it.
func (c *cluster) saveLogs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// Those of the instance before, too, where it was started again.
	claimdir, err := c.Run(ctx, "cat /var/log/pods/claimdir_*/claimdir/*.log")
	snapshots, snapshotsErr := c.Run(ctx, "cat /var/log/pods/kube-system_snapshot-controller*/snapshot-controller/*.log")
	kubelet, kubeletErr := c.Run(ctx, "tail -c 20M /var/log/kubelet.log")
	return errors.Join(err, snapshotsErr, kubeletErr,
		os.WriteFile(filepath.Join(c.results, "claimdir.log"), []byte(claimdir), 0o644),
		os.WriteFile(filepath.Join(c.results, "snapshot-controller.log"), []byte(snapshots), 0o644),
		os.WriteFile(filepath.Join(c.results, "kubelet.log"), []byte(kubelet), 0o644))
}
