package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// readSnapshots adds the snapshots on a share to what doctor knows of it.
func readSnapshots(site *doctor.Site, dirs *share.Share, records *ledger.Ledger) error {
	site.ID = records.ID()
	for r, err := range records.Snapshots() {
		if err != nil {
			site.DamagedSnapshots = append(site.DamagedSnapshots, err)
			continue
		}
		tree, err := dirs.Snapshot(r.Own())
		if errors.Is(err, fs.ErrNotExist) { // it is moved there in a moment
			tree, err = dirs.Copied(r.Own())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		site.Snapshots = append(site.Snapshots, doctor.Snapshot{Snapshot: r, Tree: tree})
	}
	return nil
}

// contentsOf returns the VolumeSnapshotContents of ours, and none if the cluster does not serve them or does not let claimdir read them.
func contentsOf(ctx context.Context, o options) ([]doctor.Content, error) {
	config, err := clientConfig(o, nil)
	if err != nil {
		return nil, nil //nolint:nilerr // there is no cluster to ask, as in a test: whoever connects before says so
	}
	client, err := snapshots.NewClient(config)
	if err != nil {
		return nil, err
	}
	if err := client.Served(ctx); err != nil {
		if errors.Is(err, snapshots.ErrNotServed) {
			err = nil
		}
		return nil, err
	}
	all, err := client.Contents(ctx)
	var ours []doctor.Content
	for i := range all {
		if slices.Contains(o.names(), all[i].Spec.Driver) && all[i].IsReady() {
			ours = append(ours, doctor.Content{Name: all[i].Name, Handle: all[i].DataHandle()})
		}
	}
	return ours, err
}
