package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// app is what all commands share.
type app struct {
	genericiooptions.IOStreams

	terminal *terminal // a terminal on which a user can answer questions; nil is none
	width    int       // of the terminal that shows the output, in characters; 0 if it is no terminal
	ran      bool      // the command line was right, and the command has begun

	config        *genericclioptions.ConfigFlags
	allNamespaces bool
	selector      string
}

const rootHead = `kubectl claimdir works with claimdir, the provisioner of directories on NFS shares, with your own rights. It
finds claimdir's pod by its labels and runs claimdir's commands there; status and list only read.

The flags of kubectl work, but for --cluster, which chooses archives here: choose a cluster with --context.

Usage: kubectl claimdir COMMAND [flags]

Commands (each has its own --help):
`

func (a *app) rootCommand() *cobra.Command {
	a.config = genericclioptions.NewConfigFlags(true)
	a.config.ClusterName = nil // --cluster is a flag of archive purge and snapshot purge
	c := &cobra.Command{
		Use:         "kubectl-claimdir",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl claimdir"},
		Long:        rootHead,
	}
	a.group(c, a.statusCommand(), a.listCommand(), a.usageCommand(), a.archiveCommand(), a.snapshotCommand(),
		a.doctorCommand(), a.recoverCommand(), a.versionCommand())
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return needsCommand(c, args)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }

	where, how := newSection("Finding claimdir"), newSection("Cluster")
	a.config.AddFlags(how)
	where.AddFlag(how.Lookup("namespace"))
	where.Lookup("namespace").Usage = "the `namespace` of claimdir; default: it is searched in all that you may look into; recover requires it"
	where.BoolVarP(&a.allNamespaces, "all-namespaces", "A", false, "search in all namespaces, and fail if you may not")
	where.StringVarP(&a.selector, "selector", "l", defaultSelector, "the `labels` of claimdir's pods")
	persistent(c, where, how)
	a.completeAccess(c)

	c.SilenceErrors, c.SilenceUsage = true, true // execute prints them
	c.CompletionOptions.DisableDefaultCmd = true // kubectl asks kubectl_complete-claimdir
	c.SetOut(a.Out)
	c.SetErr(a.ErrOut)
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { fmt.Fprint(a.Out, helpText(c)) })
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.allNamespaces && *a.config.Namespace != "" {
			return errors.New("--all-namespaces and --namespace exclude each other: give one of them")
		}
		a.ran = true
		return nil
	}
	return c
}

// group makes a command one of several below it.
func (a *app) group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.AddCommand(below...)
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	for _, b := range below {
		c.Annotations[commandsBelow] += b.Name() + " " // cobra sorts its own list
		c.Long += fmt.Sprintf("  %-9s %s\n", b.Name(), b.Short)
	}
	c.Args = needsCommand
	c.RunE = needsCommand
	return c
}

// needsCommand refuses the arguments of a command that only has others below it.
func needsCommand(c *cobra.Command, args []string) error {
	var names []string
	for name := range strings.FieldsSeq(c.Annotations[commandsBelow]) {
		names = append(names, below(c, name))
	}
	commands := strings.Join(names, ", ")
	if len(args) == 0 {
		return fmt.Errorf("%s needs a command: %s", c.Name(), commands)
	}
	return fmt.Errorf("there is no command %q; commands are: %s", below(c, args[0]), commands)
}

// below returns how a command below c is called.
func below(c *cobra.Command, name string) string {
	return strings.TrimPrefix(c.CommandPath()+" "+name, "kubectl claimdir ")
}

// oneName refuses more than one argument, and one that is neither NAMESPACE nor NAMESPACE/CLAIM.
func oneName(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("arguments %q: only one is allowed, NAMESPACE or NAMESPACE/CLAIM", args)
	}
	return claims(args, "NAMESPACE and NAMESPACE/CLAIM")
}

// noArguments refuses all arguments.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// tableOrJSON adds the flag for the format of a table that the plugin itself prints.
func tableOrJSON(format *string) *pflag.FlagSet {
	f := newSection("Output")
	f.StringVarP(format, "output", "o", "table", "table or json; on a terminal a table cuts long names, json has them whole")
	return f
}

func checkOutput(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("--output %q: allowed are table and json", format)
	}
	return nil
}
