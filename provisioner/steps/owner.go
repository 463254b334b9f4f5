package steps

import (
	"context"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volume"
)

// The owner of a volume is the claim that its PersistentVolume names: people hand a volume
// to another claim, also of another namespace, by changing spec.claimRef. The record
// follows: when the change is seen, and at the latest on release.

// FollowOwner writes into the record of v, whose PersistentVolume is bound, the claim that
// it is bound to. It reports whether the record named another one.
func (op Op) FollowOwner(ctx context.Context, v volume.Volume) (changed bool, err error) {
	record, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || !found || record.State != ledger.Active {
		return false, err
	}
	now, err := op.follow(ctx, v, record)
	return now.Claim != record.Claim, err
}

// follow returns the record of v with the claim that v belongs to, and writes that if it
// named another one.
func (op Op) follow(ctx context.Context, v volume.Volume, record ledger.Record) (ledger.Record, error) {
	was := record.Claim
	if v.Claim == was || v.Claim.Name == "" || v.Claim.UID == "" {
		return record, nil
	}
	// A release that was cut off may have begun an archive under the other claim's name.
	if err := op.removeEmptyArchive(record); err != nil {
		return record, err
	}
	record.Claim = v.Claim
	if err := op.Store.Records.Update(op.Path, record); err != nil {
		return record, err
	}
	klog.FromContext(ctx).Info("The volume belongs to another claim than its record said", "path", op.Path, "PV", v.Name,
		"PVC", klog.KRef(v.Claim.Namespace, v.Claim.Name), "was", klog.KRef(was.Namespace, was.Name))
	return record, nil
}
