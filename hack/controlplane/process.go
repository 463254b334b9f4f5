package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// readyTimeout is for one component; a busy machine needs a part of it.
	readyTimeout = 2 * time.Minute
	readyPoll    = 50 * time.Millisecond
	// logTail is how much of a component's log an error carries.
	logTail = 4096
)

// errPortTaken says that a component found its port in use.
var errPortTaken = errors.New("port is taken")

// child is a process that this one started and that does not outlive it.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended and is reaped
	err  error         // how it ended; valid after done
}

// startChild starts cmd so that the kernel kills it when this process ends in
// any way. The kernel ties that signal to the thread that forked, not to the
// process, and Go ends a thread whose goroutine returns while locked to it. So
// the goroutine that forks stays on its thread until the child has ended, and
// no other goroutine can take that thread along. A group of its own keeps the
// terminal's Ctrl-C away: Stop decides.
func startChild(cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// kill ends the child at once and waits until it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	<-c.done
}

// process is a component of the control plane: a child with a log.
type process struct {
	*child
	name string
	log  string
	from int64 // where this run begins in the log
}

// startProcess runs a component in dir and appends what it says to NAME.log
// there. It gets no environment: etcd would read its flags from it.
func startProcess(dir, binary string, args []string) (*process, error) {
	p := &process{name: filepath.Base(binary)}
	p.log = filepath.Join(dir, p.name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	if p.from, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{"HOME=" + dir}, log, log
	if p.child, err = startChild(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// waitReady polls check until it passes. If the process or the one it needs
// ends, or time runs out, the process is gone afterwards; the error carries the
// end of the log.
func (p *process) waitReady(ctx context.Context, needs *process, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	go func() { // a check may hang on a port that somebody else holds
		select {
		case <-p.done:
		case <-needs.done:
		case <-ctx.Done():
		}
		cancel()
	}()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		unready := check(ctx)
		if unready == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if p.hasEnded() {
				return p.ended()
			}
			p.kill()
			if needs.hasEnded() {
				return needs.ended()
			}
			return p.failure(fmt.Errorf("wait for %s: %w: %w", p.name, ctx.Err(), unready))
		}
	}
}

func (c *child) hasEnded() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (p *process) ended() error {
	return p.failure(fmt.Errorf("%s ended: %s", p.name, p.cmd.ProcessState))
}

// failure adds what the log says since this run began.
func (p *process) failure(err error) error {
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	log = log[min(p.from, int64(len(log))):]
	if bytes.Contains(log, []byte("address already in use")) {
		err = fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return fmt.Errorf("%w; its log ends:\n%s", err, log[max(0, len(log)-logTail):])
}
