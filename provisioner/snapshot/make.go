package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

// content does what is to be done for a VolumeSnapshotContent of ours.
func (s *Snapshotter) content(ctx context.Context, on *lane, i item) error {
	content, found := s.config.Caches.Content(i.name)
	if !found || !s.ours(content.Spec.Driver) {
		return nil
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "content", content.Name))
	if on.keeper == nil {
		return s.elsewhere(ctx, content)
	}
	switch {
	case content.DeletionTimestamp != nil:
		return s.remove(ctx, on, content)
	case content.IsReady():
		return nil
	case content.Spec.Source.VolumeHandle != nil:
		return s.make(ctx, on, content)
	}
	return s.find(ctx, on, content)
}

// elsewhere is content for one that no share of ours has, as far as that is known.
func (s *Snapshotter) elsewhere(ctx context.Context, content *snapshots.VolumeSnapshotContent) error {
	if l := s.laneOf(content); l.keeper != nil {
		s.queue(content)
		return nil
	}
	if content.DeletionTimestamp != nil {
		return s.letGo(ctx, content, "its handle names no share that this claimdir serves")
	}
	for _, l := range s.lanes {
		if l.keeper != nil && l.keeper.ID() == "" {
			return fmt.Errorf("%s was not reached yet", shareName(l.keeper))
		}
	}
	handle := ""
	switch source := content.Spec.Source; {
	case source.VolumeHandle != nil:
		handle = *source.VolumeHandle
	case source.SnapshotHandle != nil:
		handle = *source.SnapshotHandle
	}
	return s.failed(ctx, content, fmt.Errorf("%w: handle %.300q names no share that this claimdir serves", errRefused, handle))
}

// make starts the copy of a volume, or finds that it runs, and says in the status when it is whole.
func (s *Snapshotter) make(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) error {
	var record ledger.Snapshot
	var found bool
	err := s.on(ctx, on, content.Name, "look for", func(ctx context.Context, op steps.SnapshotOp) (err error) {
		record, found, err = op.Find(ctx)
		return err
	})
	if err != nil {
		return s.failed(ctx, content, err)
	}
	if found {
		if err := fits(record, content); err != nil {
			return s.failed(ctx, content, err)
		}
		if record.Whole() {
			return s.publish(ctx, on, content, record)
		}
	}
	pv, err := s.source(ctx, content)
	if err != nil && !found {
		return s.failed(ctx, content, err)
	}
	job := &making{Snapshotter: s, lane: on, content: content, record: record}
	if !found {
		if job.record, err = s.newRecord(ctx, content, pv); err != nil {
			return s.failed(ctx, content, err)
		}
	}
	err = s.config.Copies.Start(copies.Job{
		Name: s.own(content.Name), Namespace: content.Spec.Snapshot.Namespace, To: on.keeper, From: on.keeper,
		Find: job.find, Wanted: job.wanted, Begin: job.begin, Complete: job.complete, Progress: job.progress, Ended: job.ended,
	})
	if err != nil {
		return s.failed(ctx, content, copyFailed(err))
	}
	return nil
}

// fits returns an errRefused unless the record is that of a dynamically made VolumeSnapshotContent: its name may have been used again,
// by somebody who wants what an earlier one had.
func fits(r ledger.Snapshot, content *snapshots.VolumeSnapshotContent) error {
	handle, err := parseVolumeHandle(*content.Spec.Source.VolumeHandle)
	if err == nil && (r.PV != handle.pv || r.Path != handle.path.String() || r.Claim.Namespace != content.Spec.Snapshot.Namespace || r.Name != content.Spec.Snapshot.Name) {
		err = errors.New("the snapshot of this name on the share is another one's")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

// source returns the PersistentVolume that is to be copied, if all agree on it: the handle, the VolumeSnapshot, its claim, and the
// PersistentVolume.
func (s *Snapshotter) source(ctx context.Context, content *snapshots.VolumeSnapshotContent) (*v1.PersistentVolume, error) {
	ref := content.Spec.Snapshot
	handle, err := parseVolumeHandle(*content.Spec.Source.VolumeHandle)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	snapshot, err := s.snapshotOf(ctx, content)
	if err != nil {
		return nil, err
	}
	if snapshot == nil || snapshot.Spec.Source.Claim == nil || content.Name != snapshots.ContentName(snapshot) {
		return nil, fmt.Errorf("%w: no VolumeSnapshot %s/%s of UID %q asks for VolumeSnapshotContent %s", errRefused, ref.Namespace, ref.Name, ref.UID, content.Name)
	}
	pv, ours := s.config.Cluster.Volume(handle.pv)
	switch {
	case !ours:
		return nil, fmt.Errorf("%w: PersistentVolume %s is none of claimdir's", errRefused, handle.pv)
	case pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Namespace != ref.Namespace || pv.Spec.ClaimRef.Name != *snapshot.Spec.Source.Claim || pv.Status.Phase != v1.VolumeBound:
		return nil, fmt.Errorf("%w: PersistentVolume %s is not bound to claim %q, of which VolumeSnapshot %s/%s is to be made: delete it, and make it anew of a claim that is Bound", errRefused, handle.pv, *snapshot.Spec.Source.Claim, ref.Namespace, ref.Name)
	}
	_, located, err := s.locate(pv)
	if err != nil {
		return nil, err
	}
	if located != handle {
		return nil, fmt.Errorf("%w: the volumeHandle names another directory than PersistentVolume %s does", errRefused, handle.pv)
	}
	return pv, nil
}

// snapshotOf returns the VolumeSnapshot that a VolumeSnapshotContent names, or nil if the API server says that there is none.
func (s *Snapshotter) snapshotOf(ctx context.Context, content *snapshots.VolumeSnapshotContent) (*snapshots.VolumeSnapshot, error) {
	ref := content.Spec.Snapshot
	snapshot, found := s.config.Caches.Snapshot(ref.Namespace, ref.Name)
	if found && snapshot.UID == ref.UID {
		return snapshot, nil
	}
	snapshot, err := s.config.Client.Snapshot(ctx, ref.Namespace, ref.Name)
	if err != nil || snapshot == nil || snapshot.UID != ref.UID {
		return nil, err
	}
	return snapshot, nil
}

// newRecord returns the record of a snapshot that is to be made.
func (s *Snapshotter) newRecord(ctx context.Context, content *snapshots.VolumeSnapshotContent, pv *v1.PersistentVolume) (ledger.Snapshot, error) {
	on, handle, err := s.locate(pv)
	if err != nil {
		return ledger.Snapshot{}, err
	}
	ref := pv.Spec.ClaimRef
	uid, err := s.config.Cluster.Namespace(ctx, ref.Namespace)
	if err != nil {
		return ledger.Snapshot{}, err
	}
	v, err := volumeFromPV(on, pv)
	if err != nil {
		return ledger.Snapshot{}, err
	}
	r := ledger.Snapshot{Record: v.Record(), Content: content.Name, Name: content.Spec.Snapshot.Name}
	r.Path, r.PV, r.Cluster, r.Policy, r.ReclaimPolicy, r.Class = handle.path.String(), pv.Name, s.cluster(), "", "", ""
	r.Claim = ledger.Claim{Namespace: ref.Namespace, Name: ref.Name, UID: string(ref.UID), NamespaceUID: uid}
	r.ArchiveRetention = content.Annotations[snapshots.AnnotationRetention]
	if content.Spec.Class != nil {
		r.Class = *content.Spec.Class
	}
	r.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim, Path: r.Path, PV: r.PV, Cluster: r.Cluster, Claim: r.Claim}
	return r, nil
}

// publish says in the status that a snapshot is whole.
func (s *Snapshotter) publish(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent, r ledger.Snapshot) error {
	size, err := resource.ParseQuantity(r.Size)
	if err != nil {
		return s.failed(ctx, content, fmt.Errorf("the record of the snapshot has size %q: %w", r.Size, err))
	}
	handle := dataHandle{share: on.keeper.ID(), content: r.Content}
	if s.isOthers(r) {
		handle.cluster = r.Cluster
	}
	err = s.setStatus(ctx, content, map[string]any{
		"snapshotHandle": handle.String(),
		"creationTime":   beganAt(r).UnixNano(),
		"restoreSize":    size.Value(),
		"readyToUse":     true,
		"error":          nil,
	})
	if snapshots.IsAbsent(err) {
		return nil
	}
	return err
}

// beganAt is when the copy of a snapshot began: no change that was made before is missing in it.
func beganAt(r ledger.Snapshot) time.Time {
	if r.CopyOf != nil && r.CopyOf.Began != nil {
		return *r.CopyOf.Began
	}
	return r.Created
}

// on runs an operation on a snapshot of this cluster.
func (s *Snapshotter) on(ctx context.Context, on *lane, content, what string, work func(ctx context.Context, op steps.SnapshotOp) error) error {
	return s.onOf(ctx, on, steps.SnapshotOf{Content: content, Cluster: s.cluster()}, what, work)
}

// onOf is on for a snapshot of any cluster.
func (s *Snapshotter) onOf(ctx context.Context, on *lane, of steps.SnapshotOf, what string, work func(ctx context.Context, op steps.SnapshotOp) error) error {
	return s.config.Steps.OnSnapshot(ctx, access.Periodic{Keeper: on.keeper}, of, what+" snapshot "+of.Content, work)
}
