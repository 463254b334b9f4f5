package steps

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volume"
)

// Resize writes the size that v is about to have into its record, from which a lost cluster's claim is
// made again. A volume without a record, which another provisioner made, has none to change.
func (op Op) Resize(v volume.Volume, size resource.Quantity) error {
	record, found, err := op.Store.Records.Own(op.Path, v.Name, op.config.Cluster)
	if err != nil || !found || record.State != ledger.Active || record.Size == size.String() {
		return err
	}
	record.Size = size.String()
	return op.Store.Records.Update(op.Path, record)
}
