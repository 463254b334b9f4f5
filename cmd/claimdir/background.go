package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/expiry"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sweep"
	"claimdir/provisioner/trash"
)

// Reasons of events on a StorageClass.
const (
	eventTrashFailed  = "TrashNotEmptied"
	eventExpiryFailed = "ArchiveNotEnded"
	eventExpiryHeld   = "ArchivesHeldBack"
)

// warnOfClass reports an event on a StorageClass, because claim and PersistentVolume may be
// gone.
type warnOfClass func(class, reason, message string)

// background is the jobs that run beside the controller while this process leads.
type background struct {
	run      []func(ctx context.Context)
	metrics  []prometheus.Collector
	sweepers []*sweep.Sweeper
}

// newOwner tells each share's sweeper that a PersistentVolume is bound to another claim.
func (b background) newOwner(pv *v1.PersistentVolume) {
	for _, s := range b.sweepers {
		s.NewOwner(pv)
	}
}

// newBackground makes the jobs of each share: one empties the trash, one sweeps the share
// for orphans, one expires archives. config has the fields that all sweepers share. busy reports
// whether the controller works on claims or released volumes.
func newBackground(o options, keepers []*access.Keeper, config sweep.Config, busy func() bool, warn warnOfClass) (b background) {
	ops := config.Steps
	config.Names, config.Interval, config.Grace = o.names(), o.sweepInterval, o.orphanGrace
	for _, k := range keepers {
		emptier := trash.New(trash.Config{Keeper: k, Steps: ops, Remover: share.NewRemover(trash.Hands, o.trashRate), Busy: busy, Report: warn.trashFailed})
		config.Keeper, config.Others = k, nil
		for _, other := range keepers {
			if other != k {
				config.Others = append(config.Others, other.Source())
			}
		}
		sweeper := sweep.New(config)
		expirer := expiry.New(expiry.Config{Keeper: k, Steps: ops, Report: warn.expiryFailed, Held: warn.expiryHeld})
		b.run = append(b.run, emptier.Run, sweeper.Run, expirer.Run)
		b.sweepers = append(b.sweepers, sweeper)
		b.metrics = slices.Concat(b.metrics, emptier.Collectors(), sweeper.Collectors(), expirer.Collectors())
	}
	return b
}

// aboutDirectory is steps.Config.Report.
func (warn warnOfClass) aboutDirectory(_ context.Context, r ledger.Record, reason, text string) {
	if r.Class != "" {
		warn(r.Class, reason, text)
	}
}

func (warn warnOfClass) trashFailed(ctx context.Context, f trash.Failure) {
	klog.FromContext(ctx).Error(f, "Cannot empty the trash", "trash", f.Name)
	if f.Record.Class != "" {
		warn(f.Record.Class, eventTrashFailed, f.Error())
	}
}

func (warn warnOfClass) expiryFailed(ctx context.Context, archive ledger.Record, err error) {
	klog.FromContext(ctx).Error(err, "Cannot expire the archive", "archive", archive.Path, "PV", archive.PV)
	warn(archive.Class, eventExpiryFailed, fmt.Sprintf("archive %s of claim %s/%s should have expired at %s: %v",
		archive.Path, archive.Claim.Namespace, archive.Claim.Name, archive.Until.Format(time.RFC3339), err))
}

func (warn warnOfClass) expiryHeld(_ context.Context, first ledger.Record, text string) {
	if first.Class != "" {
		warn(first.Class, eventExpiryHeld, text)
	}
}
