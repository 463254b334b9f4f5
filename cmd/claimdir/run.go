package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/control"
	"claimdir/provisioner/keeper"
	"claimdir/provisioner/sweep"
)

// run is the program: it returns nil when ctx ended and everything under way
// is done.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), std streams) error {
	c, args, err := choose(args)
	if err != nil {
		return err
	}
	o := newOptions()
	o.leaderElect = c.accepts("enable-leader-election")
	problems := parse(&o, c, args, lookup)
	switch {
	case o.help:
		_, err := io.WriteString(std.out, helpText(c))
		return err
	case o.version:
		_, err := fmt.Fprintln(std.out, "claimdir", version)
		return err
	}
	if o.podNamespace == "" {
		o.podNamespace = ownNamespace()
	}
	if problems = append(problems, o.validate(c)...); len(problems) > 0 {
		return &usageError{c.name, problems}
	}
	return c.run(ctx, o, std)
}

// serveCommand is the controller.
func serveCommand(ctx context.Context, o options, std streams) error {
	if err := setUpLogging(o, std.err); err != nil {
		return err
	}
	defer flushLogs()
	return serve(klog.NewContext(ctx, klog.Background()), o)
}

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

	cluster, err := clusterID(ctx, clients.Main)
	if err != nil {
		return err
	}
	informers, err := control.NewInformers(clients.Main, o.names()...)
	if err != nil {
		return err
	}
	shares := keep(o, mounts, informers)
	config := control.Config{Informers: informers, Clients: clients, Registry: registry, Unfinished: shares.stuck}
	volumes := provisioner.New(cluster, informers, shares.sites()...)
	for _, p := range volumes.Provisioners() {
		config.Provisioners = append(config.Provisioners, p)
	}
	var c *control.Controller
	beside := besides(o, shares.keepers, sweep.Config{Shares: volumes, Client: clients.Main, Cluster: cluster},
		func(class, reason, message string) { c.WarnOfClass(class, reason, message) })
	config.Background = beside.run
	if c, err = newController(ctx, o, config); err != nil {
		return err
	}
	for _, collector := range append(beside.metrics, keeper.NewCollector(shares.keepers...)) {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	endpoints.use(c.Healthy, c.Ready, shares.ready)
	// The shares are kept until what is under way has ended.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	shares.run(keeping, c.Retry)
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

// clusterID is the UID of the namespace kube-system, which is as old as the
// cluster. An API server that does not answer yet is waited for.
func clusterID(ctx context.Context, client kubernetes.Interface) (id string, err error) {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6, Cap: 30 * time.Second, Jitter: 0.2}
	waitErr := backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		namespace, getErr := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err = getErr; err != nil {
			klog.FromContext(ctx).Error(err, "Cannot ask the API server which cluster this is, trying again")
			return false, nil
		}
		id = string(namespace.UID)
		return true, nil
	})
	if waitErr != nil && err == nil {
		err = waitErr
	}
	if err != nil {
		return "", fmt.Errorf("identify the cluster: %w", err)
	}
	return id, nil
}
