package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/output"
	"claimdir/provisioner/recovery"
)

const recoverHead = `claimdir recover prints the PersistentVolumes and claims of all volumes on the share, from their records.
Apply them to a new cluster to get the volumes of a lost cluster back:

    claimdir recover | kubectl apply -f -

It needs no cluster and changes nothing.

Usage: claimdir recover [flags]
`

const recoverTail = `
Exit codes: 0 all volumes printed; 1 failed, or some were left out (standard error names them and the
reason); 2 wrong configuration.
`

// recoverOptions are those of claimdir recover.
type recoverOptions struct{ options }

func recoverCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "recover", Short: "print the volumes and claims on the share, to create them in a new cluster",
		Long: recoverHead, Annotations: endsWith(recoverTail),
	}
	return p.command(c, &recoverOptions{newOptions()})
}

func (o *recoverOptions) flags() []*pflag.FlagSet {
	f := section("Provisioner")
	o.addName(f)
	return []*pflag.FlagSet{withVariables(f), o.shareFlags()}
}

func (o *recoverOptions) complete(args []string) []error {
	return slices.Concat(unexpected(args), o.checkNames(), o.checkShares())
}

// run prints the volumes whose records can be read, and reports all others.
func (o *recoverOptions) run(_ context.Context, std streams) error {
	mounts, err := findShares(o.options)
	if err != nil {
		return err
	}
	opened, closed := openShares(mounts)
	if len(opened) == 0 {
		return errors.Join(closed...)
	}
	var shares []recovery.Share
	for _, s := range opened {
		shares = append(shares, recovery.Share{Name: s.Name, Source: s.Source, Records: s.records, Dirs: s.dirs})
	}
	out := bufio.NewWriter(std.out)
	leftOut, err := recovery.Print(out, shares, len(closed) > 0, o.provisionerName)
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	leftOut = append(closed, leftOut...)
	for _, reason := range leftOut {
		fmt.Fprintln(std.err, "claimdir:", output.Line(reason))
	}
	if len(leftOut) > 0 {
		return fmt.Errorf("%d records or shares were left out; all others were printed", len(leftOut))
	}
	return nil
}
