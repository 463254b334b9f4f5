package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/child"
	"claimdir/hack/controlplane"
	"claimdir/hack/project"
)

const (
	// Name is the node's.
	Name = "node"
	// Address is the node's, and its NFS server's.
	Address = "10.0.2.15"

	readyLine = "the node is Ready"
	memory    = "6144" // MiB; about 1.5 GiB are used
	logTail   = 4096   // bytes of the machine's output in an error
)

// Options say what a node starts with.
type Options struct {
	// Progress is told what happens; nil means nobody is.
	Progress io.Writer
	// Archives are files with container images, of "docker save" or OCI layout.
	Archives []string
	// Limit is how long the machine runs at most.
	Limit time.Duration
}

// Node is a running cluster. End it with Stop.
type Node struct {
	// Kubectl runs kubectl as the administrator.
	controlplane.Kubectl
	// Admin may do everything; it has no limit on its calls.
	Admin  kubernetes.Interface
	Config *rest.Config

	dir     string // temporary
	sshPort int
	apiPort int
	machine *child.Child
	output  string // file with all that the machine has said
	ssh     *ssh.Client
}

// Start builds what the node runs, boots the machine and returns when the node
// is Ready. If it fails, nothing is left running.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	dir, err := os.MkdirTemp("", "claimdir-node-")
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	n := &Node{dir: dir, output: filepath.Join(dir, "output")}
	if err := n.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start node: %w", err), n.Stop())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, o Options) error {
	signer, err := n.writeJob(ctx, o)
	if err != nil {
		return err
	}
	if err := n.boot(ctx, o); err != nil {
		return err
	}
	if n.ssh, err = dial(ctx, n.SSHAddress(), signer); err != nil {
		return err
	}
	return n.connect(ctx)
}

// boot starts the machine and waits for the word that the node is Ready.
func (n *Node) boot(ctx context.Context, o Options) error {
	var err error
	if n.apiPort, err = controlplane.FreePort(); err != nil {
		return err
	}
	if n.sshPort, err = controlplane.FreePort(); err != nil {
		return err
	}
	output, err := os.Create(n.output)
	if err != nil {
		return err
	}
	defer output.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	root, err := project.Root()
	if err != nil {
		return err
	}
	machine := exec.Command(filepath.Join(root, "hack", "vm", "run.sh"), "-f", "node", "-m", memory,
		"-t", fmt.Sprint(int(o.Limit.Seconds())), "-p", fmt.Sprintf("%d:6443", n.apiPort), "-p", fmt.Sprintf("%d:22", n.sshPort),
		n.job(), "./node")
	machine.Stdout, machine.Stderr = write, write
	n.machine, err = child.Start(machine, syscall.SIGTERM)
	if err := errors.Join(err, write.Close()); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	ready := make(chan struct{})
	go follow(read, output.Name(), o.Progress, ready)
	select {
	case <-ready:
		return nil
	case <-n.machine.Done:
		return fmt.Errorf("boot: the machine ended: %s; it said:\n%s", n.machine.State(), n.Output())
	case <-ctx.Done():
		return fmt.Errorf("boot: %w; the machine said:\n%s", ctx.Err(), n.Output())
	}
}

// follow copies what the machine says to a file, and to progress until it is
// ready.
func follow(from *os.File, to string, progress io.Writer, ready chan<- struct{}) {
	defer from.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		fmt.Fprintln(progress, err)
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(from); lines.Scan(); {
		fmt.Fprintln(file, lines.Text())
		if ready == nil {
			continue
		}
		fmt.Fprintln(progress, "  ", lines.Text())
		if strings.HasSuffix(lines.Text(), readyLine) {
			close(ready)
			ready = nil
		}
	}
}

// connect gets the administrator's kubeconfig out of the machine.
func (n *Node) connect(ctx context.Context) error {
	text, err := n.Run(ctx, "cat /etc/kubernetes/admin")
	if err != nil {
		return err
	}
	inside := "https://127.0.0.1:6443"
	if !strings.Contains(text, inside) {
		return fmt.Errorf("the kubeconfig file does not name %s", inside)
	}
	text = strings.ReplaceAll(text, inside, fmt.Sprintf("https://127.0.0.1:%d", n.apiPort))
	n.Kubeconfig, n.CacheDir = filepath.Join(n.dir, "kubeconfig"), filepath.Join(n.dir, "kubectl-cache")
	if err := os.WriteFile(n.Kubeconfig, []byte(text), 0o600); err != nil {
		return err
	}
	if n.Config, err = clientcmd.BuildConfigFromFlags("", n.Kubeconfig); err != nil {
		return err
	}
	n.Config.QPS = -1
	n.Admin, err = kubernetes.NewForConfig(n.Config)
	return err
}

// Output is the end of what the machine has said.
func (n *Node) Output() string {
	text, err := os.ReadFile(n.output)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}

// Stop switches the machine off and removes everything.
func (n *Node) Stop() error {
	if n.ssh != nil {
		_ = n.ssh.Close() // the machine may be gone
	}
	if n.machine != nil {
		n.machine.Stop()
	}
	return os.RemoveAll(n.dir)
}
