package steps

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// checkVolumes refuses a path on, above or below that of another
// PersistentVolume. The ledger knows all that claimdir made; this finds those
// of other programs and people.
func (op Op) checkVolumes(path volpath.Path, name string) error {
	other, relative := op.overlapping(path, name)
	if other == nil {
		return nil
	}
	return errOverlaps(path, relative, other)
}

func errOverlaps(path volpath.Path, relative string, other *v1.PersistentVolume) error {
	return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "path %q and path %q of PersistentVolume %s are the same or one inside the other",
		path, relative, other.Name))
}

// overlapping returns another PersistentVolume on, above or below a path, and its path, or
// nil. One of the whole share is how people look at it, and does not count.
func (op Op) overlapping(path volpath.Path, name string) (other *v1.PersistentVolume, relative string) {
	for _, other := range op.config.Objects.Overlapping(op.source.Server, volume.Export(op.source, path)) {
		if relative, inside := share.Below(op.source.Path, other.Spec.NFS.Path); inside && other.Name != name {
			return other, relative
		}
	}
	return nil, ""
}

// checkVolumesFor is checkVolumes for a claim: what is of another namespace goes to the log,
// not to the claim's event.
func (op Op) checkVolumesFor(ctx context.Context, asking ledger.Record) error {
	other, relative := op.overlapping(op.Path, asking.PV)
	if other == nil {
		return nil
	}
	if ref := other.Spec.ClaimRef; ref != nil && ref.Namespace == asking.Claim.Namespace {
		return errOverlaps(op.Path, relative, other)
	}
	klog.FromContext(ctx).Info("A claim asks for a path that another PersistentVolume has, or that lies above or below it", "path", op.Path, "other", other.Name, "otherPath", relative)
	return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "path %q is the directory of another PersistentVolume, or lies above or below one; "+
		"give the claim another path, or ask an administrator: claimdir's log names the other", op.Path))
}

// volumeAbove returns the PersistentVolume of somebody else above the path, or nil. One of
// the whole share is how people look at it, and does not count.
func (op Op) volumeAbove() *v1.PersistentVolume {
	for _, pv := range op.config.Objects.Above(op.source.Server, volume.Export(op.source, op.Path)) {
		if _, inside := share.Below(op.source.Path, pv.Spec.NFS.Path); inside {
			return pv
		}
	}
	return nil
}

// checkAlone refuses to release a path that holds another volume, or lies in
// one: whatever happened to the directory would happen to the other too.
func (op Op) checkAlone(r ledger.Record) error {
	if err := op.Store.Records.CheckAbove(op.Path, r); err != nil {
		return err
	}
	return op.checkNoneInside(r)
}

// checkNoneInside is the part of checkAlone that is not about records above.
func (op Op) checkNoneInside(r ledger.Record) error {
	if err := op.Store.Records.CheckBelow(op.Path, r); err != nil {
		return err
	}
	err := op.checkVolumes(op.Path, r.PV)
	if refused, ok := errors.AsType[*refusal.Refusal](err); ok {
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "%s. Move the data apart, or let one of the two go by hand: set its reclaim policy to Retain and delete it", refused.Message()))
	}
	return err
}
