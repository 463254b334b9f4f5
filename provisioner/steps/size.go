package steps

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volume"
)

// RecordSize writes a new size into the record of v, for package recovery. It changes nothing if v has no
// active record: a volume that another provisioner made may have none yet.
func (op Op) RecordSize(v volume.Volume, size resource.Quantity) error {
	record, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || !found || record.State != ledger.Active || record.Size == size.String() {
		return err
	}
	record.Size = size.String()
	return op.Store.Records.Update(op.Path, record)
}

// Outgrown reports whether a volume of that size has outgrown the size in its record. The record of a volume
// that another provisioner made may be written while the volume is being expanded.
func Outgrown(r ledger.Record, size resource.Quantity) bool {
	recorded, err := resource.ParseQuantity(r.Size)
	return (err != nil || recorded.Cmp(size) < 0) && !size.IsZero()
}
