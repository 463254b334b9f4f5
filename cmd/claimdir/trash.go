package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/trash"
)

// Reasons of events on a StorageClass.
const (
	eventTrashFailed  = "TrashNotEmptied"
	eventExpiryFailed = "ArchiveNotEnded"
)

// emptiers makes one for each share. warn makes an event on a StorageClass, for
// claim and PersistentVolume are gone by then.
func emptiers(o options, keepers []*keeper.Keeper, warn func(class, reason, message string)) []*trash.Emptier {
	var all []*trash.Emptier
	for _, k := range keepers {
		all = append(all, trash.New(trash.Config{
			Keeper:  k,
			Remover: share.NewRemover(trash.Hands, o.trashRate),
			Report: func(ctx context.Context, f trash.Failure) {
				klog.FromContext(ctx).Error(f, "Cannot empty the trash", "trash", f.Name)
				if f.Record.Class != "" {
					warn(f.Record.Class, eventTrashFailed, f.Error())
				}
			},
		}))
	}
	return all
}

// expirers makes one for each share; warn is that of emptiers.
func expirers(shares *provisioner.Shares, warn func(class, reason, message string)) []*provisioner.Expirer {
	return shares.Expirers(func(ctx context.Context, archive ledger.Record, err error) {
		klog.FromContext(ctx).Error(err, "Cannot end the archive", "archive", archive.Path, "PV", archive.PV)
		warn(archive.Class, eventExpiryFailed, fmt.Sprintf("archive %s of claim %s/%s should have ended at %s: %v",
			archive.Path, archive.Claim.Namespace, archive.Claim.Name, archive.Until.Format(time.RFC3339), err))
	})
}
