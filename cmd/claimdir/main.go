// Command claimdir creates a directory on an NFS share for every PersistentVolumeClaim of its
// StorageClasses. command.go chooses the command from the arguments. flags.go, options.go
// and the file of the command set its options from flags and environment. run.go builds and
// runs the controller. This file turns an error into an exit code.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/term"
)

// version is stamped by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// Exit codes.
const (
	exitStopped = 0 // stopped by a signal, and all operations have ended; or the command succeeded
	exitFailed  = 1 // failed; prints the reason on standard error
	exitUsage   = 2 // the configuration is wrong; prints every problem
)

func main() {
	// The umask must not change the mode of parent directories: pods pass through them.
	syscall.Umask(0o022)
	limitGarbage()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	std := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: term.IsTerminal(int(os.Stdin.Fd())), width: widthOf(os.Stdout, os.LookupEnv)}
	os.Exit(exitCode(run(ctx, os.Args[1:], os.LookupEnv, std), os.Stderr))
}

// widthOf returns the width of a terminal in characters: COLUMNS, or what the terminal says. It
// returns 0 for anything else, and for a terminal that does not know.
func widthOf(f *os.File, lookup func(string) (string, bool)) int {
	if !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	value, _ := lookup("COLUMNS")
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
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
