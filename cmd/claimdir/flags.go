package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/class"
)

// Annotations of a flag.
const (
	inSection  = "section"  // the section of the help that lists it
	ofVariable = "variable" // the environment variable that sets it, too
)

// section makes an empty set of flags, which the help prints below title.
func section(title string) *pflag.FlagSet {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

// durationVar adds a flag for a duration, which starts as value has it. All durations that users
// write have the same format.
func durationVar(f *pflag.FlagSet, value *time.Duration, name, usage string) {
	f.Var((*durationValue)(value), name, usage)
}

// durationValue is the pflag.Value of a duration.
type durationValue time.Duration

func (d *durationValue) Set(s string) error {
	parsed, err := class.ParseDuration(s)
	if err == nil {
		*d = durationValue(parsed)
	}
	return err
}

// String returns what the help shows as the default: of "0" it shows nothing.
func (d *durationValue) String() string {
	if *d == 0 {
		return "0"
	}
	return time.Duration(*d).String()
}

func (d *durationValue) Type() string { return "duration" }

// withVariables lets each flag also be given as an environment variable:
// --nfs-server as NFS_SERVER.
func withVariables(f *pflag.FlagSet) *pflag.FlagSet {
	f.VisitAll(func(flag *pflag.Flag) {
		name := strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		flag.Usage += " (" + name + ")"
		annotate(flag, ofVariable, name)
	})
	return f
}

// addSections adds flags to a command.
func addSections(c *cobra.Command, sections []*pflag.FlagSet) {
	c.Flags().SortFlags = false
	for _, s := range sections {
		s.VisitAll(func(flag *pflag.Flag) { annotate(flag, inSection, s.Name()) })
		c.Flags().AddFlagSet(s)
	}
}

func annotate(flag *pflag.Flag, key, value string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[key] = []string{value}
}

// annotation returns an empty string if the flag has no such annotation.
func annotation(flag *pflag.Flag, key string) string {
	return strings.Join(flag.Annotations[key], "")
}

// parse sets flags from arguments and environment, and returns the arguments that are not
// flags. It returns every problem at once, so that a Deployment with several mistakes needs
// only one more restart.
func parse(flags *pflag.FlagSet, args []string, lookup func(string) (string, bool)) (arguments []string, problems []error) {
	set := func(f *pflag.Flag, value string) {
		f.Changed = true
		if err := f.Value.Set(value); err != nil {
			name := "--" + f.Name
			if variable := annotation(f, ofVariable); variable != "" {
				name += " (" + variable + ")"
			}
			problems = append(problems, fmt.Errorf("%s %q: %w", name, value, reason(err)))
		}
	}
	goOn := func(f *pflag.Flag, value string) error {
		set(f, value)
		return nil
	}
	flags.ParseErrorsAllowlist.UnknownFlagsHandling = pflag.PassUnknownFlagToArgs
	if err := flags.ParseAll(args, goOn); err != nil { // a flag without its value
		problems = append(problems, err)
	}
	arguments, unknown := splitUnknown(flags)
	problems = append(problems, unknown...)
	flags.VisitAll(func(f *pflag.Flag) {
		if variable := annotation(f, ofVariable); variable != "" && !f.Changed {
			if value, _ := lookup(variable); value != "" {
				set(f, value)
			}
		}
	})
	return arguments, problems
}

// splitUnknown separates arguments from unknown flags. After "--" there are no flags.
func splitUnknown(flags *pflag.FlagSet) (arguments []string, unknown []error) {
	dashes := flags.ArgsLenAtDash()
	for i, arg := range flags.Args() {
		if name, _, _ := strings.Cut(arg, "="); strings.HasPrefix(arg, "-") && arg != "-" && (dashes < 0 || i < dashes) {
			unknown = append(unknown, fmt.Errorf("unknown flag: %s", name))
			continue
		}
		arguments = append(arguments, arg)
	}
	return arguments, unknown
}

// reason removes the name of the Go function from the error of a bad number.
func reason(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}
