package main

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/control"
	"claimdir/provisioner/snapshot"
)

// addSnapshots adds the job that makes snapshots; see newJobs.
func (j *jobs) addSnapshots(p parts, controller func() *control.Controller) error {
	if p.leadership == nil {
		return nil
	}
	snapshotter, err := newSnapshotter(p, controller)
	if err != nil {
		return err
	}
	p.pool.Copies.Snapshot = snapshotter.Source
	j.run, j.metrics = append(j.run, snapshotter.Run), append(j.metrics, snapshotter.Collectors()...)
	return nil
}

// newSnapshotter makes the job that makes snapshots. controller returns the controller, which is made later; it must not be called
// before the jobs run.
func newSnapshotter(p parts, controller func() *control.Controller) (*snapshot.Snapshotter, error) {
	config, err := clientConfig(p.options, p.leadership)
	if err != nil {
		return nil, err
	}
	client, err := snapshots.NewClient(config)
	if err != nil {
		return nil, err
	}
	return snapshot.New(snapshot.Config{
		Keepers: p.keepers, Steps: p.steps, Names: p.names(), Client: client, Caches: snapshots.NewCaches(client, p.names()),
		Cluster: snapshotCluster{p.informers, cluster.Live{Client: p.client}}, Copies: p.pool.Copies.Jobs, Reading: p.pool.RestoreOf,
		Tell: func(object *v1.ObjectReference, kind, reason, text string) {
			controller().TellOf(object, kind, reason, text)
		},
	}), nil
}

// snapshotCluster is snapshot.Cluster.
type snapshotCluster struct {
	informers *cluster.Informers
	live      cluster.Live
}

func (c snapshotCluster) Volume(name string) (*v1.PersistentVolume, bool) {
	return c.informers.Volume(name)
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
