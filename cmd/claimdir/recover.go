package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"claimdir/provisioner/output"
	"claimdir/provisioner/recovery"
)

const recoverHead = `claimdir recover prints the PersistentVolumes and claims of every volume on the share,
from the records there, so that a new cluster gets the data of a lost one:

    claimdir recover | kubectl apply -f -

It needs no cluster and changes nothing.

Usage: claimdir recover [flags]
`

const recoverTail = `
Exit codes: 0 all printed, 1 some were left out (standard error says which, and why) or
it failed, 2 wrong configuration.
`

func recoverCommand() command {
	return command{
		name: "recover", summary: "print the volumes and claims of the share, for a new cluster",
		head: recoverHead, tail: recoverTail,
		flags: []string{"provisioner-name", "mount-path", "nfs-server", "nfs-path"},
		run:   printManifests,
	}
}

func printManifests(_ context.Context, o options, std streams) error {
	mounts, err := findShares(o)
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
		return fmt.Errorf("%d records or shares were left out; the rest is printed", len(leftOut))
	}
	return nil
}
