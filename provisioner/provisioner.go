package provisioner

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Provisioner makes and releases volumes for one controller of the library. Each
// share has one, so that one that hangs holds the workers of no other; where
// there are several, one more serves what is no single share's: classes that
// name several shares, and what is to be refused.
type Provisioner struct {
	*Pool

	share *access.Keeper // nil for that one
}

var (
	_ controller.Provisioner   = &Provisioner{}
	_ controller.Qualifier     = &Provisioner{}
	_ controller.DeletionGuard = &Provisioner{}
)

// Provision makes the directory of a claim and returns its PersistentVolume.
// Errors are *refusal.Refusal. The state is always Finished: nothing goes on in the
// background, and what a failed call leaves its repeat finds.
func (p *Provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	pv, err := p.provision(ctx, o)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return pv, controller.ProvisioningFinished, nil
}

func (p *Provisioner) provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, error) {
	v, c, err := p.describe(ctx, o)
	if err != nil {
		return nil, err
	}
	from, err := p.sourceWanted(o.PVC, v, c)
	if err != nil {
		return nil, err
	}
	on, err := p.choose(ctx, o.PVC, v, c, from)
	if err != nil {
		return nil, err
	}
	pv, err := v.PV(on.Source())
	if err == nil {
		err = p.findUnlessBegun(ctx, from, on, v)
	}
	if err != nil {
		return nil, err
	}
	var record ledger.Record
	err = p.steps.On(ctx, on, v.Path, "provision "+v.Name, func(ctx context.Context, op steps.Op) (err error) {
		if p.Copies != nil && p.Copies.Jobs.Runs(on, volpath.OwnAt(v.Name, v.Cluster, v.Path)) {
			return errCopyRuns
		}
		record, err = op.Create(ctx, v, steps.Begin{Existing: c.OnExisting, Room: func() error { return p.mayBegin(on, c, v) }, CopyOf: from.to(on)})
		return err
	})
	if unfinished, is := errors.AsType[*steps.CopyingError](err); is {
		return nil, p.startCopy(on, unfinished.Record, o.PVC, v, c)
	}
	if errors.Is(err, errCopyRuns) {
		return nil, &controller.IgnoredError{Reason: err.Error()}
	}
	if err != nil {
		p.giveRoomBack(on, v)
		return nil, err
	}
	p.startedOn.succeeded(v.Name)
	if record.CopyOf.Whole() {
		return p.copied(o.PVC, v, on, record)
	}
	return pv, nil
}

// describe returns the volume that a claim requests, and its class, or refuses it.
func (p *Provisioner) describe(ctx context.Context, o controller.ProvisionOptions) (v volume.Volume, c class.Class, err error) {
	c, err = p.classes.Parse(string(o.StorageClass.UID), o.StorageClass.Parameters)
	if err = errors.Join(err, class.CheckMountOptions(o.StorageClass.MountOptions)); err != nil {
		return v, c, refusal.Refuse(refusal.ReasonClass, "StorageClass %s: %w", o.StorageClass.Name, err)
	}
	if err := volume.Check(o.PVC); err != nil {
		return v, c, err
	}
	if err := p.checkMeasured(o.StorageClass.Name, c); err != nil {
		return v, c, err
	}
	path, err := c.Pattern.Expand(volume.Vars(o.PVName, o.PVC))
	if err != nil {
		return v, c, refusal.Refuse(refusal.ReasonPath, "%w", err)
	}
	v = volume.FromClaim(o.PVName, o.PVC, o.StorageClass, c, path)
	v.Cluster = p.steps.Cluster()
	v.Claim, err = p.steps.InNamespace(ctx, v.Claim)
	return v, c, err
}

// Delete does with a released volume's directory what its PersistentVolume
// says. It returns nil when the PersistentVolume may go. Errors are *refusal.Refusal.
func (p *Provisioner) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	on, v, err := p.find(pv)
	if err != nil {
		return err
	}
	if claim := p.awaited(pv); claim != "" {
		return refusal.Unchanged(refusal.Postpone(refusal.ReasonBusy, "claim %q of namespace %q is to be a copy of this volume and has not got it yet: "+
			"the volume is released when it has, or when that claim is deleted; this is retried automatically", claim, v.Claim.Namespace))
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "path", v.Path))
	return p.steps.On(ctx, on, v.Path, "release "+v.Name, func(ctx context.Context, op steps.Op) error {
		return op.Release(ctx, v)
	})
}

// ShouldProvision implements the library's Qualifier. It keeps off claims that
// are being deleted, and those to be filled from an object that is neither a
// claim nor a snapshot: a volume populator makes their volume; and off those of
// another Provisioner's share. It is asked for every unbound claim of the cluster
// and says no without an event.
func (p *Provisioner) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return claim.DeletionTimestamp == nil && !volume.ForPopulator(claim) && p.ownsClaim(claim)
}

// ShouldDelete implements the library's DeletionGuard.
func (p *Provisioner) ShouldDelete(_ context.Context, pv *v1.PersistentVolume) bool {
	return p.Owns(pv)
}

// ownsClaim reports whether the claim is this Provisioner's. All ask the same
// question, so exactly one says yes.
func (p *Provisioner) ownsClaim(claim *v1.PersistentVolumeClaim) bool {
	if len(p.shares) == 1 {
		return true
	}
	sc, found := p.objects.Class(volume.ClassOfClaim(claim))
	if !found {
		return p.share == nil
	}
	c, err := p.classes.Parse(string(sc.UID), sc.Parameters)
	if err != nil {
		return p.share == nil
	}
	candidates, err := p.candidates(c)
	if err != nil || len(candidates) > 1 {
		return p.share == nil
	}
	return p.share == candidates[0]
}

// Owns reports whether the PersistentVolume is this Provisioner's.
func (p *Provisioner) Owns(pv *v1.PersistentVolume) bool {
	if len(p.shares) == 1 {
		return true
	}
	on, _, err := p.find(pv)
	if err != nil {
		return p.share == nil
	}
	return p.share == on
}
