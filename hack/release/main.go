// Command release makes what a release of claimdir consists of, and pushes it:
// docs/release.md says how. Each command begins with checks, and changes nothing
// if one fails.
//
//	release dist -version v0.1.0    write dist/, the same bytes for the same commit
//	release push -image HOST/NAME:TAG    push dist's image and its SBOMs
//	release image    an image for this machine, into its container tool
//	release versions    check that all that names a version names the same
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"claimdir/hack/project"
	"claimdir/hack/release/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root, err := project.Root()
	if err == nil {
		err = run(ctx, root, os.Args[1:], os.Stdout)
	}
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run runs a command on the project in root.
func run(ctx context.Context, root string, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("a command is missing; there are dist, push, image and versions")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	o := options{architectures: image.Architectures(), plugins: pluginPlatforms()}
	flags.StringVar(&o.version, "version", "", "version that is built, such as v0.1.0")
	flags.StringVar(&o.image, "image", "", "name and tag of the image, such as registry.example.org/claimdir:v0.1.0")
	flags.StringVar(&o.sign, "sign", "", "push: command line that signs an image; its last argument will be the image with its digest")
	flags.StringVar(&o.tool, "tool", "", "image: docker or podman (default: the first of them that works)")
	flags.StringVar(&o.archive, "archive", "", "image: the file to write, instead of loading the image")
	commands := map[string]func(context.Context, string, options, io.Writer) error{
		"dist": dist, "push": push, "image": localImage, "versions": versions,
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("no command is called %q; there are dist, push, image and versions", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes flags only, not %q", args[0], flags.Arg(0))
	}
	return command(ctx, root, o, out)
}

// options are the flags; not every command uses each.
type options struct {
	version, image, sign, tool, archive string
	architectures                       []string // all, outside of tests
	plugins                             []string // platforms of the plugin of kubectl; all, outside of tests
}
