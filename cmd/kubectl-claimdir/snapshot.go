package main

import (
	"errors"

	"github.com/spf13/cobra"
)

const snapshotHead = `kubectl claimdir snapshot lists the snapshots on the shares, and removes those that nothing in the cluster names
any more.

Usage: kubectl claimdir snapshot COMMAND [flags]

Commands (each has its own --help):
`

func (a *app) snapshotCommand() *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "list and remove snapshots", Long: snapshotHead}
	return a.group(c, a.snapshotListCommand(), a.snapshotPurgeCommand())
}

const snapshotListHead = `kubectl claimdir snapshot list lists the snapshots on the shares: those of all claims, of the claims of one
namespace, or of one claim.

It changes nothing. SIZE is the size of the claim, HOLDS what was copied. STATE is "whole" if the copy is
complete and something in the cluster names it, and "kept" if nothing does any more. The JSON has the handle
by which a VolumeSnapshotContent can name a kept snapshot again. PATH is where the data is, for an
administrator who needs a single file.

Usage: kubectl claimdir snapshot list [NAMESPACE[/CLAIM]] [flags]
`

func (a *app) snapshotListCommand() *cobra.Command {
	return a.forward(&cobra.Command{
		Use: "list", Short: "list the snapshots on the shares", Long: snapshotListHead, Args: oneName,
		ValidArgsFunction: a.completeInPod("snapshot", "list"),
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 all snapshots listed; 1 failed, or some could not be read (standard error names them and
the reason; the others are listed); 2 wrong configuration.
`},
	}, nil, podOutput())
}

const snapshotPurgeHead = `kubectl claimdir snapshot purge moves snapshots that nothing in the cluster names any more into the trash. The
controller then removes them for good. The command lists the snapshots and asks before it moves them:

    kubectl claimdir snapshot purge team/data

Choose snapshots by any number of claims (NAMESPACE/CLAIM), namespaces and VolumeSnapshotContents, or
with --all. --older-than restricts the choice to old ones. If several clusters have snapshots on the
shares, --cluster is required.

Only snapshots in the state "kept" are moved: those whose VolumeSnapshotContent was deleted with the
deletionPolicy Retain. To remove another one, delete its VolumeSnapshot. --force moves those of a
cluster that is lost, too.

Usage: kubectl claimdir snapshot purge NAMESPACE/CLAIM | NAMESPACE | CONTENT-NAME ... | --all [flags]
`

func (a *app) snapshotPurgeCommand() *cobra.Command {
	f, acting := newSection("Snapshots"), newSection("Acting")
	f.String("cluster", "",
		"only snapshots of this `cluster`, given as the UID of its namespace kube-system; required if several clusters have snapshots on the shares")
	all := f.Bool("all", false, "all kept snapshots")
	f.Var(new(durationText), "older-than", "only snapshots that were made longer ago than this, such as 30d")
	yes := acting.Bool("yes", false, "do not ask; answer every question with yes")
	acting.Bool("force", false, "move snapshots also if a VolumeSnapshotContent may name them")
	c := &cobra.Command{
		Use: "purge", Short: "move kept snapshots into the trash", Long: snapshotPurgeHead,
		ValidArgsFunction: a.completeInPod("snapshot", "list"),
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 snapshots moved, nothing to move, or the answer was no; 1 failed, no snapshot has that
name, some could not be read or moved, or stdin is not a terminal and --yes is missing; 2 wrong
configuration.
`},
	}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 && !*all {
			return errors.New("choose snapshots: NAMESPACE/CLAIM, NAMESPACE, the name of a VolumeSnapshotContent, or --all")
		}
		return claims(args, "NAMESPACE/CLAIM, NAMESPACE and the name of a VolumeSnapshotContent")
	}
	return a.forward(c, func() bool { return !*yes }, f, acting)
}
