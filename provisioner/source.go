package provisioner

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// source is what a claim is to be a copy of.
type source struct {
	copy ledger.Copy // without its Share
	on   *access.Keeper
}

// wantedSource finds the source of a claim when it is needed, and once.
type wantedSource struct {
	look  func(ctx context.Context) (*source, error)
	found *source
}

// sourceWanted returns what finds the source of a claim, or nil if the claim is to be no copy.
func (p *Pool) sourceWanted(claim *v1.PersistentVolumeClaim, v volume.Volume, c class.Class) (*wantedSource, error) {
	from := pvs.DataSource(claim)
	archive, ofArchive := claim.Annotations[volume.AnnotationRestoreCopy]
	switch {
	case from == nil && !ofArchive:
		return nil, nil
	case p.Copies == nil:
		return nil, refusal.Refuse(refusal.ReasonClaim, "spec.dataSource or annotation %s: this claimdir makes no copies", volume.AnnotationRestoreCopy)
	case ofArchive:
		return &wantedSource{look: func(ctx context.Context) (*source, error) {
			return p.archiveToCopy(ctx, claim, v, steps.Wanted{Name: archive, Adopts: c.OnExisting == class.Adopt, Copies: true})
		}}, nil
	case pvs.IsSnapshot(from):
		return &wantedSource{look: func(ctx context.Context) (*source, error) {
			on, of, err := p.Copies.Snapshot(ctx, claim)
			return &source{on: on, copy: of}, err
		}}, nil
	}
	return &wantedSource{look: func(ctx context.Context) (*source, error) { return p.sourceOf(ctx, claim) }}, nil
}

func (w *wantedSource) find(ctx context.Context) (*source, error) {
	if w.found != nil {
		return w.found, nil
	}
	found, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	w.found = found
	return found, nil
}

// archiveToCopy returns the archive that a claim wants a copy of. As a copy of a claim or a snapshot, it must request as much: see
// CopyOfArchive.
func (p *Pool) archiveToCopy(ctx context.Context, claim *v1.PersistentVolumeClaim, v volume.Volume, w steps.Wanted) (*source, error) {
	on, r, err := p.findArchive(ctx, v, w, p.shares)
	if err != nil {
		return nil, err
	}
	if !volume.AsksEnough(claim, volume.RecordedSize(r)) {
		request := claim.Spec.Resources.Requests[v1.ResourceStorage]
		return nil, refusal.Refuse(refusal.ReasonSource, "spec.resources.requests.storage %s: the archive of volume %s, which is to be copied, has %s; a copy must request at least as much", request.String(), r.PV, r.Size)
	}
	return &source{on: on, copy: ledger.Copy{Kind: ledger.CopyArchive, Path: r.Path, PV: r.PV, Cluster: r.Cluster, Claim: r.Claim}}, nil
}

// findUnlessBegun finds the source of a copy that has no record on the share yet: one that has knows its source. It does
// nothing if w is nil. It is no part of the operation that makes the volume, because it may need another one.
func (p *Pool) findUnlessBegun(ctx context.Context, w *wantedSource, on *access.Keeper, v volume.Volume) error {
	if w == nil {
		return nil
	}
	begun := false
	err := on.Do(ctx, "look for "+v.Name, func(_ context.Context, store ledger.Store) error {
		r, found, err := store.Records.Own(v.Path, v.Name, v.Cluster)
		begun = found && r.CopyOf != nil
		return err
	})
	if err != nil {
		return steps.Refused(err)
	}
	if !begun {
		_, err = w.find(ctx)
	}
	return err
}

// to returns what says of which source the volume on a share is a copy: see steps.Begin. It returns nil if w is nil.
func (w *wantedSource) to(on *access.Keeper) func() (*ledger.Copy, error) {
	if w == nil {
		return nil
	}
	return func() (*ledger.Copy, error) {
		if w.found == nil { // the record that findUnlessBegun saw went
			return nil, refusal.Postpone(refusal.ReasonBusy, "what was begun of the copy has just been removed; this is retried automatically")
		}
		c := w.found.copy
		if w.found.on != on {
			c.Share = w.found.on.ID()
		}
		return &c, nil
	}
}

// besideSource returns, of several shares, the one that has the source, where the server may copy it by itself, or else
// the one with the most room.
func (p *Pool) besideSource(ctx context.Context, w *wantedSource, v volume.Volume, c class.Class, candidates []*access.Keeper) (*access.Keeper, error) {
	from, err := w.find(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(candidates, from.on) {
		candidates = []*access.Keeper{from.on}
	}
	return p.roomiest(v, c, candidates)
}

// sourceOf returns what a claim is to be a copy of: the volume of a claim of its namespace that is bound, is ours, and is
// not larger than what the claim requests. A source that is deleted after the claim was made still counts: Delete keeps it.
func (p *Pool) sourceOf(ctx context.Context, claim *v1.PersistentVolumeClaim) (*source, error) {
	name := pvs.DataSource(claim).Name
	pv, err := p.sourceVolume(ctx, claim, name)
	if err != nil {
		return nil, err
	}
	if !p.Copies.Names.Serve(pv) {
		return nil, refusal.Refuse(refusal.ReasonSource, "spec.dataSource: claimdir has not made the volume of claim %q, so it cannot copy it: copy the files with a pod that mounts both claims", name)
	}
	on, v, err := p.find(pv)
	if err != nil {
		return nil, refusal.Refuse(refusal.ReasonSource, "spec.dataSource: the volume of claim %q: %s", name, refusal.Message(err))
	}
	if size := pv.Spec.Capacity[v1.ResourceStorage]; !volume.AsksEnough(claim, size) {
		request := claim.Spec.Resources.Requests[v1.ResourceStorage]
		return nil, refusal.Refuse(refusal.ReasonSource, "spec.resources.requests.storage %s: claim %q, which is to be copied, has %s; a copy must request at least as much", request.String(), name, size.String())
	}
	return &source{on: on, copy: ledger.Copy{Kind: ledger.CopyClaim, Path: v.Path.String(), PV: pv.Name, Cluster: p.steps.Cluster(), Claim: v.Claim}}, nil
}

// sourceVolume returns the PersistentVolume of the claim that is to be copied.
func (p *Pool) sourceVolume(ctx context.Context, claim *v1.PersistentVolumeClaim, name string) (*v1.PersistentVolume, error) {
	from, err := p.Copies.Live.Claim(ctx, claim.Namespace, name)
	if err != nil {
		return nil, refusal.Postpone(refusal.ReasonCluster, "spec.dataSource: %w", err)
	}
	if from == nil || from.CreationTimestamp.After(claim.CreationTimestamp.Time) {
		if pv := p.keptSource(claim, name); pv != nil {
			return pv, nil
		}
	}
	if err := checkSource(from, claim, name); err != nil {
		return nil, err
	}
	pv, err := p.Copies.Live.Volume(ctx, from.Spec.VolumeName)
	switch {
	case err != nil:
		return nil, refusal.Postpone(refusal.ReasonCluster, "spec.dataSource: %w", err)
	case pv == nil || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != from.UID:
		return nil, refusal.Postpone(refusal.ReasonSource, "spec.dataSource: PersistentVolume %s is not bound to claim %q; this is retried automatically", from.Spec.VolumeName, name)
	}
	return pv, nil
}

// checkSource refuses a claim that cannot be copied now. It is nil if there is none.
func checkSource(from, claim *v1.PersistentVolumeClaim, name string) error {
	switch {
	case from == nil:
		return refusal.Postpone(refusal.ReasonSource, "spec.dataSource: there is no claim %q in namespace %q; create it, or delete this claim; this is retried automatically", name, claim.Namespace)
	case from.Spec.VolumeName == "" || from.Status.Phase != v1.ClaimBound:
		return refusal.Postpone(refusal.ReasonSource, "spec.dataSource: claim %q is %s: it is copied when it is bound; this is retried automatically", name, from.Status.Phase)
	case from.DeletionTimestamp != nil && from.DeletionTimestamp.Before(&claim.CreationTimestamp):
		return refusal.Postpone(refusal.ReasonSource, "spec.dataSource: claim %q is being deleted, and was when this claim was made; delete this claim; this is retried automatically", name)
	}
	return nil
}

// keptSource returns the PersistentVolume of a claim of that name that is gone by now, if it is kept for this copy. Of several the one that was
// released first is meant: its claim was there when the copy was wanted, and left its name to the later ones.
func (p *Pool) keptSource(claim *v1.PersistentVolumeClaim, name string) (kept *v1.PersistentVolume) {
	for _, pv := range p.Copies.Objects.Released() {
		ref := pv.Spec.ClaimRef
		if ref == nil || ref.Namespace != claim.Namespace || ref.Name != name || !keptFor(pv, claim) {
			continue
		}
		if kept == nil || pv.Status.LastPhaseTransitionTime.Before(kept.Status.LastPhaseTransitionTime) {
			kept = pv
		}
	}
	return kept
}
