package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/usage"
)

const usageHead = `claimdir usage lists how much the volumes, archives and retained directories on the shares hold, the largest
first: those of all claims, of the claims of one namespace, or of one claim.

    kubectl -n claimdir exec deploy/claimdir -- /claimdir usage

It prints what the controller measured last, if USAGE_INTERVAL is set in the Deployment, such as 6h. USED is
what is taken on the server's disk, as du(1) counts it; >= says that a part was not counted. Where the server
itself enforces a size for a volume, it is asked for the figure. The command needs no cluster and changes
nothing.

Usage: claimdir usage [NAMESPACE[/CLAIM]] [flags]
`

const usageTail = `
Exit codes: 0 all listed; 1 failed, or something could not be read (standard error says what; the rest is
listed); 2 wrong configuration.
`

// usageOptions are those of claimdir usage.
type usageOptions struct {
	options

	names  []string // a namespace or a claim; empty means all
	output string
}

func usageCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "usage", Short: "list how much volumes, archives and snapshots hold", Long: usageHead, Annotations: endsWith(usageTail)}
	return p.command(c, &usageOptions{options: newOptions()})
}

func (o *usageOptions) flags() []*pflag.FlagSet {
	return []*pflag.FlagSet{o.shareFlags(), outputFlags(&o.output)}
}

func (o *usageOptions) complete(args []string) []error {
	o.names = args
	return slices.Concat(o.checkShares(), checkOutput(o.output), checkOneName(args))
}

func (o *usageOptions) run(_ context.Context, std streams) error {
	opened, closed, err := openAll(o.options)
	if err != nil {
		return err
	}
	var shares []usage.Share
	for _, s := range opened {
		shares = append(shares, usage.Share{Name: s.Name, Store: s.store()})
	}
	now := time.Now()
	var of usage.Of
	if len(o.names) > 0 {
		of.Namespace, of.Claim, _ = strings.Cut(o.names[0], "/")
	}
	report := usage.Find(shares, of, now)
	if o.output == "json" {
		err = usage.WriteJSON(std.out, report)
	} else if err = usage.WriteTable(std.out, report, now, std.width); len(report.Directories) == 0 && len(o.names) > 0 {
		fmt.Fprintf(std.err, "No volume, archive or retained directory found of %q.\n", o.names[0])
	}
	return errors.Join(err, printUnread(std, slices.Concat(closed, report.Unread)))
}
