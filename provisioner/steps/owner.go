package steps

import (
	"context"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// The owner of a volume is the claim that its PersistentVolume names: people hand a volume
// to another claim, also of another namespace, by changing spec.claimRef. The record
// follows: when the change is seen, and at the latest on release.
//
// The claim's namespace is known by its UID, because its name is given again: who makes a
// namespace with the name of one that was deleted gets nothing of what that one's claims
// left. The UID is on record while the claim exists, because nobody can tell it afterwards.

// InNamespace returns a claim, which must exist, with the UID of its namespace as the API
// server says it now. That is empty if this process may not know it. The error is a
// *refusal.Refusal: also if the claim does not exist any more.
func (s *Steps) InNamespace(ctx context.Context, claim ledger.Claim) (ledger.Claim, error) {
	uid, err := s.config.Namespace(ctx, claim)
	if err != nil {
		return claim, refusal.Unchanged(refusal.Postpone(refusal.ReasonCluster, "look up the namespace of the claim: %w", err))
	}
	claim.NamespaceUID = uid
	return claim, nil
}

// FollowOwner writes into the record of v, whose PersistentVolume is bound, the claim that
// it is bound to, the UID of its namespace if v has that and the record has none, and its
// size if v has outgrown the recorded one. It reports whether it changed the record.
func (op Op) FollowOwner(ctx context.Context, v volume.Volume) (changed bool, err error) {
	record, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || !found || record.State != ledger.Active {
		return false, err
	}
	now, err := op.follow(ctx, v, record)
	if err != nil || !Outgrown(now, v.Size) {
		return now.Claim != record.Claim, err
	}
	now.Size = v.Size.String()
	return true, op.Store.Records.Update(op.Path, now)
}

// follow returns the record of v with the claim that v belongs to, and writes that if it
// named another one, or not its namespace.
func (op Op) follow(ctx context.Context, v volume.Volume, record ledger.Record) (ledger.Record, error) {
	was := record.Claim
	if v.Claim.Name == "" || v.Claim.UID == "" {
		return record, nil
	}
	if v.Claim.Is(was) {
		if was.NamespaceUID != "" || v.Claim.NamespaceUID == "" {
			return record, nil
		}
		record.Claim = v.Claim
		return record, op.Store.Records.Update(op.Path, record)
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
