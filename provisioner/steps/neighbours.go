package steps

import (
	"errors"

	v1 "k8s.io/api/core/v1"

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
	for _, other := range op.config.Objects.Overlapping(op.source.Server, volume.Export(op.source, path)) {
		relative, inside := share.Below(op.source.Path, other.Spec.NFS.Path)
		if !inside || other.Name == name { // one that spans the whole share is how people look at it, no volume
			continue
		}
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "path %q and path %q of PersistentVolume %s are the same or one inside the other",
			path, relative, other.Name))
	}
	return nil
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
