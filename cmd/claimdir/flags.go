package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations of a flag.
const (
	inSection  = "section"  // of the help
	ofVariable = "variable" // that gives it, too
)

// section is an empty set of flags; title is over it in the help.
func section(title string) *pflag.FlagSet {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

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

// annotation is empty where the flag has none.
func annotation(flag *pflag.Flag, key string) string {
	return strings.Join(flag.Annotations[key], "")
}

// parse reads arguments and environment into flags, and returns the arguments that
// are no flags. It returns every problem at once, so that nobody fixes a Deployment
// one restart at a time.
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

// splitUnknown separates arguments from the unknown flags among them. Behind "--"
// there are no flags.
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

// reason cuts the name of Go's function off the error of a bad number.
func reason(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}
