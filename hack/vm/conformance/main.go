package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"claimdir/hack/controlplane"
)

// options are what the command line says.
type options struct {
	focus, skip *regexp.Regexp
	timeout     time.Duration
	procs       int
	results     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	o := options{}
	focus := flags.String("focus", "", "run only specs whose name matches this regular expression")
	skip := flags.String("skip", "", "run no specs whose name matches this regular expression")
	flags.DurationVar(&o.timeout, "timeout", 90*time.Minute, "how long all of it may take, once the programs are built")
	flags.IntVar(&o.procs, "procs", 4, "specs at once, where they may be")
	flags.StringVar(&o.results, "results", "../bin/conformance", "directory for reports and logs")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown arguments: %v", flags.Args())
	}
	var err, skipErr, pathErr error
	o.focus, err = regexp.Compile(*focus)
	if *skip != "" {
		o.skip, skipErr = regexp.Compile(*skip)
	}
	o.results, pathErr = filepath.Abs(o.results) // programs start elsewhere
	return o, errors.Join(err, skipErr, pathErr)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	base, err := readBaseline()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.results, 0o755); err != nil {
		return err
	}
	binaries, err := controlplane.BuildConformance(ctx, out)
	if err != nil {
		return err
	}
	s := &suite{binaries: binaries, results: o.results, out: out}
	registered, err := s.registered(ctx)
	if err != nil {
		return err
	}
	if err := base.complete(registered); err != nil {
		return err
	}
	chosen := o.choose(registered)
	fmt.Fprintf(out, "%d of %d specs selected\n", len(chosen), len(registered))
	if len(chosen) == 0 {
		return errors.New("no spec is selected")
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := startCluster(ctx, o, binaries, out)
	if err != nil {
		return err
	}
	specs, err := c.run(ctx, s, o, chosen)
	err = errors.Join(err, c.Stop())
	if len(specs) == 0 {
		return err
	}
	return errors.Join(err, report(out, base, specs, o.results)) // of what came to its end
}

// choose returns the specs that the options ask for.
func (o options) choose(names []string) []string {
	var chosen []string
	for _, name := range names {
		if o.focus.MatchString(name) && (o.skip == nil || !o.skip.MatchString(name)) {
			chosen = append(chosen, name)
		}
	}
	return chosen
}
