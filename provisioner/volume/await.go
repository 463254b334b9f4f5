package volume

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
)

// AsksEnough reports whether a claim requests as much as its source has, as a copy must.
func AsksEnough(claim *v1.PersistentVolumeClaim, size resource.Quantity) bool {
	request := claim.Spec.Resources.Requests[v1.ResourceStorage]
	return request.Cmp(size) >= 0
}

// AwaitsCopyOf reports whether a claim is to be a copy of an archive and has not got it yet, and nothing in the claim itself rules that
// out. Its class, and whether its namespace is the archive's and no later one of that name, are not looked at.
func AwaitsCopyOf(claim *v1.PersistentVolumeClaim, archive ledger.Record) bool {
	name := pvs.ArchiveToCopy(claim)
	names := name == archive.PV || name == RestoreLatest && claim.Name == archive.Claim.Name
	return names && claim.Namespace == archive.Claim.Namespace && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil &&
		Check(claim) == nil && AsksEnough(claim, RecordedSize(archive))
}

// RecordedSize is the size in a record, and 0 if it has none.
func RecordedSize(r ledger.Record) resource.Quantity {
	size, err := resource.ParseQuantity(r.Size)
	if err != nil {
		return resource.Quantity{}
	}
	return size
}
