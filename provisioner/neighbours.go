package provisioner

import (
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// checkVolumes refuses a path on, above or below that of another
// PersistentVolume. The ledger knows all that claimdir made; this finds those
// of other programs and people.
func (op operation) checkVolumes(path volpath.Path, name string) error {
	for _, other := range op.objects.Overlapping(op.source.Server, volume.Export(op.source, path)) {
		relative, inside := share.Below(op.source.Path, other.Spec.NFS.Path)
		if !inside || other.Name == name { // one that spans the whole share is how people look at it, no volume
			continue
		}
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "path %q and path %q of PersistentVolume %s are the same or one inside the other",
			path, relative, other.Name))
	}
	return nil
}

// checkAlone refuses to release a path that holds another volume, or lies in
// one: whatever happened to the directory would happen to the other too.
func (op operation) checkAlone(path volpath.Path, record ledger.Record) error {
	if err := op.ledger.CheckAbove(path, record); err != nil {
		return storageError(err)
	}
	return op.checkNoneInside(path, record)
}

// checkNoneInside is the part of checkAlone that is not about records above.
func (op operation) checkNoneInside(path volpath.Path, record ledger.Record) error {
	if err := op.ledger.CheckBelow(path, record); err != nil {
		return storageError(err)
	}
	if err := op.checkVolumes(path, record.PV); err != nil {
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonTaken, "%s. Move the data apart, or let one of the two go by hand: "+
			"set its reclaim policy to Retain and delete it", refusal.Message(err)))
	}
	return nil
}
