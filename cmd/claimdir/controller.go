package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

const controllerHead = `claimdir gives every PersistentVolumeClaim whose StorageClass names it a directory
of its own on an NFS share, and deletes, archives or keeps the directory when the
claim is released.

Usage: claimdir [flags]            run the controller
       claimdir COMMAND [flags]    do one thing and stop

Commands; each has a --help of its own:
`

const controllerTail = `
Exit codes: 0 stopped, 1 failed, 2 wrong configuration.
`

// controllerOptions run the controller.
type controllerOptions struct{ options }

// controllerCommand is the command without a name, with all others below it.
func controllerCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "claimdir", Long: controllerHead, Annotations: endsWith(controllerTail)}
	return p.command(c, &controllerOptions{newOptions()}, archiveCommand(p), doctorCommand(p), recoverCommand(p))
}

func (o *controllerOptions) flags() []*pflag.FlagSet {
	return []*pflag.FlagSet{o.provisionerFlags(), o.allShareFlags(), o.clusterFlags(), o.watchFlags()}
}

func (o *controllerOptions) provisionerFlags() *pflag.FlagSet {
	f := section("Provisioner")
	o.addName(f)
	o.addMoreNames(f)
	f.IntVar(&o.workers, "workers", o.workers, "how many claims, and how many volumes, are worked on at once")
	f.DurationVar(&o.drainTimeout, "drain-timeout", o.drainTimeout,
		"how long a stop waits for what is under way; keep it below the pod's terminationGracePeriodSeconds")
	return withVariables(f)
}

func (o *controllerOptions) allShareFlags() *pflag.FlagSet {
	f := section("Shares")
	o.addShares(f)
	f.DurationVar(&o.shareTimeout, "share-timeout", o.shareTimeout,
		"how long a share may take to answer one call; after that its claims are told, and wait without holding up others")
	f.IntVar(&o.trashRate, "trash-rate", o.trashRate, "how many calls a second a share gets to remove what was released; 0 is as fast as it goes")
	f.DurationVar(&o.sweepInterval, "sweep-interval", o.sweepInterval,
		"how often to look for records and directories that nothing accounts for; the first time is soon after start")
	f.DurationVar(&o.orphanGrace, "orphan-grace", o.orphanGrace,
		"minimum age of a record without claim and PersistentVolume before it is removed together with its empty directory")
	return withVariables(f)
}

func (o *controllerOptions) clusterFlags() *pflag.FlagSet {
	f := section("Cluster")
	o.addKubeconfig(f)
	f.BoolVar(&o.leaderElect, "enable-leader-election", o.leaderElect, "let one of several replicas lead, by a Lease")
	f.StringVar(&o.podNamespace, "pod-namespace", o.podNamespace, "the `namespace` of the Lease; default: the pod's own")
	return withVariables(f)
}

func (o *controllerOptions) watchFlags() *pflag.FlagSet {
	f := section("Watching it")
	f.StringVar(&o.httpAddress, "http-address", o.httpAddress, "the `address` that serves /metrics, /healthz and /readyz")
	f.StringVar(&o.logFormat, "log-format", o.logFormat, "text or json")
	f.IntVarP(&o.verbosity, "verbosity", "v", o.verbosity,
		"how much to log: 0 what happens to data and who leads, 2 what the libraries do, 4 every step")
	return withVariables(f)
}

func (o *controllerOptions) complete(args []string) (problems []error) {
	if o.podNamespace == "" {
		o.podNamespace = ownNamespace()
	}
	problems = append(unexpected(args), o.checkNames()...)
	problems = append(problems, o.checkShares()...)
	problems = append(problems, o.checkPace()...)
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.leaderElect && o.podNamespace == "" {
		problem("--pod-namespace (POD_NAMESPACE) is required for leader election outside a cluster: the namespace of the Lease")
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		problem("--log-format %q: allowed are text and json", o.logFormat)
	}
	if o.verbosity < 0 || o.verbosity > 10 {
		problem("--verbosity %d: allowed are 0 to 10", o.verbosity)
	}
	return problems
}

// checkPace looks at how much is done, how fast and how often.
func (o *controllerOptions) checkPace() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.workers < 1 || o.workers > 1000 {
		problem("--workers %d: allowed are 1 to 1000", o.workers)
	}
	if o.drainTimeout < 0 {
		problem("--drain-timeout %s: must not be negative", o.drainTimeout)
	}
	if o.shareTimeout < time.Second {
		problem("--share-timeout %s: must be at least 1s", o.shareTimeout)
	}
	if o.trashRate < 0 {
		problem("--trash-rate %d: must not be negative; 0 is as fast as it goes", o.trashRate)
	}
	if o.sweepInterval < time.Second {
		problem("--sweep-interval %s: must be at least 1s", o.sweepInterval)
	}
	if o.orphanGrace < 0 {
		problem("--orphan-grace %s: must not be negative", o.orphanGrace)
	}
	return problems
}

func (o *controllerOptions) run(ctx context.Context, std streams) error {
	if err := setUpLogging(o.options, std.err); err != nil {
		return err
	}
	defer flushLogs()
	return serve(klog.NewContext(ctx, klog.Background()), o.options)
}
