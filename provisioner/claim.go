package provisioner

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/volume"
)

// ShouldProvision implements the library's Qualifier. It keeps off claims that
// are being deleted, and those to be filled from an object that is neither a
// claim nor a snapshot: a volume populator makes their volume; and off those of
// another Provisioner's share. It is asked for every unbound claim of the cluster
// and says no without an event.
func (p *Provisioner) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return claim.DeletionTimestamp == nil && !volume.ForPopulator(claim) && p.ownsClaim(claim)
}
