package main

import (
	"errors"

	"github.com/spf13/cobra"
)

const archiveHead = `kubectl claimdir archive lists, restores and removes archives: the directories that claimdir kept on the share
when volumes were released.

Usage: kubectl claimdir archive COMMAND [flags]

Commands (each has its own --help):
`

func (a *app) archiveCommand() *cobra.Command {
	c := &cobra.Command{Use: "archive", Short: "list, restore and remove archives", Long: archiveHead}
	return a.group(c, a.archiveListCommand(), a.archiveRestoreCommand(), a.archivePurgeCommand())
}

const archiveListHead = `kubectl claimdir archive list lists the archives on the shares: those of all claims, of the claims of one
namespace, or of one claim.

With --retained it lists the directories that released volumes with the policy retain have left at their
paths instead. It changes nothing. SIZE is the size of the claim. If several clusters have records on the
shares, CLUSTER shows the cluster of each archive. If a namespace was deleted and made anew, NAMESPACE UID
shows of which one an archive is. A directory that has the name of an archive and no record belongs to
another provisioner; only its path is shown.

Usage: kubectl claimdir archive list [NAMESPACE[/CLAIM]] [flags]
`

func (a *app) archiveListCommand() *cobra.Command {
	f := newSection("Archives")
	f.Bool("retained", false, "list retained directories instead of archives")
	return a.forward(&cobra.Command{
		Use: "list", Short: "list the archives on the shares", Long: archiveListHead, Args: oneName,
		ValidArgsFunction: a.completeInPod("archive", "list"),
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 all archives listed; 1 failed, or some could not be read (standard error names them and
the reason; the others are listed); 2 wrong configuration.
`},
	}, nil, f, podOutput())
}

const archivePurgeHead = `kubectl claimdir archive purge moves archives into the trash. The controller then removes them for good. The
command lists the archives and asks before it moves them:

    kubectl claimdir archive purge team/data

Choose archives by any number of claims (NAMESPACE/CLAIM), namespaces and volumes (names of
PersistentVolumes), or with --all or --ended. --ended also restricts the other choices to expired
archives, and --older-than to old ones. If several clusters have records on the shares, --cluster is
required. With --retained it moves directories that released volumes with the policy retain have left at
their paths instead. The UID of this cluster is

    kubectl get namespace kube-system -o jsonpath={.metadata.uid}

A directory without a record is never moved. An archive of this cluster is not moved if its
PersistentVolume exists again, restored from a backup of the cluster: the archive may be all the data
that it has, and kubectl claimdir doctor --fix puts it back. Nor is it moved while a claim is to be a copy
of it (claimdir/restore-copy) and is not bound. So the command asks the cluster, and moves nothing if the
cluster does not answer. --force moves archives without asking.

Usage: kubectl claimdir archive purge NAMESPACE/CLAIM | NAMESPACE | PV-NAME ... | --all | --ended [flags]
`

func (a *app) archivePurgeCommand() *cobra.Command {
	f, acting := newSection("Archives"), newSection("Acting")
	f.String("cluster", "",
		"only archives of this `cluster`, given as the UID of its namespace kube-system; required if several clusters have records on the shares")
	all := f.Bool("all", false, "all archives with a record")
	ended := f.Bool("ended", false, "only archives that have expired")
	f.Bool("retained", false, "retained directories instead of archives")
	f.Var(new(durationText), "older-than", "only archives of volumes that were released longer ago than this, such as 30d")
	yes := acting.Bool("yes", false, "do not ask; answer every question with yes")
	acting.Bool("force", false, "move archives also if their PersistentVolumes exist again or claims are to be copies of them, without asking the cluster")
	c := &cobra.Command{
		Use: "purge", Short: "move archives into the trash", Long: archivePurgeHead,
		ValidArgsFunction: a.completeInPod("archive", "list"),
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 archives moved, nothing to move, or the answer was no; 1 failed, no archive has that name,
some could not be read or moved, the cluster did not answer, or stdin is not a terminal and --yes is
missing; 2 wrong configuration.
`},
	}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 && !*all && !*ended {
			return errors.New("choose archives: NAMESPACE/CLAIM, NAMESPACE, the name of a PersistentVolume, --all or --ended")
		}
		return claims(args, "NAMESPACE/CLAIM, NAMESPACE and the name of a PersistentVolume")
	}
	return a.forward(c, func() bool { return !*yes }, f, acting)
}
