// Command claimdir gives every PersistentVolumeClaim whose StorageClass names
// it a directory of its own on an NFS share. Arguments choose a command
// (command.go), flags and environment become its options (flags.go, options.go and
// the file of the command), the controller's options become parts (run.go), an error
// becomes an exit code (here).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// version is stamped by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// Exit codes.
const (
	exitStopped = 0 // asked to stop, and everything under way ended
	exitFailed  = 1 // could not start or go on; says why on standard error
	exitUsage   = 2 // the configuration is wrong; lists every problem
)

func main() {
	// Directories get the mode that they are made with: others must be able to pass
	// through parents, and claimdir knows its own by it.
	syscall.Umask(0o022)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	std := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: term.IsTerminal(int(os.Stdin.Fd()))}
	os.Exit(exitCode(run(ctx, os.Args[1:], os.LookupEnv, std), os.Stderr))
}

func exitCode(err error, stderr *os.File) int {
	if err == nil {
		return exitStopped
	}
	fmt.Fprintln(stderr, "claimdir:", err)
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(stderr, "See %s --help.\n", usage.command)
		return exitUsage
	}
	return exitFailed
}
