package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/control"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/expiry"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
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

// parts are what the jobs of a replica work with.
type parts struct {
	options

	keepers    []*access.Keeper
	steps      *steps.Steps
	client     kubernetes.Interface
	informers  *cluster.Informers
	pool       *provisioner.Pool
	leadership *control.Leadership // nil: no snapshots are made
}

// jobs are what runs beside the controller while this process leads, and its metrics.
type jobs struct {
	run     []func(ctx context.Context)
	metrics []prometheus.Collector
	shares  []shareJobs
}

// newJobs makes the jobs: one expands volumes, one copies them, one makes snapshots, and for each share one empties the trash, one sweeps it for
// orphans, one expires archives and, if wanted, one measures usage. controller returns the controller, which is
// made later; it must not be called before the jobs run.
func newJobs(p parts, warn warnOfClass, controller func() *control.Controller) (j jobs, err error) {
	j.metrics = append(j.metrics, mistakesOf(p))
	config := sweep.Config{
		Steps: p.steps, Client: p.client, Objects: p.informers, Volume: p.informers.Volume, VolumesThat: p.informers.VolumesThat, Report: warn.aboutDirectory,
		Names: p.names(), Interval: p.sweepInterval, Grace: p.orphanGrace,
	}
	var known *snapshots.Caches // set below; nil if no snapshots are made
	config.Contents = func() []doctor.Content { return contentsIn(known, p.names()) }
	busy := func() bool { return controller().Busy() }
	var sweepers []*sweep.Sweeper
	for _, k := range p.keepers {
		emptier := trash.New(trash.Config{Keeper: k, Steps: p.steps, Remover: share.NewRemover(trash.Hands, p.trashRate), Busy: busy, Report: warn.trashFailed})
		config.Keeper, config.Others = k, nil
		for _, other := range p.keepers {
			if other != k {
				config.Others = append(config.Others, other.Source())
			}
		}
		sweeper := sweep.New(config)
		expirer := expiry.New(expiry.Config{Keeper: k, Steps: p.steps, Report: warn.expiryFailed, Held: warn.expiryHeld, Copied: p.pool.CopyOfArchive})
		j.run = append(j.run, emptier.Run, sweeper.Run, expirer.Run)
		sweepers = append(sweepers, sweeper)
		j.shares = append(j.shares, shareJobs{keeper: k, emptier: emptier, sweeper: sweeper, expirer: expirer})
		j.metrics = slices.Concat(j.metrics, emptier.Collectors(), sweeper.Collectors(), expirer.Collectors())
	}
	err = p.informers.OnNewOwner(func(pv *v1.PersistentVolume) {
		for _, s := range sweepers {
			s.NewOwner(pv)
		}
	})
	if err != nil {
		return j, err
	}
	resizer, err := newResizer(p, func(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
		controller().TellExpansion(claim, kind, reason, text)
	})
	if err != nil {
		return j, err
	}
	j.run, j.metrics = append(j.run, resizer.Run), append(j.metrics, resizer.Collectors()...)
	if p.pool.Copies, err = newCopies(p, controller); err != nil {
		return j, err
	}
	j.run, j.metrics = append(j.run, p.pool.Copies.Jobs.Run), append(j.metrics, p.pool.Copies.Jobs.Collectors()...)
	for i, k := range p.keepers {
		j.shares[i].copies = func() (running, waiting int) { return p.pool.Copies.Jobs.Count(k) }
	}
	if known, err = j.addSnapshots(p, controller); err != nil {
		return j, err
	}
	j.measure(p, func(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
		controller().Tell(claim, kind, reason, text)
	})
	return j, nil
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
