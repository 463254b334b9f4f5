package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// program is where the image has claimdir.
const program = "/claimdir"

// remoteExit is the exit code, not 0, of the program in the pod, which has printed the reason.
type remoteExit struct{ code int }

func (e *remoteExit) Error() string { return fmt.Sprintf("claimdir ended with exit code %d", e.code) }

// session is what a program in the pod reads and writes.
type session struct {
	in       io.Reader // nil is none
	out, err io.Writer
	terminal *terminal // the program gets a terminal, which is this one; nil is none
}

// run runs claimdir in the pod. A program that fails there is a remoteExit.
func (c *cluster) run(ctx context.Context, p place, s session, args ...string) error {
	executor, err := newExecutor(c.rest, c.execURL(p, s, args))
	if err != nil {
		return fmt.Errorf("run claimdir in pod %s: %w", p, err)
	}
	options := remotecommand.StreamOptions{Stdin: s.in, Stdout: s.out, Stderr: s.err}
	if s.terminal != nil {
		restore, err := s.terminal.raw()
		if err != nil {
			return err
		}
		defer restore()
		options.Tty, options.Stderr, options.TerminalSizeQueue = true, nil, s.terminal.sizes(ctx)
	}
	err = executor.StreamWithContext(ctx, options)
	if exit, is := errors.AsType[utilexec.CodeExitError](err); is {
		return &remoteExit{exit.Code}
	}
	if err != nil {
		return fmt.Errorf("run claimdir in pod %s: %w", p, err)
	}
	return nil
}

func (c *cluster) execURL(p place, s session, args []string) *url.URL {
	return c.core.RESTClient().Post().Namespace(p.namespace).Resource("pods").Name(p.pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: p.container, Command: append([]string{program}, args...),
			Stdin: s.in != nil, Stdout: true, Stderr: s.terminal == nil, TTY: s.terminal != nil,
		}, scheme.ParameterCodec).URL()
}

// newExecutor speaks websockets and, if there is something on the way that does not, SPDY, as kubectl exec does.
func newExecutor(config *rest.Config, at *url.URL) (remotecommand.Executor, error) {
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", at)
	if err != nil {
		return nil, err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", at.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
