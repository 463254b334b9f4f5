package main

import (
	"fmt"
	"strings"
)

const helpHead = `claimdir gives every PersistentVolumeClaim whose StorageClass names it a directory
of its own on an NFS share, and deletes, archives or keeps the directory when the
claim is released.

Usage: claimdir [flags]            run the controller
       claimdir COMMAND [flags]    do one thing and stop

Commands; each has a --help of its own:
`

const helpFlags = `
A flag can be given as the environment variable that stands behind it, if one does; the flag
wins over its variable, an empty variable counts as not set.
`

const helpTail = `
Exit codes: 0 stopped, 1 failed, 2 wrong configuration.
`

// helpText is what --help prints for a command.
func helpText(c command) string {
	o := newOptions()
	groups, _ := define(&o)
	var b strings.Builder
	b.WriteString(c.head)
	for _, below := range c.commands {
		fmt.Fprintf(&b, "  %-9s %s\n", below.name[strings.LastIndexByte(below.name, ' ')+1:], below.summary)
	}
	if c.name == "" || len(c.flags) > 0 {
		b.WriteString(helpFlags)
	}
	for _, g := range groups {
		if flags := c.only(g.flags); flags.HasFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", g.title, flags.FlagUsagesWrapped(100))
		}
	}
	b.WriteString(c.tail)
	return b.String()
}
