package main

import (
	"context"
	"fmt"
	"io"

	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/output"
	"claimdir/provisioner/recovery"
)

// printSnapshots prints the manifests of all snapshots that the cluster does not have.
func (o *recoverOptions) printSnapshots(ctx context.Context, out io.Writer, opened []openedShare, std streams) ([]error, error) {
	asked := recovery.SnapshotOptions{Provisioner: o.provisionerName}
	switch client, notAsked, err := o.client(); {
	case o.includeBound:
		asked.NotAsked = "--include-bound was given"
	case err != nil:
		return nil, fmt.Errorf("%w; --include-bound prints all snapshots without asking the cluster", err)
	case client == nil:
		asked.NotAsked = notAsked
		fmt.Fprintf(std.err, "claimdir: no cluster was asked which of the snapshots it has already: %s\n", notAsked)
	default:
		if err := o.askSnapshots(ctx, client, &asked); err != nil {
			return nil, fmt.Errorf("ask the cluster which snapshots it has: %w; --include-bound prints all snapshots without asking it", err)
		}
	}
	var shares []recovery.SnapshotShare
	for _, s := range opened {
		shares = append(shares, recovery.SnapshotShare{Name: s.Name, Store: s.store()})
	}
	left, err := recovery.PrintSnapshots(out, shares, asked)
	if left.Here > 0 && err == nil {
		fmt.Fprintf(std.err, "claimdir: left out %s with a VolumeSnapshotContent in this cluster; --include-bound prints all\n", output.Count(left.Here, "snapshot"))
	}
	if left.Kept > 0 && err == nil {
		fmt.Fprintf(std.err, "claimdir: left out %s, kept although nothing in the cluster of origin named it; claimdir snapshot list shows all\n", output.Count(left.Kept, "snapshot"))
	}
	return left.Problems, err
}

// askSnapshots asks the cluster who it is, and which VolumeSnapshotContents it has.
func (o *recoverOptions) askSnapshots(ctx context.Context, client kubernetes.Interface, asked *recovery.SnapshotOptions) (err error) {
	if asked.Cluster, err = clusterID(ctx, client); err != nil {
		return err
	}
	all, err := allContents(ctx, o.options)
	for i := range all {
		asked.Here = append(asked.Here, all[i].Name)
	}
	return err
}

// remarkSnapshots says that there are snapshots too. What cannot be read, --snapshots reports.
func remarkSnapshots(opened []openedShare, std streams) {
	n := 0
	for _, s := range opened {
		for r, err := range s.records.Snapshots() {
			if err == nil && r.Whole() && !r.Kept() {
				n++
			}
		}
	}
	if n > 0 {
		fmt.Fprintf(std.err, "claimdir: the shares have %s, too: claimdir recover --snapshots prints the objects\n", output.Count(n, "snapshot"))
	}
}
