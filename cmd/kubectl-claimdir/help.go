package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpColumns is the width of the printed flags.
const helpColumns = 100

// Annotations of flags and of commands.
const (
	inSection     = "section"    // the section of the help that lists a flag
	forwarded     = "forwarded"  // the program in the pod gets the flag
	exitCodes     = "exit codes" // the end of a command's help
	commandsBelow = "commands"   // the names of the commands below a command
)

const helpGlobal = `
kubectl claimdir --help lists the flags of all commands, such as --namespace and --context.
`

// newSection makes an empty set of flags, which the help prints below title.
func newSection(title string) *pflag.FlagSet {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

// addSections adds flags to a command.
func addSections(c *cobra.Command, sections ...*pflag.FlagSet) {
	c.Flags().SortFlags = false
	for _, s := range sections {
		s.VisitAll(func(f *pflag.Flag) { annotate(f, inSection, s.Name()) })
		c.Flags().AddFlagSet(s)
	}
}

// persistent adds flags to a command and all below it.
func persistent(c *cobra.Command, sections ...*pflag.FlagSet) {
	c.PersistentFlags().SortFlags = false
	for _, s := range sections {
		s.VisitAll(func(f *pflag.Flag) {
			if annotation(f, inSection) == "" {
				annotate(f, inSection, s.Name())
			}
		})
		c.PersistentFlags().AddFlagSet(s)
	}
}

// forPod says that the program in the pod gets the flags of a section.
func forPod(s *pflag.FlagSet) *pflag.FlagSet {
	s.VisitAll(func(f *pflag.Flag) { annotate(f, forwarded, "true") })
	return s
}

func annotate(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

// annotation returns an empty string if the flag has no such annotation.
func annotation(f *pflag.Flag, key string) string { return strings.Join(f.Annotations[key], "") }

// helpText is what --help prints for a command: its own flags, and those of all commands only for the root.
func helpText(c *cobra.Command) string {
	flags, others := c.Flags(), c.InheritedFlags()
	if !c.HasParent() {
		flags = c.PersistentFlags()
	}
	var titles []string
	sections := map[string]*pflag.FlagSet{}
	flags.VisitAll(func(f *pflag.Flag) {
		title := annotation(f, inSection)
		if title == "" || others.Lookup(f.Name) != nil { // cobra's --help, and what the root lists
			return
		}
		if sections[title] == nil {
			titles = append(titles, title)
			sections[title] = newSection(title)
		}
		sections[title].AddFlag(f)
	})
	var b strings.Builder
	b.WriteString(c.Long)
	for _, title := range titles {
		fmt.Fprintf(&b, "\n%s:\n%s", title, sections[title].FlagUsagesWrapped(helpColumns))
	}
	if c.HasParent() {
		b.WriteString(helpGlobal)
	}
	b.WriteString(c.Annotations[exitCodes])
	return b.String()
}
