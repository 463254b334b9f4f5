package provisioner

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// copying is the copy of a volume for a claim.
type copying struct {
	*Pool

	on     *access.Keeper
	path   volpath.Path
	record ledger.Record
	claim  *v1.PersistentVolumeClaim
	class  class.Class
	size   uint64 // that the claim requests
}

// errClaimGone ends the copy for a claim that does not need it any more.
var errClaimGone = errors.New("the claim is gone, or has another volume")

// own is the own name of the volume, which names its job and its staging directory.
func (c *copying) own() string { return volpath.OwnAt(c.record.PV, c.record.Cluster, c.path) }

// find returns the directory of the source, which must still be that volume's.
func (c *copying) find(_ context.Context, store ledger.Store) (share.CopyFrom, error) {
	of := c.record.CopyOf
	if of.Kind == ledger.CopySnapshot {
		return steps.SnapshotTree(store, *of)
	}
	from, err := steps.SourceDirectory(store, *of, c.record.Claim)
	switch {
	case errors.Is(err, steps.ErrSourceGone):
		err = refusal.Refuse(refusal.ReasonSource, "the %s %q, which was to be copied, is gone, or was released meanwhile: delete this claim, and make it anew from another source", of.Kind, of.Claim.Name)
	case errors.Is(err, steps.ErrSourceOthers):
		err = errOthers(of)
	}
	return from, err
}

// wanted returns errClaimGone if the claim does not need the copy any more, and errElsewhere if another one is made for it. What cannot be asked counts as wanted.
func (c *copying) wanted(ctx context.Context) error {
	if c.elsewhere() {
		return errElsewhere
	}
	if now, unbound := c.Copies.Objects.UnboundClaim(c.claim.Namespace, c.claim.Name); unbound && now.UID == c.claim.UID && now.DeletionTimestamp == nil {
		return nil
	}
	now, err := c.Copies.Live.Claim(ctx, c.claim.Namespace, c.claim.Name)
	if err != nil || now != nil && now.UID == c.claim.UID && now.DeletionTimestamp == nil && now.Spec.VolumeName == "" {
		return nil //nolint:nilerr // asked again in a moment
	}
	return errClaimGone
}

// begin refuses what has no room, and records when the copy began.
func (c *copying) begin(ctx context.Context, source share.Usage) error {
	if err := c.checkOwner(ctx); err != nil {
		return err
	}
	if err := c.checkRoom(ctx, source); err != nil {
		return err
	}
	var now ledger.Record
	err := c.steps.On(ctx, access.Periodic{Keeper: c.on}, c.path, "begin the copy for "+c.record.PV, func(ctx context.Context, op steps.Op) (err error) {
		now, err = op.BeginCopy(c.record, c.unusedSince(ctx))
		return err
	})
	if err == nil { // only now: after a time-out the operation may still run
		c.record = now
	}
	return err
}

// checkRoom refuses a copy that begins and for which the share has too little room, or which is larger than the claim requests, unless
// the copy takes none because it shares the blocks of the source.
func (c *copying) checkRoom(ctx context.Context, source share.Usage) error {
	room, bytes := c.room(c.on), uint64(max(0, source.Bytes)) //nolint:gosec // not negative
	free := room.Free - min(room.Free, c.class.MinFree.Of(room.Size))
	begun := c.record.CopyOf.Began != nil // then the room was checked, and some of it is taken by this copy
	if (begun || bytes <= free) && bytes <= c.size {
		return nil
	}
	if c.record.CopyOf.Share == "" {
		shares, err := copies.SharesBlocks(ctx, c.on, c.own())
		if err != nil || shares {
			return err
		}
	}
	of := c.record.CopyOf
	if bytes > c.size {
		return refusal.Postpone(refusal.ReasonRoom, "%s %q holds %s, and this claim requests %s: delete this claim, and request at least as much, or remove data there; this is retried automatically",
			of.Kind, of.Claim.Name, class.FormatSize(float64(bytes)), class.FormatSize(float64(c.size)))
	}
	return refusal.Postpone(refusal.ReasonRoom, "%s %q holds %s, and %s has %s free for volumes of StorageClass %s: make room on the share; this is retried automatically",
		of.Kind, of.Claim.Name, class.FormatSize(float64(bytes)), nameOf(c.on), class.FormatSize(float64(free)), c.record.Class)
}

// complete records that the copy is whole, and whether a pod used the source meanwhile.
func (c *copying) complete(ctx context.Context, result share.Copied) error {
	if err := c.checkOwner(ctx); err != nil {
		return err
	}
	used := volume.UseBetween(c.record.CopyOf.UnusedSince, c.unusedSince(ctx))
	return c.steps.On(ctx, access.Periodic{Keeper: c.on}, c.path, "complete the copy for "+c.record.PV, func(ctx context.Context, op steps.Op) error {
		return op.CompleteCopy(ctx, c.record, result, used)
	})
}

// unusedSince is volume.UnusedSince of the source, and empty if that cannot be asked.
func (c *copying) unusedSince(ctx context.Context) string {
	of := c.record.CopyOf.Claim
	claim, err := c.Copies.Live.Claim(ctx, of.Namespace, of.Name)
	if err != nil || claim == nil || string(claim.UID) != of.UID {
		return ""
	}
	return volume.UnusedSince(claim)
}

func (c *copying) progress(text string) {
	c.Copies.Tell(c.claim, v1.EventTypeNormal, eventCopying, text)
}

// ended makes the library ask for the volume again, or removes what was copied for a claim that is gone.
func (c *copying) ended(ctx context.Context, err error) {
	if share.IsFull(err) {
		c.makeRoom(ctx)
	}
	if !errors.Is(err, errClaimGone) && !errors.Is(err, errElsewhere) {
		c.Copies.Retry(c.claim)
		return
	}
	c.Copies.Jobs.Forget(c.on, c.own())
	err = c.steps.On(ctx, access.Periodic{Keeper: c.on}, c.path, "remove the copy for "+c.record.PV, func(ctx context.Context, op steps.Op) error {
		return op.RemoveOrphan(ctx, func(ctx context.Context, now ledger.Record) error {
			if now.PV != c.record.PV || now.Cluster != c.record.Cluster {
				return steps.ErrNoOrphan
			}
			if now.Copying() && c.elsewhere() {
				return nil
			}
			return c.Copies.Live.Gone(ctx, now)
		})
	})
	if err != nil && !errors.Is(err, steps.ErrNoOrphan) { // the sweep tries again
		klog.FromContext(ctx).Info("Cannot remove the copy for a claim that is gone yet", "path", c.path, "because", err.Error())
	}
	c.Copies.Retry(c.claim)
}
