package provisioner

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volume"
)

// What is to go stays as long as a claim is to be a copy of it and has not got that yet: the volume of a claim, an archive, a snapshot.
//
// Only a claim that was made before keeps it. And one that requests less than its source has, or that is refused for another reason, can
// never be its copy, and does not keep it: otherwise a tenant could keep data for ever, for claims that count for less in its quota.

// awaiting returns the name of the first of some claims that keeps what is to go at a time, or an empty name. fits says whether a claim
// requests enough, and may have it.
func (p *Pool) awaiting(claims []*v1.PersistentVolumeClaim, goes time.Time, fits func(claim *v1.PersistentVolumeClaim) bool) string {
	for _, claim := range claims {
		sc, found := p.objects.Class(volume.ClassOfClaim(claim))
		if found && p.Copies.served(sc.Provisioner) && madeBefore(claim, goes) && volume.Check(claim) == nil && fits(claim) {
			return claim.Name
		}
	}
	return ""
}

// madeBefore reports whether a claim was made before something was to go, and is not being deleted.
func madeBefore(claim *v1.PersistentVolumeClaim, goes time.Time) bool {
	return claim.DeletionTimestamp == nil && !claim.CreationTimestamp.After(goes)
}

// keptFor reports whether a claim that is to be a copy of the claim of a released PersistentVolume was made before that was
// released.
func keptFor(pv *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) bool {
	released := pv.Status.LastPhaseTransitionTime // nil before Kubernetes 1.28
	return released != nil && madeBefore(claim, released.Time)
}

// awaited returns the name of a claim that is to be a copy of the claim of a released PersistentVolume and has not got it
// yet, or an empty name.
func (p *Pool) awaited(pv *v1.PersistentVolume) string {
	ref, released := pv.Spec.ClaimRef, pv.Status.LastPhaseTransitionTime
	if p.Copies == nil || ref == nil || released == nil {
		return ""
	}
	return p.awaiting(p.Copies.Objects.CopiesOf(ref.Namespace, ref.Name), released.Time, func(claim *v1.PersistentVolumeClaim) bool {
		_, begun := p.Copies.begun.last(string(claim.UID)) // one that was begun goes on when the source is expanded
		return begun || volume.AsksEnough(claim, pv.Spec.Capacity[v1.ResourceStorage])
	})
}

// CopyOfArchive returns the name of a claim that is to be a copy of an archive of this cluster that ends and has not got it yet, or an
// empty name. Whether it may have it, which the namespace decides, is asked of the API server; what cannot be asked counts as yes.
func (p *Pool) CopyOfArchive(ctx context.Context, archive ledger.Record) string {
	if p.Copies == nil || archive.Until == nil {
		return ""
	}
	of := archive.Claim
	asked, leaves := of.NamespaceUID == "", true // the same for all claims of the namespace
	return p.awaiting(p.Copies.Objects.CopiesOfArchive(of.Namespace, archive.PV, of.Name), *archive.Until, func(claim *v1.PersistentVolumeClaim) bool {
		if !volume.AwaitsCopyOf(claim, archive) {
			return false
		}
		if p.adopts(claim) {
			return true
		}
		if !asked {
			heir, err := p.steps.InNamespace(ctx, ledger.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: string(claim.UID)})
			asked, leaves = true, err != nil || of.LeavesTo(heir)
		}
		return leaves
	})
}

// RestoreOf returns the name of a claim of a namespace that is to be restored from the VolumeSnapshot of that name, of a volume of that
// size, and that was made before it goes and has not got its volume yet, or an empty name.
func (p *Pool) RestoreOf(namespace, snapshot string, size resource.Quantity, goes time.Time) string {
	if p.Copies == nil {
		return ""
	}
	return p.awaiting(p.Copies.Objects.RestoresOf(namespace, snapshot), goes, func(claim *v1.PersistentVolumeClaim) bool { return volume.AsksEnough(claim, size) })
}

// adopts reports whether the class of a claim takes what other clusters and earlier namespaces left.
func (p *Pool) adopts(claim *v1.PersistentVolumeClaim) bool {
	sc, found := p.objects.Class(volume.ClassOfClaim(claim))
	if !found {
		return false
	}
	c, err := p.classes.Parse(string(sc.UID), sc.Parameters)
	return err == nil && c.OnExisting == class.Adopt
}
