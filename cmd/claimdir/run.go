package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/control"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// serve builds the parts of the controller, connects them and runs them.
func serve(ctx context.Context, o options) error {
	logger := klog.FromContext(ctx)
	logger.Info("Starting claimdir", "version", version, "provisioner", o.provisionerName)
	mounts, err := findShares(o)
	if err == nil {
		err = checkDirectories(mounts)
	}
	if err != nil {
		return err
	}
	leadership, clients, err := connectToLead(o)
	if err != nil {
		return err
	}
	registry, endpoints := newRegistry(), &endpoints{}
	stopServing, err := endpoints.listen(ctx, o.httpAddress, registry)
	if err != nil {
		return err
	}
	defer stopServing()

	id, err := waitClusterID(ctx, clients.Main)
	if err != nil {
		return err
	}
	informers := cluster.NewInformers(clients.Main, o.names()...)
	served := newServed(o, mounts, informers, leadership.Check)
	config := control.Config{Informers: informers, Leadership: leadership, Clients: clients, Registry: registry, Unfinished: served.stuck}
	var c *control.Controller
	warn := warnOfClass(func(class, reason, message string) { c.WarnOfClass(class, reason, message) })
	ops := newSteps(o, id, informers, cluster.Live{Client: clients.Main}, warn)
	pool := provisioner.New(ops, informers, served.keepers...)
	for _, p := range pool.Provisioners() {
		config.Provisioners = append(config.Provisioners, p)
	}
	jobs, err := newJobs(parts{options: o, keepers: served.keepers, steps: ops, client: clients.Main, informers: informers, pool: pool, leadership: leadership}, warn, func() *control.Controller { return c })
	if err != nil {
		return err
	}
	config.Background = jobs.run
	config.Workers, config.DrainTimeout = o.workers, o.drainTimeout
	if c, err = control.New(ctx, config); err != nil {
		return err
	}
	for _, collector := range slices.Concat(jobs.metrics, served.metrics()) {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	endpoints.use(c.Healthy, c.Ready, served.ready)
	known := &overview{options: o, cluster: id, informers: informers, leadership: leadership, controller: c, shares: jobs.shares}
	defer servePage(ctx, o.pageAddress, known.data)()
	// The keepers run until all operations have ended.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	served.run(keeping, c.Retry)
	if err := c.Run(ctx); err != nil {
		return err
	}
	logger.Info("Stopped")
	return nil
}

// newSteps makes the steps of a replica that may lead.
func newSteps(o options, id string, informers *cluster.Informers, live cluster.Live, warn warnOfClass) *steps.Steps {
	return steps.New(steps.Config{
		Cluster:   id,
		Objects:   informers,
		Released:  func(ctx context.Context, v volume.Volume) error { return live.Released(ctx, v.Name, v.Claim) },
		Namespace: namespaceOf(live),
		Volume:    live.Volume,
		Gone:      live.Gone,
		Grace:     o.orphanGrace,
		Report:    warn.aboutDirectory,
	})
}

// namespaceOf is steps.Config.Namespace. It logs once that claimdir may not read namespaces.
func namespaceOf(live cluster.Live) func(context.Context, ledger.Claim) (string, error) {
	var once sync.Once
	return func(ctx context.Context, claim ledger.Claim) (string, error) {
		uid, err := live.Namespace(ctx, claim)
		if err == nil && uid == "" {
			once.Do(func() {
				klog.FromContext(ctx).Error(nil, "claimdir may not read namespaces, so claims get nothing that a namespace known by its UID has left; apply the ClusterRole of this version's manifests/base")
			})
		}
		return uid, err
	}
}

// connectToLead makes the clients of a replica that may lead.
func connectToLead(o options) (*control.Leadership, control.Clients, error) {
	leadership, err := newLeadership(o)
	if err != nil {
		return nil, control.Clients{}, err
	}
	clients, err := connect(o, leadership)
	return leadership, clients, err
}

// newLeadership makes this replica take part in leader election, unless that is disabled.
func newLeadership(o options) (*control.Leadership, error) {
	if !o.leaderElect {
		return control.NewLeadership(nil), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("get the name of this replica: %w", err)
	}
	return control.NewLeadership(&control.Lease{Namespace: o.podNamespace, Identity: host + "_" + string(uuid.NewUUID())}), nil
}

// waitClusterID is clusterID, but retries until the API server answers or ctx ends.
func waitClusterID(ctx context.Context, client kubernetes.Interface) (id string, err error) {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6, Cap: 30 * time.Second, Jitter: 0.2}
	waitErr := backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		if id, err = clusterID(ctx, client); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot identify the cluster; retrying")
		}
		return err == nil, nil
	})
	if err == nil {
		err = waitErr
	}
	return id, err
}
