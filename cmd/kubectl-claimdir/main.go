// Command kubectl-claimdir is a kubectl plugin: kubectl claimdir runs claimdir's commands in its
// pod, lists its volumes, and creates claims that restore archives, all with the rights of the user.
// command.go builds the tree of commands, forward.go has those that run in the pod, find.go finds
// the pod and exec.go runs a program there; each other command has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // what a kubeconfig may name to log in
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// version is stamped by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// Exit codes. A command that runs in the pod ends with the code that it has there.
const (
	exitDone   = 0
	exitFailed = 1 // prints the reason on standard error
	exitUsage  = 2 // the command line is wrong; prints the problem
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	quiet()
	rest.SetDefaultWarningHandler(rest.NewWarningWriter(os.Stderr, rest.WarningWriterOptions{Deduplicate: true}))
	a := &app{
		IOStreams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		terminal:  terminalOf(os.Stdin, os.Stdout),
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		a.width, _, _ = term.GetSize(int(os.Stdout.Fd())) // 0 if the terminal does not know
	}
	os.Exit(a.execute(ctx, os.Args[1:]))
}

// quiet switches the log of the libraries off: what fails is returned, and a stream that ends is no error.
func quiet() { klog.SetLogger(klog.Logger{}) }

// execute runs the command that args name, and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.rootCommand()                   //nolint:contextcheck // cobra hands ctx on: ExecuteContextC
	root.SetArgs(append([]string{}, args...)) // with nil, cobra would use the arguments of the process
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if remote, is := errors.AsType[*remoteExit](err); is {
		return remote.code // the program in the pod has said why
	}
	fmt.Fprintln(a.ErrOut, "kubectl claimdir:", err)
	if !a.ran {
		fmt.Fprintf(a.ErrOut, "See %s --help.\n", c.CommandPath())
		return exitUsage
	}
	return exitFailed
}
