package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/control"
	"claimdir/provisioner/keeper"
	"claimdir/provisioner/sweep"
)

// serve builds the parts, one on the other, and runs them.
func serve(ctx context.Context, o options) error {
	logger := klog.FromContext(ctx)
	logger.Info("Starting claimdir", "version", version, "provisioner", o.provisionerName)
	mounts, err := findShares(o)
	if err != nil {
		return err
	}
	if err := checkDirectories(mounts); err != nil {
		return err
	}
	clients, err := connect(o)
	if err != nil {
		return err
	}
	registry := newRegistry()
	endpoints := &endpoints{}
	stopServing, err := endpoints.listen(ctx, o.httpAddress, registry)
	if err != nil {
		return err
	}
	defer stopServing()

	cluster, err := waitClusterID(ctx, clients.Main)
	if err != nil {
		return err
	}
	informers, err := control.NewInformers(clients.Main, o.names()...)
	if err != nil {
		return err
	}
	served := newServed(o, mounts, informers)
	config := control.Config{Informers: informers, Clients: clients, Registry: registry, Unfinished: served.stuck}
	shares := provisioner.New(cluster, informers, served.sites()...)
	for _, p := range shares.Provisioners() {
		config.Provisioners = append(config.Provisioners, p)
	}
	var c *control.Controller
	background := newBackground(o, served.keepers, sweep.Config{Shares: shares, Client: clients.Main, Cluster: cluster},
		func(class, reason, message string) { c.WarnOfClass(class, reason, message) })
	config.Background = background.run
	if c, err = newController(ctx, o, config); err != nil {
		return err
	}
	for _, collector := range append(background.metrics, keeper.NewCollector(served.keepers...)) {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	endpoints.use(c.Healthy, c.Ready, served.ready)
	// The shares are kept until what is under way has ended.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	served.run(keeping, c.Retry)
	if err := c.Run(ctx); err != nil {
		return err
	}
	logger.Info("Stopped")
	return nil
}

func newController(ctx context.Context, o options, config control.Config) (*control.Controller, error) {
	config.Workers, config.DrainTimeout = o.workers, o.drainTimeout
	if o.leaderElect {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("name of this replica: %w", err)
		}
		config.Lease = &control.Lease{Namespace: o.podNamespace, Identity: host + "_" + string(uuid.NewUUID())}
	}
	return control.New(ctx, config)
}

// waitClusterID is clusterID; an API server that does not answer yet is waited for.
func waitClusterID(ctx context.Context, client kubernetes.Interface) (id string, err error) {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6, Cap: 30 * time.Second, Jitter: 0.2}
	waitErr := backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		if id, err = clusterID(ctx, client); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot ask the API server which cluster this is, trying again")
		}
		return err == nil, nil
	})
	if err == nil {
		err = waitErr
	}
	return id, err
}
