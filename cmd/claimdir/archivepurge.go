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
	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/archives"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/output"
	"claimdir/provisioner/steps"
)

const archivePurgeHead = `claimdir archive purge moves archives into the trash. The controller then removes them for good. The
command lists the archives and asks before it moves them:

    kubectl -n claimdir exec -it deploy/claimdir -- /claimdir archive purge team/data

Choose archives by any number of claims (NAMESPACE/CLAIM), namespaces and volumes (names of
PersistentVolumes), or with --all or --ended. --ended also restricts the other choices to expired
archives, and --older-than to old ones. If several clusters have records on the shares, --cluster is
required. With --retained it moves directories that released volumes with the policy retain have left at
their paths instead. The UID of this cluster is

    kubectl get namespace kube-system -o jsonpath={.metadata.uid}

A directory without a record is never moved. An archive of this cluster is not moved if its
PersistentVolume exists again, restored from a backup of the cluster: the archive may be all the data
that it has, and claimdir doctor --fix puts it back. Nor is it moved while a claim is to be a copy of it
(claimdir/restore-copy) and is not bound. So the command asks the cluster, and moves nothing if the
cluster does not answer. --force moves archives without asking.

Usage: claimdir archive purge NAMESPACE/CLAIM | NAMESPACE | PV-NAME ... | --all | --ended [flags]
`

const archivePurgeTail = `
Exit codes: 0 archives moved, nothing to move, or the answer was no; 1 failed, no archive has that name,
some could not be read or moved, the cluster did not answer, or stdin is not a terminal and --yes is
missing; 2 wrong configuration.
`

// purgeOptions are those of claimdir archive purge.
type purgeOptions struct {
	options

	names        []string
	cluster      string
	all, expired bool
	retained     bool
	olderThan    time.Duration
	yes, force   bool
}

func archivePurgeCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "purge", Short: "move archives into the trash", Long: archivePurgeHead, Annotations: endsWith(archivePurgeTail)}
	return p.command(c, &purgeOptions{options: newOptions()})
}

// flags gives no environment variables to the flags that choose archives: a variable that
// somebody set long ago must not decide what is purged.
func (o *purgeOptions) flags() []*pflag.FlagSet {
	f, inCluster, acting := section("Archives"), section("Cluster"), section("Acting")
	o.addKubeconfig(inCluster)
	f.StringVar(&o.cluster, "cluster", "",
		"only archives of this `cluster`, given as the UID of its namespace kube-system; required if several clusters have records on the shares")
	f.BoolVar(&o.all, "all", false, "all archives with a record")
	f.BoolVar(&o.expired, "ended", false, "only archives that have expired")
	f.BoolVar(&o.retained, "retained", false, "retained directories instead of archives")
	durationVar(f, &o.olderThan, "older-than", "only archives of volumes that were released longer ago than this, such as 30d")
	acting.BoolVar(&o.yes, "yes", false, "do not ask; answer every question with yes")
	acting.BoolVar(&o.force, "force", false, "move archives also if their PersistentVolumes exist again or claims are to be copies of them, without asking the cluster")
	return []*pflag.FlagSet{o.shareFlags(), withVariables(inCluster), f, acting}
}

func (o *purgeOptions) complete(args []string) []error {
	o.names = args
	problems := o.checkShares()
	if len(args) == 0 && !o.all && !o.expired {
		problems = append(problems, errors.New("choose archives: NAMESPACE/CLAIM, NAMESPACE, the name of a PersistentVolume, --all or --ended"))
	}
	if len(args) > 0 && o.all {
		problems = append(problems, fmt.Errorf("--all and the arguments %q exclude each other: give one of them", args))
	}
	problems = append(problems, checkArchiveNames(args, "NAMESPACE/CLAIM, NAMESPACE and the name of a PersistentVolume")...)
	if o.force && o.retained {
		problems = append(problems, errors.New("--force and --retained exclude each other: a retained directory whose PersistentVolume exists again is in use"))
	}
	if o.olderThan < 0 {
		problems = append(problems, fmt.Errorf("--older-than %s: must not be negative", o.olderThan))
	}
	return problems
}

// run takes no lease, because it is safe beside the controller: if both move an archive,
// the second finds it gone and reports that. Only the controller empties the trash.
func (o *purgeOptions) run(ctx context.Context, std streams) error {
	found, err := findArchives(o.options, std)
	if err != nil {
		return err
	}
	if err := checkCluster(found.Found, o.cluster); err != nil {
		return err
	}
	now := time.Now()
	selection := archives.Selection{Names: o.names, Cluster: o.cluster, Expired: o.expired, OlderThan: o.olderThan}
	selected, err := selection.Select(found.of(o.retained), now)
	if err != nil {
		return err
	}
	if o.all {
		remarkUnrecorded(found.of(o.retained), std)
	}
	if len(selected) == 0 {
		fmt.Fprintf(std.err, "No %s to move.\n", output.Plural(kind(o.retained)))
		return found.incomplete
	}
	ask, err := o.ask(ctx)
	if err != nil {
		return fmt.Errorf("nothing was moved: %w", err)
	}
	const whole = 0 // no name is cut: the answer to the question depends on it
	if err := archives.WriteTable(std.out, selected, found.Found, now, whole); err != nil {
		return err
	}
	if yes, err := confirmMove(ctx, std, o.yes, fmt.Sprintf("Move %s into the trash?", these(len(selected), o.retained))); err != nil || !yes {
		return err
	}
	return errors.Join(discardAll(ctx, selected, ask, kind(o.retained), std), found.incomplete)
}

// ask returns the cluster to ask before each move, or the zero Cluster with --force.
func (o *purgeOptions) ask(ctx context.Context) (archives.Cluster, error) {
	if o.force {
		return archives.Cluster{}, nil
	}
	clients, err := connectCommand(o.options)
	id := ""
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		id, err = clusterID(ctx, clients.Main)
	}
	wayOut := " (--force does not ask)"
	if o.retained {
		wayOut = ""
	}
	if err != nil {
		return archives.Cluster{}, fmt.Errorf("the cluster must say whether PersistentVolumes exist again%s: %w", wayOut, err)
	}
	live := cluster.Live{Client: clients.Main}
	return archives.Cluster{ID: id, Volume: live.Volume, Copies: remembered(live.ArchiveCopies)}, nil
}

// rememberedFor is how long what the claims of a namespace say is not asked again.
const rememberedFor = 10 * time.Second

// remembered lets the claims of a namespace be listed once for all its archives that are moved in a moment.
func remembered(list func(ctx context.Context, namespace string) ([]*v1.PersistentVolumeClaim, error)) func(ctx context.Context, namespace string) ([]*v1.PersistentVolumeClaim, error) {
	var of string
	var at time.Time
	var claims []*v1.PersistentVolumeClaim
	return func(ctx context.Context, namespace string) (_ []*v1.PersistentVolumeClaim, err error) {
		if namespace == of && time.Since(at) < rememberedFor {
			return claims, nil
		}
		of = ""
		began := time.Now()
		if claims, err = list(ctx, namespace); err != nil {
			return nil, err
		}
		of, at = namespace, began
		return claims, nil
	}
}

// askTimeout is how long the cluster has to say which one it is.
const askTimeout = 10 * time.Second

// checkCluster requires --cluster if several clusters have records on the shares: a
// PersistentVolume of another cluster may use an archive that seems unused here.
func checkCluster(found archives.Found, cluster string) error {
	return checkClusters(found.Clusters, cluster, "records")
}

// checkClusters is checkCluster for the clusters that have something on the shares.
func checkClusters(clusters []string, cluster, what string) error {
	switch {
	case cluster == "" && len(clusters) > 1:
		return fmt.Errorf("several clusters have %s on the shares: choose one with --cluster, of %s", what, strings.Join(clusters, ", "))
	case cluster != "" && len(clusters) > 0 && !slices.Contains(clusters, cluster):
		return fmt.Errorf("--cluster %q has no %s on the shares; these have: %s", cluster, what, strings.Join(clusters, ", "))
	}
	return nil
}

// remarkUnrecorded says how many archives --all does not move.
func remarkUnrecorded(all []archives.Archive, std streams) {
	left := 0
	for _, a := range all {
		if !a.Recorded() {
			left++
		}
	}
	if left > 0 {
		fmt.Fprintf(std.err, "claimdir: did not move %s without a record; remove by hand what is not needed\n", output.Count(left, "archive"))
	}
}

func these(n int, retained bool) string {
	if n == 1 {
		return "this " + kind(retained)
	}
	return "these " + output.Count(n, kind(retained))
}

// kind returns what a command is about, in singular.
func kind(retained bool) string {
	if retained {
		return "retained directory"
	}
	return "archive"
}

// discardAll moves all archives it can, and reports those it cannot.
func discardAll(ctx context.Context, selected []archives.Archive, ask archives.Cluster, kind string, std streams) error {
	return moveAll(ctx, selected, kind, std, func(a archives.Archive) (gone string, err error) {
		if err = archives.Discard(ctx, a, ask); errors.Is(err, steps.ErrNoArchive) {
			return fmt.Sprintf("%s is already gone: it was restored, expired or removed meanwhile", output.Cell(a.Path)), nil
		}
		return "", err
	})
}
