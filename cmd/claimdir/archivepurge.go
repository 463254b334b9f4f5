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

	"claimdir/provisioner/archives"
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

A directory without a record is never moved.

Usage: claimdir archive purge NAMESPACE/CLAIM | NAMESPACE | PV-NAME ... | --all | --ended [flags]
`

const archivePurgeTail = `
Exit codes: 0 archives moved, nothing to move, or the answer was no; 1 failed, no archive has that name,
some could not be read or moved, or stdin is not a terminal and --yes is missing; 2 wrong
configuration.
`

// purgeOptions are those of claimdir archive purge.
type purgeOptions struct {
	options

	names        []string
	cluster      string
	all, expired bool
	retained     bool
	olderThan    time.Duration
	yes          bool
}

func archivePurgeCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "purge", Short: "move archives into the trash", Long: archivePurgeHead, Annotations: endsWith(archivePurgeTail)}
	return p.command(c, &purgeOptions{options: newOptions()})
}

// flags gives no environment variables to the flags that choose archives: a variable that
// somebody set long ago must not decide what is purged.
func (o *purgeOptions) flags() []*pflag.FlagSet {
	f, acting := section("Archives"), section("Acting")
	f.StringVar(&o.cluster, "cluster", "",
		"only archives of this `cluster`, given as the UID of its namespace kube-system; required if several clusters have records on the shares")
	f.BoolVar(&o.all, "all", false, "all archives with a record")
	f.BoolVar(&o.expired, "ended", false, "only archives that have expired")
	f.BoolVar(&o.retained, "retained", false, "retained directories instead of archives")
	f.DurationVar(&o.olderThan, "older-than", 0, "only archives of volumes that were released longer ago than this, such as 720h")
	acting.BoolVar(&o.yes, "yes", false, "do not ask; answer every question with yes")
	return []*pflag.FlagSet{o.shareFlags(), f, acting}
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
		fmt.Fprintf(std.err, "No %s to move.\n", kind(o.retained))
		return found.incomplete
	}
	if err := archives.WriteTable(std.out, selected, found.Found, now); err != nil {
		return err
	}
	if !o.yes {
		if yes, err := newAsker(std).ask(ctx, fmt.Sprintf("Move %s into the trash?", these(len(selected), o.retained))); err != nil {
			return fmt.Errorf("nothing was moved: %w", err)
		} else if !yes {
			fmt.Fprintln(std.err, "Nothing was moved.")
			return nil
		}
	}
	return errors.Join(discardAll(ctx, selected, kind(o.retained), std), found.incomplete)
}

// checkCluster requires --cluster if several clusters have records on the shares: a
// PersistentVolume of another cluster may use an archive that seems unused here.
func checkCluster(found archives.Found, cluster string) error {
	switch {
	case cluster == "" && len(found.Clusters) > 1:
		return fmt.Errorf("several clusters have records on the shares: choose one with --cluster, of %s", strings.Join(found.Clusters, ", "))
	case cluster != "" && len(found.Clusters) > 0 && !slices.Contains(found.Clusters, cluster):
		return fmt.Errorf("--cluster %q has no records on the shares; these have: %s", cluster, strings.Join(found.Clusters, ", "))
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
		fmt.Fprintf(std.err, "claimdir: %d archives have no record and were not moved; remove them by hand if they are not needed\n", left)
	}
}

func these(n int, retained bool) string {
	switch {
	case n > 1:
		return fmt.Sprintf("these %d %s", n, kind(retained))
	case retained:
		return "this retained directory"
	}
	return "this archive"
}

// kind returns what a command is about, in plural.
func kind(retained bool) string {
	if retained {
		return "retained directories"
	}
	return "archives"
}

// discardAll moves all archives it can, and reports those it cannot.
func discardAll(ctx context.Context, selected []archives.Archive, kind string, std streams) error {
	moved, failed := 0, 0
	for _, a := range selected {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopped after %d of %d %s: %w", moved, len(selected), kind, err)
		}
		switch err := archives.Discard(ctx, a); {
		case errors.Is(err, steps.ErrNoArchive):
			fmt.Fprintf(std.err, "claimdir: %s is already gone: it was restored, expired or removed meanwhile\n", output.Cell(a.Path))
		case err != nil:
			failed++
			fmt.Fprintln(std.err, "claimdir:", output.Line(err))
		default:
			moved++
		}
	}
	fmt.Fprintf(std.out, "Moved %d of %d %s into the trash, which the controller empties.\n", moved, len(selected), kind)
	if failed > 0 {
		return fmt.Errorf("%d %s could not be moved", failed, kind)
	}
	return nil
}
