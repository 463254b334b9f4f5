package main

import (
	"context"
	"errors"
	"slices"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/doctor"
)

// contentsOf returns the VolumeSnapshotContents of ours, and none if the cluster does not serve them or does not let claimdir read them.
func contentsOf(ctx context.Context, o options) (ours []doctor.Content, err error) {
	all, err := allContents(ctx, o)
	for i := range all {
		ours = addContent(ours, &all[i], o.names())
	}
	return ours, err
}

// allContents returns all VolumeSnapshotContents, and none if the cluster does not serve them or does not let claimdir read them.
func allContents(ctx context.Context, o options) ([]snapshots.VolumeSnapshotContent, error) {
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
	return client.Contents(ctx)
}

// addContent adds a VolumeSnapshotContent to others if it is ours and its snapshot is whole.
func addContent(others []doctor.Content, content *snapshots.VolumeSnapshotContent, names []string) []doctor.Content {
	if !slices.Contains(names, content.Spec.Driver) || !content.IsReady() {
		return others
	}
	return append(others, doctor.Content{Name: content.Name, Handle: content.DataHandle()})
}
