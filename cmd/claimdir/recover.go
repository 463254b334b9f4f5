package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/output"
	"claimdir/provisioner/recovery"
	"claimdir/provisioner/share"
)

const recoverHead = `claimdir recover prints the PersistentVolumes and claims of the volumes on the share, from their records.
Apply them to a new cluster to get the volumes of a lost cluster back:

    claimdir recover > volumes.yaml
    kubectl apply -f volumes.yaml

It changes nothing. It asks the cluster, and leaves out the volumes that are Bound there. Without a
kubeconfig, outside a pod, it prints all volumes and says so.

With --readdress it prints something else: a shell script for a share whose server or path has changed. The
script gives the PersistentVolumes of the share its new address:

    claimdir recover --readdress > readdress.sh
    sh readdress.sh

With --snapshots it prints the VolumeSnapshots and VolumeSnapshotContents of the snapshots on the share. Apply
them after the volumes, to a cluster that serves the snapshot API:

    claimdir recover --snapshots > snapshots.yaml
    kubectl apply -f snapshots.yaml

Usage: claimdir recover [flags]
`

const recoverTail = `
Exit codes: 0 all printed, except volumes that are Bound in the cluster; 1 failed, or others were left out
(standard error names them and the reason); 2 wrong configuration.
`

// recoverOptions are those of claimdir recover.
type recoverOptions struct {
	options

	includeBound bool
	readdress    bool
	snapshots    bool
}

func recoverCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "recover", Short: "print what creates the volumes on the share in a new cluster, or gives them a new address",
		Long: recoverHead, Annotations: endsWith(recoverTail),
	}
	return p.command(c, &recoverOptions{options: newOptions()})
}

// flags gives no environment variables to the flags that choose what is printed, as archive purge
// does not.
func (o *recoverOptions) flags() []*pflag.FlagSet {
	names, cluster, volumes := section("Provisioner"), section("Cluster"), section("Volumes")
	o.addName(names)
	o.addMoreNames(names)
	o.addKubeconfig(cluster)
	volumes.BoolVar(&o.includeBound, "include-bound", false, "print also the volumes that are Bound in the cluster, or the snapshots that it has, such as for a backup; asks no cluster")
	volumes.BoolVar(&o.readdress, "readdress", false, "print a script that gives the share's PersistentVolumes the new address of the share")
	volumes.BoolVar(&o.snapshots, "snapshots", false, "print the VolumeSnapshots of the snapshots on the share instead")
	return []*pflag.FlagSet{withVariables(names), o.shareFlags(), withVariables(cluster), volumes}
}

func (o *recoverOptions) complete(args []string) []error {
	problems := slices.Concat(unexpected(args), o.checkNames(), o.checkShares())
	if o.readdress && (o.includeBound || o.snapshots) {
		problems = append(problems, errors.New("--readdress excludes --include-bound and --snapshots: give it alone"))
	}
	return problems
}

// run prints the volumes whose records can be read, and reports all others.
func (o *recoverOptions) run(ctx context.Context, std streams) error {
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
	var leftOut []error
	switch {
	case o.readdress:
		leftOut, err = o.printScript(ctx, out, mounts, shares, std)
	case o.snapshots:
		leftOut, err = o.printSnapshots(ctx, out, opened, std)
	default:
		leftOut, err = o.printVolumes(ctx, out, shares, len(closed) > 0, std)
		remarkSnapshots(opened, std)
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	leftOut = append(closed, leftOut...)
	for _, reason := range leftOut {
		fmt.Fprintln(std.err, "claimdir:", output.Line(reason))
	}
	if len(leftOut) > 0 {
		return fmt.Errorf("records or shares that were left out: %d; all others were printed", len(leftOut))
	}
	return nil
}

// maxNamed is how many of the volumes that need no recovery are named.
const maxNamed = 10

// printVolumes prints the manifests of all volumes that the cluster does not have.
func (o *recoverOptions) printVolumes(ctx context.Context, out io.Writer, shares []recovery.Share, partial bool, std streams) ([]error, error) {
	asked := recovery.Options{Provisioner: o.provisionerName, Partial: partial}
	switch client, notAsked, err := o.client(); {
	case o.includeBound:
		asked.NotAsked = "--include-bound was given"
	case err != nil:
		return nil, fmt.Errorf("%w; --include-bound prints all volumes without asking the cluster", err)
	case client == nil:
		asked.NotAsked = notAsked
		fmt.Fprintf(std.err, "claimdir: no cluster was asked which of the volumes it has already: %s\n", notAsked)
	default:
		if asked.Here, err = (cluster.Live{Client: client}).Volumes(ctx); err != nil {
			return nil, fmt.Errorf("ask the cluster which volumes it has: %w; --include-bound prints all volumes without asking it", err)
		}
	}
	left, err := recovery.Print(out, shares, asked)
	if n := len(left.Bound); n > 0 && err == nil {
		more := ""
		if n > maxNamed {
			more = ", …"
		}
		fmt.Fprintf(std.err, "claimdir: left out %s, Bound in this cluster and in no need of recovery: %s%s; --include-bound prints all\n",
			output.Count(n, "volume"), output.Cell(strings.Join(left.Bound[:min(n, maxNamed)], ", ")), more)
	}
	return left.Problems, err
}

// printScript prints the script for the volumes that name an earlier address of their share.
func (o *recoverOptions) printScript(ctx context.Context, out io.Writer, mounts []share.Mount, shares []recovery.Share, std streams) (leftOut []error, err error) {
	client, notAsked, err := o.client()
	if err == nil && client == nil {
		err = fmt.Errorf("--readdress needs the cluster: %s", notAsked)
	}
	if err != nil {
		return nil, err
	}
	c := recovery.Cluster{Names: o.names()}
	for _, mount := range mounts {
		c.Served = append(c.Served, mount.Source)
	}
	if c.ID, err = clusterID(ctx, client); err != nil {
		return nil, err
	}
	if c.Volumes, err = (cluster.Live{Client: client}).Volumes(ctx); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	n, leftOut, err := recovery.Readdress(out, shares, c)
	if n == 0 && err == nil {
		fmt.Fprintln(std.err, "claimdir: no record on the share is of a PersistentVolume that names an earlier address; the script does nothing")
	}
	return leftOut, err
}

// client returns a client of the cluster. Without one, in a place that has neither a kubeconfig nor a
// ServiceAccount, it says so.
func (o *recoverOptions) client() (client kubernetes.Interface, none string, err error) {
	if o.findKubeconfig() {
		if _, err := os.Stat(o.kubeconfig); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Sprintf("this is no pod, KUBECONFIG is not set, and there is no file %s", o.kubeconfig), nil
		}
	}
	clients, err := connect(o.options, nil)
	return clients.Main, "", err
}
