package testbed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Server and Export are what claimdir is told that its share is, unless a
// Config says otherwise: no kubelet mounts it here.
const (
	Server = "nas.example.com"
	Export = "/export"
)

// Config is one claimdir.
type Config struct {
	// Share is the directory that stands for the mounted share.
	Share string
	// Provisioner is PROVISIONER_NAME.
	Provisioner string
	// Program is what Build returned; empty is claimdir as Start built it.
	Program string
	// Env comes last and wins, as NAME=VALUE.
	Env []string
	// Log receives what the process logs, beside Log(); nil is nobody.
	Log io.Writer
}

// Process is a running claimdir.
type Process struct {
	cmd   *exec.Cmd
	log   *buffer
	ended chan struct{}
	err   error // of Wait, once ended is closed
}

// Claimdir starts claimdir as the ServiceAccount of the manifests, with nothing
// else in its environment than the Deployment gives it and a kubeconfig.
func (b *Bed) Claimdir(c Config) (*Process, error) {
	p := &Process{log: &buffer{copy: c.Log}, ended: make(chan struct{})}
	p.cmd = exec.Command(cmp.Or(c.Program, b.program), "--http-address=127.0.0.1:0", "--page-address=127.0.0.1:0")
	p.cmd.Env = b.environment(c)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	// Its own group: a Ctrl-C on the terminal is for the caller, who then stops
	// the process properly.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start claimdir: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Run runs one of claimdir's commands in the same environment and returns what
// it prints; a failed one's error holds what it says.
func (b *Bed) Run(ctx context.Context, c Config, args ...string) (stdout string, err error) {
	stdout, _, err = b.RunMeasured(ctx, c, args...)
	return stdout, err
}

// RunMeasured is Run, and returns the command's PeakMemory too.
func (b *Bed) RunMeasured(ctx context.Context, c Config, args ...string) (stdout string, peak int64, err error) {
	cmd := b.Command(ctx, c, args...)
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	if err := cmd.Run(); err != nil {
		return out.String(), peakMemory(cmd), fmt.Errorf("claimdir %v: %w\n%s", args, err, &says)
	}
	return out.String(), peakMemory(cmd), nil
}

// Command returns one of claimdir's commands in the same environment, to be run.
func (b *Bed) Command(ctx context.Context, c Config, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(c.Program, b.program), args...)
	cmd.Env = b.environment(c)
	return cmd
}

func (b *Bed) environment(c Config) []string {
	return append([]string{
		"KUBECONFIG=" + b.kubeconfig,
		"POD_NAMESPACE=claimdir",
		"PROVISIONER_NAME=" + c.Provisioner,
		"MOUNT_PATH=" + c.Share,
		"NFS_SERVER=" + Server,
		"NFS_PATH=" + Export,
	}, c.Env...)
}

// WaitReady returns once /readyz and /sharez say yes.
func (p *Process) WaitReady(ctx context.Context) error {
	for {
		_, ready := p.Get(ctx, "/readyz")
		_, shares := p.Get(ctx, "/sharez")
		err := errors.Join(ready, shares)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("claimdir is not ready: %w\n%s", err, p.Log())
		case <-p.ended:
			return fmt.Errorf("claimdir ended: %w\n%s", p.err, p.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Get reads one of claimdir's endpoints; any answer but 200 is an error.
func (p *Process) Get(ctx context.Context, path string) (string, error) {
	return p.get(ctx, servesMetrics, path)
}

// Page reads claimdir's page; any answer but 200 is an error.
func (p *Process) Page(ctx context.Context) (string, error) {
	return p.get(ctx, `Serving the page`, "/")
}

// servesMetrics is what the log says before the address of claimdir's endpoints.
const servesMetrics = `Serving /metrics, /healthz, /readyz and /sharez`

// MetricsAddress is where Get reads: HOST:PORT.
func (p *Process) MetricsAddress() (string, error) { return p.address(servesMetrics) }

// address returns the one that the log names behind those words.
func (p *Process) address(logged string) (string, error) {
	address := regexp.MustCompile(logged + `.*?(127\.0\.0\.1:\d+)`).FindStringSubmatch(p.Log())
	if address == nil {
		return "", errors.New("claimdir does not serve yet")
	}
	return address[1], nil
}

// get reads a path at the address that the log names behind those words.
func (p *Process) get(ctx context.Context, logged, path string) (string, error) {
	address, err := p.address(logged)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, resp.Status, bytes.TrimSpace(body))
	}
	return string(body), err
}

// Stop asks claimdir to stop, waits, and returns its exit code.
func (p *Process) Stop() int { return p.end(syscall.SIGTERM) }

// Kill ends claimdir without asking.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Pause stops claimdir where it is, as a machine does that is suspended. A call that the
// kernel makes for it goes on.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets claimdir go on after Pause.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *Process) end(signal syscall.Signal) int {
	_ = p.cmd.Process.Signal(signal) // one that has ended is waited for all the same
	return p.Wait()
}

// Wait returns the exit code once claimdir has ended; -1 if a signal killed it.
func (p *Process) Wait() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// PeakMemory is the most that claimdir had resident, in bytes, once it ended. It is at least what
// the process that started it had at that time.
func (p *Process) PeakMemory() int64 { return peakMemory(p.cmd) }

func peakMemory(cmd *exec.Cmd) int64 {
	if cmd.ProcessState == nil {
		return 0
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss * 1024
}

// Log is everything that claimdir has printed so far.
func (p *Process) Log() string { return p.log.String() }

// buffer may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	copy io.Writer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.copy != nil {
		_, _ = b.copy.Write(data) // the copy is for people
	}
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// NewShare makes an empty directory for a share.
func (b *Bed) NewShare() (string, error) {
	return os.MkdirTemp(b.dir, "share-")
}

// Ended is closed once claimdir has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }
