package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// command is one thing that claimdir does. The one without a name is the
// controller.
type command struct {
	name, summary string
	head, tail    string // of its help, around the flags
	// flags are the names of those that mean something to it.
	flags []string
	run   func(ctx context.Context, o options, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{head: helpHead, tail: helpTail, run: serveCommand},
		doctorCommand(),
		recoverCommand(),
	}
}

// choose takes the command from the arguments.
func choose(args []string) (command, []string, error) {
	all := commands()
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return all[0], args, nil
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		var names []string
		for _, c := range all[1:] {
			names = append(names, c.name)
		}
		return command{}, nil, &usageError{[]error{fmt.Errorf("there is no command %q; commands are: %s", args[0], strings.Join(names, ", "))}}
	}
	return all[i], args[1:], nil
}

// accepts reports whether the flag means something to the command.
func (c command) accepts(flag string) bool {
	if c.name == "" {
		return flag != "output"
	}
	return slices.Contains(c.flags, flag) || slices.Contains([]string{"help", "version"}, flag)
}

// only returns the flags that the command accepts.
func (c command) only(flags *pflag.FlagSet) *pflag.FlagSet {
	accepted := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	accepted.SortFlags = false
	flags.VisitAll(func(f *pflag.Flag) {
		if c.accepts(f.Name) {
			accepted.AddFlag(f)
		}
	})
	return accepted
}
