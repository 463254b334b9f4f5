package provisioner

import (
	"context"
	"errors"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
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

// errClaimGone ends the copy for a claim that does not need it any more.
var errClaimGone = errors.New("the claim is gone, or has another volume")

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
	p.Copies.begun.begin(r.Claim.UID, copyPlace{on, v.Path})
	job := &copying{Pool: p, on: on, path: v.Path, record: r, claim: claim, class: c, size: uint64(max(0, v.Size.Value()))} //nolint:gosec // not negative
	err := p.Copies.Jobs.Start(copies.Job{                                                                                  //nolint:contextcheck // it runs as long as this process leads
		Name: volpath.OwnAt(r.PV, r.Cluster, v.Path), Namespace: claim.Namespace, To: on, From: from,
		Find: job.find, Wanted: job.wanted, Begin: job.begin, Complete: job.complete, Progress: job.progress, Ended: job.ended,
	})
	if err != nil {
		return copyFailed(r, err)
	}
	return &controller.IgnoredError{Reason: errCopyRuns.Error()}
}

// copyFailed gives the error of a copy its reason and its way out.
func copyFailed(r ledger.Record, err error) error {
	var already *refusal.Refusal
	var trouble *access.Trouble
	if errors.As(err, &already) || errors.As(err, &trouble) {
		return steps.Refused(err)
	}
	next := "goes on where it was"
	if share.IsFull(err) {
		next = "begins anew"
	}
	if advice := share.Advice(err); advice != "" {
		next = advice + "; this is retried automatically, and " + next
		return refusal.Postpone(refusal.ReasonCopy, "the copy of %s %q failed: %w: %s", r.CopyOf.Kind, r.CopyOf.Claim.Name, err, next)
	}
	return refusal.Postpone(refusal.ReasonCopy, "the copy of %s %q failed: %w; this is retried automatically, and %s", r.CopyOf.Kind, r.CopyOf.Claim.Name, err, next)
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

// find returns the directory of the source, which must still be that volume's.
func (c *copying) find(_ context.Context, store ledger.Store) (share.CopyFrom, error) {
	of := c.record.CopyOf
	if of.Kind == ledger.CopySnapshot {
		return steps.SnapshotTree(store, *of)
	}
	path, err := volpath.ParseRecorded(of.Path)
	if err != nil {
		return share.CopyFrom{}, err
	}
	r, found, err := store.Records.Own(path, of.PV, of.Cluster)
	if err != nil {
		return share.CopyFrom{}, err
	}
	is := map[ledger.CopyKind]ledger.State{ledger.CopyClaim: ledger.Active, ledger.CopyArchive: ledger.Archived}
	if !found || r.State != is[of.Kind] {
		return share.CopyFrom{}, refusal.Refuse(refusal.ReasonSource, "the %s %q, which was to be copied, is gone, or was released meanwhile: delete this claim, and make it anew from another source", of.Kind, of.Claim.Name)
	}
	if of.Kind == ledger.CopyClaim && !r.Claim.LeavesTo(c.record.Claim) {
		return share.CopyFrom{}, errOthers(of)
	}
	return share.CopyFrom{Path: path, Identity: r.Directory}, nil
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
		shares := false
		err := c.on.Background(ctx, "try to share blocks", func(_ context.Context, store ledger.Store) (err error) {
			shares, err = store.Dirs.SharesBlocks(volpath.OwnAt(c.record.PV, c.record.Cluster, c.path))
			return err
		})
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
	used := useBetween(c.record.CopyOf.UnusedSince, c.unusedSince(ctx))
	return c.steps.On(ctx, access.Periodic{Keeper: c.on}, c.path, "complete the copy for "+c.record.PV, func(ctx context.Context, op steps.Op) error {
		return op.CompleteCopy(ctx, c.record, result, used)
	})
}

// unusedSince returns since when no pod has used the source, in RFC 3339; "in use" if one uses it; and nothing if the cluster does not say
// it, as before Kubernetes 1.37.
func (c *copying) unusedSince(ctx context.Context) string {
	of := c.record.CopyOf.Claim
	claim, err := c.Copies.Live.Claim(ctx, of.Namespace, of.Name)
	if err != nil || claim == nil || string(claim.UID) != of.UID {
		return ""
	}
	for _, condition := range claim.Status.Conditions {
		if condition.Type != v1.PersistentVolumeClaimUnused {
			continue
		}
		if condition.Status == v1.ConditionTrue {
			return condition.LastTransitionTime.UTC().Format(time.RFC3339)
		}
		return inUse
	}
	return ""
}

// inUse is recorded in place of a time if a pod used the source when the copy began.
const inUse = "in use"

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
	c.Copies.Jobs.Forget(c.on, volpath.OwnAt(c.record.PV, c.record.Cluster, c.path))
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
