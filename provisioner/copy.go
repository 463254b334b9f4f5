package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// Reasons of events on claims that are to be copies.
const (
	eventCopying = "Copying"
	eventCopied  = "Copied"
)

// Copies is what a Pool needs to make volumes that are copies. All exported fields are required.
type Copies struct {
	Jobs    *copies.Copies
	Names   pvs.Names // of the provisioners that are served
	Objects CopyObjects
	Live    LiveObjects
	// Snapshot returns what a claim is to be a copy of whose data source is a VolumeSnapshot, and the share that has it. An
	// error is a *refusal.Refusal.
	Snapshot func(ctx context.Context, claim *v1.PersistentVolumeClaim) (*access.Keeper, ledger.Copy, error)
	// Tell publishes an event on a claim, unless the last one about it was the same. kind is v1.EventTypeNormal or
	// v1.EventTypeWarning.
	Tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)
	// Retry makes the library ask for the volume of a claim again, and for released volumes that wait.
	Retry func(claim *v1.PersistentVolumeClaim)

	begun begunCopies
}

// CopyObjects is what a Pool reads from caches for copies: see cluster.Informers.
type CopyObjects interface {
	// CopiesOf returns the claims of a namespace that are not bound and are to be copies of the claim of that name.
	CopiesOf(namespace, name string) []*v1.PersistentVolumeClaim
	// CopiesOfArchive returns those that are to be copies of the archive of a PersistentVolume, which was that of the claim of that name.
	CopiesOfArchive(namespace, pv, name string) []*v1.PersistentVolumeClaim
	// RestoresOf returns those that are to be restored from the VolumeSnapshot of that name.
	RestoresOf(namespace, name string) []*v1.PersistentVolumeClaim
	// UnboundClaim returns the claim of that name if it names no volume.
	UnboundClaim(namespace, name string) (*v1.PersistentVolumeClaim, bool)
	// Released returns the PersistentVolumes of ours that are to be released.
	Released() []*v1.PersistentVolume
}

// LiveObjects is what a Pool asks of the API server, never of a cache, for copies: see cluster.Live.
type LiveObjects interface {
	// Claim returns the claim of that namespace and name, or nil if there is none.
	Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error)
	// Volume returns the PersistentVolume of that name, or nil if there is none.
	Volume(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Gone returns nil if neither the claim of a record nor its PersistentVolume exists.
	Gone(ctx context.Context, r ledger.Record) error
}

func (c *Copies) served(provisioner string) bool { return slices.Contains(c.Names, provisioner) }

// errCopyRuns says that a job copies for a volume. It may still write to the tree, also when the ledger says that the tree is
// whole, as another process that led before may have recorded. So the tree becomes no volume before the job has ended.
var errCopyRuns = errors.New("the copy of the volume goes on")

// startCopy starts the copy of a volume, or finds that it runs: then the library does nothing more for the claim until the
// copy has ended.
func (p *Pool) startCopy(on *access.Keeper, r ledger.Record, claim *v1.PersistentVolumeClaim, v volume.Volume, c class.Class) error {
	from := on
	if id := r.CopyOf.Share; id != "" {
		i := slices.IndexFunc(p.shares, func(k *access.Keeper) bool { return k.ID() == id })
		if i < 0 {
			return refusal.Postpone(refusal.ReasonSource, "spec.dataSource: the volume of claim %q is on a share that this claimdir does not serve now; this is retried automatically", r.CopyOf.Claim.Name)
		}
		from = p.shares[i]
	}
	p.keepRoom(on, c, v)
	p.Copies.begun.begin(r.Claim.UID, copyPlace{on, v.Path})
	job := &copying{Pool: p, on: on, path: v.Path, record: r, claim: claim, class: c, size: uint64(max(0, v.Size.Value()))} //nolint:gosec // not negative
	err := p.Copies.Jobs.Start(copies.Job{
		Name: job.own(), Namespace: claim.Namespace, To: on, From: from,
		Find: job.find, Wanted: job.wanted, Begin: job.begin, Complete: job.complete, Progress: job.progress, Ended: job.ended,
	})
	if err != nil {
		return copyFailed(r, err)
	}
	return &controller.IgnoredError{Reason: errCopyRuns.Error()}
}

// copyFailed gives the error of a copy its reason and its way out.
func copyFailed(r ledger.Record, err error) error {
	next := steps.GoesOn
	if share.IsFull(err) { // see makeRoom
		next = steps.Anew
	}
	err = steps.RefusedCopy(fmt.Sprintf("the copy of %s %q", r.CopyOf.Kind, r.CopyOf.Claim.Name), next, err)
	// A trouble that ended the copy may be over: then the share does not change any more, and the library has to ask again by itself.
	if refused, ok := errors.AsType[*refusal.Refusal](err); ok && refused.Waits() {
		return refusal.Postpone(refused.Reason(), "%s", err.Error())
	}
	return err
}

// copied returns the PersistentVolume of a volume that is a copy, and tells how the copy went.
func (p *Pool) copied(claim *v1.PersistentVolumeClaim, v volume.Volume, on *access.Keeper, r ledger.Record) (*v1.PersistentVolume, error) {
	v.CopyOf = r.CopyOf
	pv, err := v.PV(on.Source())
	if err != nil {
		return nil, err
	}
	text := "the volume is a copy of " + pv.Annotations[volume.AnnotationCopied]
	if left, some := pv.Annotations[volume.AnnotationCopyLeftOut]; some {
		text += "; not copied: " + left
	}
	p.Copies.Tell(claim, v1.EventTypeNormal, eventCopied, text)
	return pv, nil
}
