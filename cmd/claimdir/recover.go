package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/recovery"
	"claimdir/provisioner/share"
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

func printManifests(_ context.Context, o options, stdout, stderr io.Writer) error {
	mounts, err := findShares(o)
	if err != nil {
		return err
	}
	var shares []recovery.Share
	for _, mount := range mounts {
		dirs, err := share.Open(mount.Dir)
		if err != nil {
			return err
		}
		records, err := ledger.OpenReadOnly(dirs)
		if err != nil {
			return err
		}
		shares = append(shares, recovery.Share{Source: mount.Source, Records: records, Dirs: dirs})
	}
	out := bufio.NewWriter(stdout)
	leftOut, err := recovery.Print(out, shares, o.provisionerName)
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	for _, reason := range leftOut {
		fmt.Fprintln(stderr, "claimdir:", reason)
	}
	if len(leftOut) > 0 {
		return fmt.Errorf("%d records were left out; the rest is printed", len(leftOut))
	}
	return nil
}
