package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpColumns is the width of the printed flags.
const helpColumns = 100

const helpVariables = `
A flag can also be set by the environment variable in parentheses behind it. The flag overrides the
variable; an empty variable counts as not set.
`

// exitCodes is the annotation of a command that holds the end of its help.
const exitCodes = "exit codes"

// endsWith makes text the end of a command's help.
func endsWith(text string) map[string]string { return map[string]string{exitCodes: text} }

// helpText is what --help prints for a command.
func helpText(c *cobra.Command) string {
	var titles []string
	sections := map[string]*pflag.FlagSet{}
	variables := ""
	c.Flags().VisitAll(func(f *pflag.Flag) {
		title := annotation(f, inSection)
		if sections[title] == nil {
			titles = append(titles, title)
			sections[title] = section(title)
		}
		sections[title].AddFlag(f)
		if annotation(f, ofVariable) != "" {
			variables = helpVariables
		}
	})
	var b strings.Builder
	b.WriteString(c.Long)
	b.WriteString(variables)
	for _, title := range titles {
		fmt.Fprintf(&b, "\n%s:\n%s", title, sections[title].FlagUsagesWrapped(helpColumns))
	}
	b.WriteString(c.Annotations[exitCodes])
	return b.String()
}
