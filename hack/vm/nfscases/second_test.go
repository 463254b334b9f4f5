//go:build vm

package nfscases

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is one of the two: this machine's, or the second one, which has a network
// and a host name of its own and stands for another node. Its caches are its own.
type client struct {
	t      *testing.T
	dir    string // where the export is mounted
	prefix []string
}

// first mounts the export for this machine, as claimdir's own mount is.
func (e exported) first() client {
	e.t.Helper()
	return client{t: e.t, dir: e.mount()}
}

// second mounts it for the other client, whose packets hold and holdRename hold back.
func (e exported) second(options ...string) client {
	e.t.Helper()
	dir := e.mountOther(append([]string{os.Getenv("NFS_OPTIONS")}, options...)...)
	return client{t: e.t, dir: dir, prefix: []string{"nsenter", "--net=/run/netns/" + e.other()}}
}

// doing is an action that runs in a process of its own.
type doing struct {
	command *exec.Cmd
	output  bytes.Buffer
}

// actingAs says to the test binary that it is the process of one action.
const actingAs = "CLAIMDIR_TEST_ACT"

func TestMain(m *testing.M) {
	if os.Getenv(actingAs) == "" {
		os.Exit(m.Run())
	}
	if err := act(os.Args[1], os.Args[2:]...); err != nil {
		var number syscall.Errno
		errors.As(err, &number)
		fmt.Printf("%d %v\n", number, err)
		os.Exit(1)
	}
}

// start begins an action of act_test.go on the client's mount, which is its first
// argument, in a process of the client.
func (c client) start(name string, args ...string) *doing {
	c.t.Helper()
	self, err := os.Executable()
	must(c.t, err)
	line := append(append(append([]string{}, c.prefix...), self, name, c.dir), args...)
	d := &doing{command: exec.CommandContext(c.t.Context(), line[0], line[1:]...)}
	d.command.Env = append(os.Environ(), actingAs+"=1")
	d.command.Stdout, d.command.Stderr = &d.output, &d.output
	must(c.t, d.command.Start())
	return d
}

// act does an action on the client's mount in this process: which client's caches and
// connection it uses, the mount says.
func (c client) act(name string, args ...string) error {
	return act(name, append([]string{c.dir}, args...)...)
}

// actError is the error of an action, with the system's number.
type actError struct {
	number syscall.Errno
	text   string
}

func (e *actError) Error() string { return e.text }

func (e *actError) Unwrap() error { return e.number }

// wait returns the action's error. An action that does not end in two minutes is
// killed, and where it hung is part of the error.
func (d *doing) wait() error {
	var hung []byte
	limit := time.AfterFunc(2*time.Minute, func() {
		hung, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stack", d.command.Process.Pid))
		_ = d.command.Process.Kill()
	})
	err := d.command.Wait()
	if !limit.Stop() {
		return fmt.Errorf("no end in two minutes: %w\n%s", err, hung)
	}
	if err == nil {
		return nil
	}
	failed := &actError{}
	out := strings.TrimSpace(d.output.String())
	if _, scanned := fmt.Sscan(out, (*uintptr)(&failed.number)); scanned != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	_, failed.text, _ = strings.Cut(out, " ")
	return failed
}

// kill ends the process, perhaps only when the release has let a lock of the kernel
// go: wait comes after it. A call of it that is on its way stays on its way.
func (d *doing) kill() { _ = d.command.Process.Kill() }
