package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

const controllerHead = `claimdir creates a directory on an NFS share for every PersistentVolumeClaim of its StorageClasses, and
deletes, archives or retains the directory when the claim is deleted.

Usage: claimdir [flags]            run the controller
       claimdir COMMAND [flags]    run a command

Commands (each has its own --help):
`

const controllerTail = `
Exit codes: 0 stopped by a signal; 1 failed; 2 wrong configuration.
`

// controllerOptions run the controller.
type controllerOptions struct{ options }

// controllerCommand makes the root command, which runs the controller, with all other
// commands below it.
func controllerCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "claimdir", Long: controllerHead, Annotations: endsWith(controllerTail)}
	return p.command(c, &controllerOptions{newOptions()}, archiveCommand(p), doctorCommand(p), handbackCommand(p), preflightCommand(p), quotaCommand(p), recoverCommand(p), snapshotCommand(p), usageCommand(p))
}

func (o *controllerOptions) flags() []*pflag.FlagSet {
	return []*pflag.FlagSet{o.provisionerFlags(), o.allShareFlags(), o.copyFlags(), o.usageFlags(), o.clusterFlags(), o.watchFlags()}
}

func (o *controllerOptions) provisionerFlags() *pflag.FlagSet {
	f := section("Provisioner")
	o.addName(f)
	o.addMoreNames(f)
	f.IntVar(&o.workers, "workers", o.workers, "how many claims, and how many volumes, to process at once")
	durationVar(f, &o.drainTimeout, "drain-timeout",
		"how long to wait for running operations when the process stops; keep it below the pod's terminationGracePeriodSeconds")
	f.BoolVar(&o.expandMounted, "expand-mounted", o.expandMounted,
		"expand volumes that pods use; if false, expand a volume when no pod uses its claim, which needs Kubernetes 1.37")
	return withVariables(f)
}

func (o *controllerOptions) allShareFlags() *pflag.FlagSet {
	f := section("Shares")
	o.addShares(f)
	durationVar(f, &o.shareTimeout, "share-timeout",
		"time-out of one call to a share; after it the share's claims get an event and wait, without delaying other shares")
	f.IntVar(&o.trashRate, "trash-rate", o.trashRate, "how many calls a second may remove released directories from a share; 0 means no limit")
	durationVar(f, &o.sweepInterval, "sweep-interval",
		"how often to look for orphaned records and directories; the first time is soon after start")
	durationVar(f, &o.orphanGrace, "orphan-grace",
		"minimum age of a record without claim and PersistentVolume before it is removed together with its empty directory")
	return withVariables(f)
}

func (o *controllerOptions) usageFlags() *pflag.FlagSet {
	f := section("Usage")
	durationVar(f, &o.usageInterval, "usage-interval",
		"how often to measure how much each directory holds, such as 6h; 0 means never. StorageClasses with onOverSize need it")
	f.IntVar(&o.usageRate, "usage-rate", o.usageRate, "how many files and directories a second to look at on a share; 0 means no limit")
	f.StringVar(&o.usageMetrics, "usage-metrics", o.usageMetrics,
		"which `metrics` to serve of what was measured: namespace, or volume for those of each claim, too, which are many in a large cluster")
	return withVariables(f)
}

func (o *controllerOptions) clusterFlags() *pflag.FlagSet {
	f := section("Cluster")
	o.addKubeconfig(f)
	f.BoolVar(&o.leaderElect, "enable-leader-election", o.leaderElect, "run the controller in only one of several replicas, chosen by a Lease")
	o.addNamespace(f)
	return withVariables(f)
}

func (o *controllerOptions) watchFlags() *pflag.FlagSet {
	f := section("Monitoring")
	f.StringVar(&o.httpAddress, "http-address", o.httpAddress, "the `address` that serves /metrics, /healthz, /readyz and /sharez")
	f.StringVar(&o.pageAddress, "page-address", o.pageAddress,
		"the `address` that serves a page to look at, which names all tenants' claims: kubectl port-forward reaches it on loopback; off serves none")
	f.StringVar(&o.logFormat, "log-format", o.logFormat, "text or json")
	f.IntVarP(&o.verbosity, "verbosity", "v", o.verbosity,
		"how much to log: 0 changes of data and of the leader, 2 also what the libraries do, 4 also every step")
	return withVariables(f)
}

func (o *controllerOptions) complete(args []string) (problems []error) {
	o.findNamespace()
	problems = append(unexpected(args), o.checkNames()...)
	problems = append(problems, o.checkShares()...)
	problems = append(problems, o.checkPace()...)
	problems = append(problems, o.checkUsage()...)
	problems = append(problems, o.checkCopies()...)
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.leaderElect && o.podNamespace == "" {
		problem("--pod-namespace (POD_NAMESPACE) is required for leader election outside a cluster: it is the namespace of the Lease")
	}
	if wrong := wrongAddress(o.pageAddress); wrong != "" && o.pageAddress != pageOff {
		problem("--page-address %q: %s; allowed are HOST:PORT and off", o.pageAddress, wrong)
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		problem("--log-format %q: allowed are text and json", o.logFormat)
	}
	if o.verbosity < 0 || o.verbosity > 10 {
		problem("--verbosity %d: allowed are 0 to 10", o.verbosity)
	}
	return problems
}

// wrongAddress returns what is wrong with an address to listen on, or an empty string.
func wrongAddress(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "it is not HOST:PORT"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q is not a port", port)
	}
	return ""
}

// checkPace checks the limits of concurrency, rate and time.
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
		problem("--trash-rate %d: must not be negative; 0 means no limit", o.trashRate)
	}
	if o.sweepInterval < time.Second {
		problem("--sweep-interval %s: must be at least 1s", o.sweepInterval)
	}
	if o.orphanGrace < 0 {
		problem("--orphan-grace %s: must not be negative", o.orphanGrace)
	}
	return problems
}

// The values of --usage-metrics.
const (
	metricsOfNamespaces = "namespace"
	metricsOfVolumes    = "volume"
)

// minUsageRate is the lowest limit: with less the pauses would look like a share that does not answer.
const minUsageRate = 10

func (o *controllerOptions) checkUsage() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.usageInterval != 0 && o.usageInterval < time.Second {
		problem("--usage-interval %s: must be at least 1s; 0 means that nothing is measured", o.usageInterval)
	}
	if o.usageRate != 0 && o.usageRate < minUsageRate {
		problem("--usage-rate %d: must be at least %d; 0 means no limit", o.usageRate, minUsageRate)
	}
	if o.usageMetrics != metricsOfNamespaces && o.usageMetrics != metricsOfVolumes {
		problem("--usage-metrics %q: allowed are %s and %s", o.usageMetrics, metricsOfNamespaces, metricsOfVolumes)
	}
	return problems
}

func (o *controllerOptions) run(ctx context.Context, std streams) error {
	if err := setUpLogging(o.options, std.err); err != nil {
		return err
	}
	defer flushLogs()
	ctx = klog.NewContext(ctx, klog.Background())
	limitMemory(ctx, memoryLimitFile)
	return serve(ctx, o.options)
}
