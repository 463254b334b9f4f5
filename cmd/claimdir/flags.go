package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// group is a section of the help.
type group struct {
	title string
	flags *pflag.FlagSet
}

// environment maps a flag to its variable.
type environment map[string]string

// define declares all flags, bound to o.
func define(o *options) ([]group, environment) {
	env := environment{}
	var groups []group
	section := func(title string) *pflag.FlagSet {
		flags := pflag.NewFlagSet(title, pflag.ContinueOnError)
		flags.SortFlags = false
		groups = append(groups, group{title, flags})
		return flags
	}
	// with names the variable of a flag, for the help too.
	with := func(flag, variable, usage string) (string, string) {
		env[flag] = variable
		return flag, fmt.Sprintf("%s (%s)", usage, variable)
	}
	bind(o, section, with)
	return groups, env
}

func bind(o *options, section func(string) *pflag.FlagSet, with func(flag, variable, usage string) (string, string)) {
	text := func(f *pflag.FlagSet, to *string, flag, variable, usage string) {
		name, usage := with(flag, variable, usage)
		f.StringVar(to, name, *to, usage)
	}
	number := func(f *pflag.FlagSet, to *int, flag, short, variable, usage string) {
		name, usage := with(flag, variable, usage)
		f.IntVarP(to, name, short, *to, usage)
	}

	f := section("Provisioner")
	text(f, &o.provisionerName, "provisioner-name", "PROVISIONER_NAME", "the `name` that StorageClasses have as provisioner; required")
	name, usage := with("additional-provisioner-names", "ADDITIONAL_PROVISIONER_NAMES", "more `names`, separated by commas, whose classes and volumes are served too: those of a provisioner that claimdir replaces")
	f.StringSliceVar(&o.additionalNames, name, o.additionalNames, usage)
	number(f, &o.workers, "workers", "", "WORKERS", "how many claims, and how many volumes, are worked on at once")
	name, usage = with("drain-timeout", "DRAIN_TIMEOUT", "how long a stop waits for what is under way; keep it below the pod's terminationGracePeriodSeconds")
	f.DurationVar(&o.drainTimeout, name, o.drainTimeout, usage)

	f = section("Shares")
	text(f, &o.mountPath, "mount-path", "MOUNT_PATH", "the `directory` where the share is mounted; or, for several, each in a directory of its own below this one, which gives it its name")
	text(f, &o.nfsServer, "nfs-server", "NFS_SERVER", "the `server` that PersistentVolumes name; default: as mounted, and if given it must agree; for several shares NAME=SERVER,NAME=SERVER")
	text(f, &o.nfsPath, "nfs-path", "NFS_PATH", "the exported `path` that PersistentVolumes name; default: as mounted, and if given it must agree; for several shares NAME=PATH,NAME=PATH")
	name, usage = with("share-timeout", "SHARE_TIMEOUT", "how long a share may take to answer one call; after that its claims are told, and wait without holding up others")
	f.DurationVar(&o.shareTimeout, name, o.shareTimeout, usage)
	number(f, &o.trashRate, "trash-rate", "", "TRASH_RATE", "how many calls a second a share gets to remove what was released; 0 is as fast as it goes")
	name, usage = with("sweep-interval", "SWEEP_INTERVAL", "how often to look for records and directories that nothing accounts for; the first time is soon after start")
	f.DurationVar(&o.sweepInterval, name, o.sweepInterval, usage)
	name, usage = with("orphan-grace", "ORPHAN_GRACE", "how old the record of a volume must be, whose claim and PersistentVolume are gone, before it is removed with its directory, if that is empty")
	f.DurationVar(&o.orphanGrace, name, o.orphanGrace, usage)

	f = section("Cluster")
	text(f, &o.kubeconfig, "kubeconfig", "KUBECONFIG", "a kubeconfig `file`; default: the pod's ServiceAccount")
	name, usage = with("enable-leader-election", "ENABLE_LEADER_ELECTION", "let one of several replicas lead, by a Lease")
	f.BoolVar(&o.leaderElect, name, o.leaderElect, usage)
	text(f, &o.podNamespace, "pod-namespace", "POD_NAMESPACE", "the `namespace` of the Lease; default: the pod's own")

	f = section("Watching it")
	text(f, &o.httpAddress, "http-address", "HTTP_ADDRESS", "the `address` that serves /metrics, /healthz and /readyz")
	text(f, &o.logFormat, "log-format", "LOG_FORMAT", "text or json")
	number(f, &o.verbosity, "verbosity", "v", "VERBOSITY", "how much to log: 0 what happens to data and who leads, 2 what the libraries do, 4 every step")

	f = section("Output")
	name, usage = with("output", "OUTPUT", "table or json")
	f.StringVarP(&o.output, name, "o", o.output, usage)

	bindArchive(&o.archive, section("Archives"))

	f = section("Acting")
	f.BoolVar(&o.fix, "fix", o.fix, "mend what can be mended, and ask before each")
	f.BoolVar(&o.yes, "yes", o.yes, "do not ask: the answer is yes")

	f = section("Other")
	f.BoolVarP(&o.help, "help", "h", false, "print this and stop")
	f.BoolVar(&o.version, "version", false, "print the version and stop")
}

// parse reads arguments and environment into o. It returns every problem at
// once, so that nobody mends a Deployment one restart at a time.
func parse(o *options, c command, args []string, lookup func(string) (string, bool)) (problems []error) {
	groups, env := define(o)
	flags := pflag.NewFlagSet("claimdir", pflag.ContinueOnError)
	flags.Usage = func() {}
	for _, g := range groups {
		flags.AddFlagSet(c.only(g.flags))
	}
	flags.VisitAll(func(f *pflag.Flag) {
		f.Value = &lenient{f.Value, func(value string, err error) {
			name := "--" + f.Name
			if env[f.Name] != "" {
				name += " (" + env[f.Name] + ")"
			}
			problems = append(problems, fmt.Errorf("%s %q: %w", name, value, reason(err)))
		}}
	})
	problems = unique(append(problems, parseArgs(flags, args)...))
	flags.VisitAll(func(f *pflag.Flag) {
		if value, ok := lookup(env[f.Name]); ok && value != "" && !f.Changed && env[f.Name] != "" {
			_ = f.Value.Set(value) // lenient: a problem is collected
		}
	})
	return append(problems, c.read(o, flags.Args())...)
}

// parseArgs goes on after an unknown flag, without it.
func parseArgs(flags *pflag.FlagSet, args []string) (problems []error) {
	for {
		err := flags.Parse(args)
		unknown, ok := errors.AsType[*pflag.NotExistError](err)
		if !ok {
			if err != nil {
				problems = append(problems, err)
			}
			break
		}
		name := unknown.GetSpecifiedName()
		i := slices.IndexFunc(args, func(arg string) bool {
			bare, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			return strings.HasPrefix(arg, "-") && (bare == name || strings.Contains(unknown.GetSpecifiedShortnames(), bare))
		})
		problems = append(problems, err)
		if i < 0 {
			break
		}
		args = slices.Delete(slices.Clone(args), i, i+1)
	}
	return problems
}

// unique drops repeats, which come of parsing again without an unknown flag.
func unique(problems []error) (first []error) {
	for _, problem := range problems {
		if !slices.ContainsFunc(first, func(e error) bool { return e.Error() == problem.Error() }) {
			first = append(first, problem)
		}
	}
	return first
}

// lenient collects a bad value instead of ending the parse there.
type lenient struct {
	pflag.Value
	problem func(value string, err error)
}

func (l *lenient) Set(value string) error {
	if err := l.Value.Set(value); err != nil {
		l.problem(value, err)
	}
	return nil
}

// reason cuts the name of Go's function off the error of a bad number.
func reason(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}
