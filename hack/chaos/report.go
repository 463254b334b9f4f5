package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"claimdir/hack/chaos/check"
)

// line is the counts on one line.
func (c *counts) line() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var faults, steps int
	for what, n := range c.of {
		if strings.HasPrefix(what, "step that") || strings.HasPrefix(what, "restored for") {
			continue
		}
		if strings.HasPrefix(what, "step: ") {
			steps += n
		} else if !strings.Contains(what, "claim") && what != "restores" && what != "hand-overs" && what != "adoptions" {
			faults += n
		}
	}
	return fmt.Sprintf("claims made %d, used %d, released %d, abandoned %d, restores %d, hand-overs %d; faults %d, of them killed at a step %d",
		c.of[claimsMade], c.of["claims used"], c.of["claims released"], c.of["claims abandoned"], c.of["restores"], c.of["hand-overs"], faults, steps)
}

// table prints all counts and violations.
func (c *counts) table(out io.Writer, violations []check.Violation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, what := range slices.Sorted(maps.Keys(c.of)) {
		fmt.Fprintf(table, "%s\t%d\n", what, c.of[what])
	}
	fmt.Fprintf(table, "violations\t%d\n", len(violations))
	_ = table.Flush() // to a terminal
	for _, v := range violations {
		fmt.Fprintln(out, "VIOLATION:", v)
	}
}
