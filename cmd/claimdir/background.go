package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/sweep"
	"claimdir/provisioner/trash"
)

// background is what works beside the controller while it leads, on each share: the
// trash is emptied, archives end, and what was left behind is looked for.
type background struct {
	run     []func(ctx context.Context)
	metrics []prometheus.Collector
}

// newBackground makes it. config is what all sweepers have in common; warn makes an
// event on a StorageClass, for claim and PersistentVolume are gone by then.
func newBackground(o options, keepers []*keeper.Keeper, config sweep.Config, warn func(class, reason, message string)) (b background) {
	emptiers := emptiers(o, keepers, warn)
	for _, e := range emptiers {
		b.run = append(b.run, e.Run)
	}
	for _, e := range expirers(config.Shares, warn) {
		b.run = append(b.run, e.Run)
	}
	sweepers := sweepers(o, config, keepers)
	for _, s := range sweepers {
		b.run = append(b.run, s.Run)
	}
	b.metrics = []prometheus.Collector{trash.NewCollector(emptiers...), sweep.NewCollector(sweepers...)}
	return b
}
