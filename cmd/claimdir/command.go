package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // in is a terminal, so that a user can answer questions
	width    int  // of out, in characters; 0 if it is no terminal
}

// program is what every command needs besides its flags.
type program struct {
	lookup func(variable string) (string, bool) // the environment
	std    streams
}

// action is the options of a command, which also run it.
type action interface {
	// flags declares the flags, one set for each section of the help.
	flags() []*pflag.FlagSet
	// complete takes the arguments that are not flags, sets defaults, and returns every
	// problem of the configuration.
	complete(args []string) []error
	run(ctx context.Context, std streams) error
}

// usageError holds every problem of the configuration.
type usageError struct {
	command  string // the command whose help explains it, such as "claimdir archive"
	problems []error
}

func (e *usageError) Error() string {
	if len(e.problems) == 1 {
		return e.problems[0].Error()
	}
	return fmt.Sprintf("%d problems in the configuration:\n%v", len(e.problems), errors.Join(e.problems...))
}

// run runs the command that args name. The controller runs until ctx ends, and then returns
// nil when its operations have ended.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), std streams) error {
	root := controllerCommand(program{lookup, std}) //nolint:contextcheck // cobra hands ctx on: ExecuteContext
	if err := choose(root, args); err != nil {
		return err
	}
	root.SetArgs(append([]string{}, args...)) // with nil, cobra would use the arguments of the process
	return root.ExecuteContext(ctx)
}

// command gives a command its flags, its action and the commands below it.
func (p program) command(c *cobra.Command, a action, below ...*cobra.Command) *cobra.Command {
	var help, showVersion bool
	other := section("Other")
	other.BoolVarP(&help, "help", "h", false, "print this and stop")
	other.BoolVar(&showVersion, "version", false, "print the version and stop")
	addSections(c, append(a.flags(), other))

	c.AddCommand(below...)
	for _, b := range below {
		c.ValidArgs = append(c.ValidArgs, b.Name()) // cobra sorts its own list
		c.Long += fmt.Sprintf("  %-9s %s\n", b.Name(), b.Short)
	}
	c.SilenceErrors, c.SilenceUsage = true, true // exitCode prints them
	c.CompletionOptions.DisableDefaultCmd = true
	c.Args = cobra.ArbitraryArgs // complete looks at them
	c.DisableFlagParsing = true  // cobra stops at the first mistake, parse finds all
	c.RunE = func(c *cobra.Command, args []string) error {
		args, problems := parse(c.Flags(), args, p.lookup)
		switch {
		case help:
			_, err := io.WriteString(p.std.out, helpText(c))
			return err
		case showVersion:
			_, err := fmt.Fprintln(p.std.out, "claimdir", version)
			return err
		}
		if problems = append(problems, a.complete(args)...); len(problems) > 0 {
			return &usageError{c.CommandPath(), problems}
		}
		return a.run(c.Context(), p.std)
	}
	return c
}

// choose lets only the words before the first flag name a command, as a command's
// flags stand behind it, and refuses one that does not exist. That includes the
// commands that cobra adds by itself when it runs: help, completion and __complete.
func choose(root *cobra.Command, args []string) error {
	words := args
	flag := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if flag >= 0 {
		words = args[:flag]
	}
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if c.HasSubCommands() && len(rest) > 0 {
		return &usageError{c.CommandPath(), []error{fmt.Errorf("there is no command %q; commands are: %s", nameBelow(c, rest[0]), namesBelow(c))}}
	}
	if flag >= 0 {
		c.RemoveCommand(c.Commands()...) // or cobra would search for one behind the flags
	}
	return nil
}

// namesBelow lists the commands below c, as they are called.
func namesBelow(c *cobra.Command) string {
	var names []string
	for _, name := range c.ValidArgs {
		names = append(names, nameBelow(c, name))
	}
	return strings.Join(names, ", ")
}

func nameBelow(c *cobra.Command, name string) string {
	return strings.TrimPrefix(c.CommandPath()+" "+name, "claimdir ")
}

// unexpected refuses arguments: the command takes flags only.
func unexpected(args []string) (problems []error) {
	for _, argument := range args {
		problems = append(problems, fmt.Errorf("unexpected argument %q", argument))
	}
	return problems
}
