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

const snapshotHead = `claimdir snapshot lists the snapshots on the shares, and removes those that nothing in the cluster names
any more.

Usage: claimdir snapshot COMMAND [flags]

Commands (each has its own --help):
`

// snapshotOnly is the command snapshot called without a subcommand.
type snapshotOnly struct{ c *cobra.Command }

func snapshotCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "list and remove snapshots", Long: snapshotHead}
	return p.command(c, snapshotOnly{c}, snapshotListCommand(p), snapshotPurgeCommand(p))
}

func (snapshotOnly) flags() []*pflag.FlagSet { return nil }

func (snapshotOnly) complete(args []string) []error { return unexpected(args) }

func (a snapshotOnly) run(_ context.Context, std streams) error {
	fmt.Fprint(std.err, helpText(a.c))
	return &usageError{a.c.CommandPath(), []error{fmt.Errorf("snapshot needs a command: %s", namesBelow(a.c))}}
}

const snapshotListHead = `claimdir snapshot list lists the snapshots on the shares: those of all claims, of the claims of one
namespace, or of one claim.

    kubectl -n claimdir exec deploy/claimdir -- /claimdir snapshot list

It needs no cluster and changes nothing. SIZE is the size of the claim, HOLDS what was copied. STATE is
"whole" if the copy is complete and something in the cluster names it, and "kept" if nothing does any
more. The JSON has the handle by which a VolumeSnapshotContent can name a kept snapshot again. PATH is
where the data is, for an administrator who needs a single file.

Usage: claimdir snapshot list [NAMESPACE[/CLAIM]] [flags]
`

const snapshotListTail = `
Exit codes: 0 all snapshots listed; 1 failed, or some could not be read (standard error names them and
the reason; the others are listed); 2 wrong configuration.
`

// snapshotListOptions are those of claimdir snapshot list.
type snapshotListOptions struct {
	options

	names  []string // a namespace or a claim; empty means all
	output string
}

func snapshotListCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the snapshots on the shares", Long: snapshotListHead, Annotations: endsWith(snapshotListTail)}
	return p.command(c, &snapshotListOptions{options: newOptions()})
}

func (o *snapshotListOptions) flags() []*pflag.FlagSet {
	return []*pflag.FlagSet{o.shareFlags(), outputFlags(&o.output)}
}

func (o *snapshotListOptions) complete(args []string) []error {
	o.names = args
	return slices.Concat(o.checkShares(), checkOutput(o.output), checkOneName(args))
}

func (o *snapshotListOptions) run(_ context.Context, std streams) error {
	found, incomplete, err := findSnapshots(o.options, std)
	if err != nil {
		return err
	}
	listed := found.Snapshots
	of := ""
	if len(o.names) > 0 {
		namespace, claim, _ := strings.Cut(o.names[0], "/")
		of = fmt.Sprintf(" of %q", o.names[0])
		listed = slices.DeleteFunc(listed, func(s archives.Snapshot) bool { return !s.Of(namespace, claim) })
	}
	if o.output == "json" {
		err = archives.WriteSnapshotsJSON(std.out, listed)
	} else if err = archives.WriteSnapshots(std.out, listed, found.Clusters, time.Now(), std.width); len(listed) == 0 {
		fmt.Fprintf(std.err, "No snapshots found%s.\n", of)
	}
	return errors.Join(err, incomplete)
}

// findSnapshots returns the snapshots on the shares. incomplete says that something could not be read; the details are printed already.
func findSnapshots(o options, std streams) (found archives.FoundSnapshots, incomplete, err error) {
	opened, closed, err := openAll(o)
	if err != nil {
		return found, nil, err
	}
	var shares []archives.Share
	for _, s := range opened {
		shares = append(shares, archives.Share{Name: s.Name, Store: s.store()})
	}
	found = archives.FindSnapshots(shares)
	return found, printUnread(std, append(closed, found.Unread...)), nil
}

const snapshotPurgeHead = `claimdir snapshot purge moves snapshots that nothing in the cluster names any more into the trash. The
controller then removes them for good. The command lists the snapshots and asks before it moves them:

    kubectl -n claimdir exec -it deploy/claimdir -- /claimdir snapshot purge team/data

Choose snapshots by any number of claims (NAMESPACE/CLAIM), namespaces and VolumeSnapshotContents, or
with --all. --older-than restricts the choice to old ones. If several clusters have snapshots on the
shares, --cluster is required.

Only snapshots in the state "kept" are moved: those whose VolumeSnapshotContent was deleted with the
deletionPolicy Retain. To remove another one, delete its VolumeSnapshot. --force moves those of a
cluster that is lost, too.

Usage: claimdir snapshot purge NAMESPACE/CLAIM | NAMESPACE | CONTENT-NAME ... | --all [flags]
`

const snapshotPurgeTail = `
Exit codes: 0 snapshots moved, nothing to move, or the answer was no; 1 failed, no snapshot has that
name, some could not be read or moved, or stdin is not a terminal and --yes is missing; 2 wrong
configuration.
`

// snapshotPurgeOptions are those of claimdir snapshot purge.
type snapshotPurgeOptions struct {
	options

	names      []string
	cluster    string
	all        bool
	olderThan  time.Duration
	yes, force bool
}

func snapshotPurgeCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "purge", Short: "move kept snapshots into the trash", Long: snapshotPurgeHead, Annotations: endsWith(snapshotPurgeTail)}
	return p.command(c, &snapshotPurgeOptions{options: newOptions()})
}

// flags gives no environment variables to the flags that choose: see purgeOptions.
func (o *snapshotPurgeOptions) flags() []*pflag.FlagSet {
	f, acting := section("Snapshots"), section("Acting")
	f.StringVar(&o.cluster, "cluster", "",
		"only snapshots of this `cluster`, given as the UID of its namespace kube-system; required if several clusters have snapshots on the shares")
	f.BoolVar(&o.all, "all", false, "all kept snapshots")
	durationVar(f, &o.olderThan, "older-than", "only snapshots that were made longer ago than this, such as 30d")
	acting.BoolVar(&o.yes, "yes", false, "do not ask; answer every question with yes")
	acting.BoolVar(&o.force, "force", false, "move snapshots also if a VolumeSnapshotContent may name them")
	return []*pflag.FlagSet{o.shareFlags(), f, acting}
}

func (o *snapshotPurgeOptions) complete(args []string) []error {
	o.names = args
	problems := o.checkShares()
	if len(args) == 0 && !o.all {
		problems = append(problems, errors.New("choose snapshots: NAMESPACE/CLAIM, NAMESPACE, the name of a VolumeSnapshotContent, or --all"))
	}
	if len(args) > 0 && o.all {
		problems = append(problems, fmt.Errorf("--all and the arguments %q exclude each other: give one of them", args))
	}
	problems = append(problems, checkArchiveNames(args, "NAMESPACE/CLAIM, NAMESPACE and the name of a VolumeSnapshotContent")...)
	if o.olderThan < 0 {
		problems = append(problems, fmt.Errorf("--older-than %s: must not be negative", o.olderThan))
	}
	return problems
}

// run takes no lease, because it is safe beside the controller: if both move a snapshot, the second finds it gone.
func (o *snapshotPurgeOptions) run(ctx context.Context, std streams) error {
	found, incomplete, err := findSnapshots(o.options, std)
	if err != nil {
		return err
	}
	if err := checkClusters(found.Clusters, o.cluster, "snapshots"); err != nil {
		return err
	}
	now := time.Now()
	selected, err := archives.SelectSnapshots(found.Snapshots, o.names, o.cluster, o.olderThan, now)
	if err != nil {
		return err
	}
	chosen := len(selected)
	if !o.force {
		selected = slices.DeleteFunc(selected, func(s archives.Snapshot) bool { return s.Kept == nil })
	}
	if left := chosen - len(selected); left > 0 {
		fmt.Fprintf(std.err, "claimdir: did not move %s named by something in the cluster; delete the VolumeSnapshot instead\n", output.Count(left, "snapshot"))
	}
	if len(selected) == 0 {
		fmt.Fprintln(std.err, "No snapshots to move.")
		return incomplete
	}
	const whole = 0 // no name is cut: the answer to the question depends on it
	if err := archives.WriteSnapshots(std.out, selected, found.Clusters, now, whole); err != nil {
		return err
	}
	if yes, err := confirmMove(ctx, std, o.yes, fmt.Sprintf("Move %s into the trash?", output.Count(len(selected), "snapshot"))); err != nil || !yes {
		return err
	}
	return errors.Join(o.discard(ctx, selected, std), incomplete)
}

// discard moves all snapshots it can, and reports those it cannot.
func (o *snapshotPurgeOptions) discard(ctx context.Context, selected []archives.Snapshot, std streams) error {
	return moveAll(ctx, selected, "snapshot", std, func(s archives.Snapshot) (gone string, err error) {
		if err = archives.DiscardSnapshot(ctx, s, o.force); errors.Is(err, steps.ErrNoTree) {
			return fmt.Sprintf("%s is already gone: it expired or was removed meanwhile", output.Cell(s.Content)), nil
		}
		return "", err
	})
}
