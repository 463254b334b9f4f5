// Package child starts processes that do not outlive the one that started them,
// be it ended by kill -9. It needs Linux.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Child is a process that this one started.
type Child struct {
	// Done is closed once it has ended and is reaped.
	Done <-chan struct{}

	cmd *exec.Cmd
	err error // how it ended; valid after Done
}

// Start starts cmd so that the kernel sends it last when this process ends in
// any way. The kernel ties that signal to the thread that forked, not to the
// process, and Go ends a thread whose goroutine returns while locked to it. So
// the goroutine that forks stays on its thread until the child has ended, and
// no other goroutine can take that thread along. A group of its own keeps the
// terminal's Ctrl-C away: the caller decides.
func Start(cmd *exec.Cmd, last syscall.Signal) (*Child, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, last
	done, started := make(chan struct{}), make(chan error, 1)
	c := &Child{Done: done, cmd: cmd}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// PID is the child's process number; another process may have it once the child
// has ended.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Kill ends the child at once and waits until it is gone.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	<-c.Done
}

// Stop asks the child to end and waits until it has.
func (c *Child) Stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	<-c.Done
}

// Ended reports whether the child has ended, without waiting for it.
func (c *Child) Ended() bool {
	select {
	case <-c.Done:
		return true
	default:
		return false
	}
}

// Err is how the child ended, as of exec.Cmd.Wait; it waits for that.
func (c *Child) Err() error {
	<-c.Done
	return c.err
}

// State says how the child ended, for people; it waits for that.
func (c *Child) State() string {
	<-c.Done
	return c.cmd.ProcessState.String()
}
