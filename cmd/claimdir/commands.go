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
	name, summary string // the name as it is called, such as "archive list"
	head, tail    string // of its help, around the flags
	// commands are those that are called by one more word.
	commands []command
	// flags are the names of those that mean something to it.
	flags []string
	// arguments reads what stands beside the flags, which are read already, and
	// returns what is wrong with it. A command without takes flags only.
	arguments func(o *options, args []string) []error
	run       func(ctx context.Context, o options, std streams) error
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // somebody sits at in, and can be asked
}

// program is the controller, with all other commands below it.
func program() command {
	return command{
		head: helpHead, tail: helpTail, run: serveCommand,
		commands: []command{archiveCommand(), doctorCommand(), recoverCommand()},
	}
}

// choose takes the command from the arguments.
func choose(args []string) (command, []string, error) {
	c := program()
	for len(c.commands) > 0 && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name := strings.TrimSpace(c.name + " " + args[0])
		i := slices.IndexFunc(c.commands, func(below command) bool { return below.name == name })
		if i < 0 {
			return command{}, nil, &usageError{c.name, []error{fmt.Errorf("there is no command %q; commands are: %s", name, c.names())}}
		}
		c, args = c.commands[i], args[1:]
	}
	return c, args, nil
}

// names lists the commands below c.
func (c command) names() string {
	var names []string
	for _, below := range c.commands {
		names = append(names, below.name)
	}
	return strings.Join(names, ", ")
}

// accepts reports whether the flag means something to the command.
func (c command) accepts(flag string) bool {
	if c.name == "" {
		return !slices.Contains([]string{"output", "fix", "yes"}, flag) && !slices.Contains(archiveFlags(), flag)
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

// read takes the arguments that are no flags, or refuses them.
func (c command) read(o *options, args []string) (problems []error) {
	if c.arguments != nil {
		return c.arguments(o, args)
	}
	for _, argument := range args {
		problems = append(problems, fmt.Errorf("argument %q: it takes flags only", argument))
	}
	return problems
}
