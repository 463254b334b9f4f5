package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

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
	var shares []recovery.Share
	for _, mount := range mounts {
		dirs, records, err := openShare(mount)
		if err != nil {
			return err
		}
		shares = append(shares, recovery.Share{Source: mount.Source, Records: records, Dirs: dirs})
	}
	out := bufio.NewWriter(std.out)
	leftOut, err := recovery.Print(out, shares, o.provisionerName)
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	for _, reason := range leftOut {
		fmt.Fprintln(std.err, "claimdir:", reason)
	}
	if len(leftOut) > 0 {
		return fmt.Errorf("%d records were left out; the rest is printed", len(leftOut))
	}
	return nil
}
