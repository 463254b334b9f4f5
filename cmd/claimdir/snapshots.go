package main

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/control"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/snapshot"
)

// addSnapshots adds the job that makes snapshots, and returns what it knows of the cluster, or nil if there is none; see newJobs.
func (j *jobs) addSnapshots(p parts, controller func() *control.Controller) (*snapshots.Caches, error) {
	if p.leadership == nil {
		return nil, nil
	}
	config, err := clientConfig(p.options, p.leadership)
	if err != nil {
		return nil, err
	}
	client, err := snapshots.NewClient(config)
	if err != nil {
		return nil, err
	}
	caches := snapshots.NewCaches(client, p.names())
	snapshotter := newSnapshotter(p, client, caches, controller)
	p.pool.Copies.Snapshot = snapshotter.Source
	j.run, j.metrics = append(j.run, snapshotter.Run), append(j.metrics, snapshotter.Collectors()...)
	for i, k := range p.keepers {
		j.shares[i].found = func() (snapshot.Found, bool) { return snapshotter.Found(k) }
	}
	return caches, nil
}

// contentsIn returns the VolumeSnapshotContents of ours whose snapshots are whole, as far as the cache knows, if there is one.
func contentsIn(known *snapshots.Caches, names []string) (ours []doctor.Content) {
	if known == nil {
		return nil
	}
	for _, content := range known.Contents() {
		ours = addContent(ours, content, names)
	}
	return ours
}

// newSnapshotter makes the job that makes snapshots. controller returns the controller, which is made later; it must not be called
// before the jobs run.
func newSnapshotter(p parts, client *snapshots.Client, caches *snapshots.Caches, controller func() *control.Controller) *snapshot.Snapshotter {
	return snapshot.New(snapshot.Config{
		Keepers: p.keepers, Steps: p.steps, Names: p.names(), Client: client, Caches: caches,
		Cluster: snapshotCluster{p.informers, cluster.Live{Client: p.client}}, Copies: p.pool.Copies.Jobs, Reading: p.pool.RestoreOf,
		Tell: func(object *v1.ObjectReference, kind, reason, text string) {
			controller().TellOf(object, kind, reason, text)
		},
	})
}

// snapshotCluster is snapshot.Cluster.
type snapshotCluster struct {
	informers *cluster.Informers
	live      cluster.Live
}

func (c snapshotCluster) Volume(name string) (*v1.PersistentVolume, bool) {
	return c.informers.Volume(name)
}

func (c snapshotCluster) VolumeNow(ctx context.Context, name string) (*v1.PersistentVolume, error) {
	return c.live.Volume(ctx, name)
}

func (c snapshotCluster) Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	if !c.informers.HasClaim(namespace, name) { // a tenant may make any number of VolumeSnapshots of claims that do not exist
		return nil, nil
	}
	return c.live.Claim(ctx, namespace, name)
}

func (c snapshotCluster) Namespace(ctx context.Context, name string) (string, error) {
	return c.live.NamespaceUID(ctx, name)
}
