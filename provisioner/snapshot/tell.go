package snapshot

import (
	"context"
	"errors"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/refusal"
)

// Reasons of events on VolumeSnapshots and VolumeSnapshotContents.
const (
	eventCopying = "Copying"
	eventMade    = "SnapshotMade"
	eventFailed  = "SnapshotFailed"
	eventRefused = "SnapshotRefused"
	eventWaits   = "SnapshotDeletionWaits"
)

// errRefused marks what no retry helps: the object itself must change, or somebody else.
var errRefused = errors.New("refused")

// warn publishes a warning on a VolumeSnapshot.
func (s *Snapshotter) warn(snapshot *snapshots.VolumeSnapshot, reason, text string) {
	s.config.Tell(&v1.ObjectReference{
		APIVersion: snapshots.APIVersion, Kind: snapshots.KindSnapshot, Namespace: snapshot.Namespace, Name: snapshot.Name, UID: snapshot.UID, ResourceVersion: snapshot.ResourceVersion,
	}, v1.EventTypeWarning, reason, text)
}

// tellOwner publishes an event on the VolumeSnapshot that a VolumeSnapshotContent names.
func (s *Snapshotter) tellOwner(content *snapshots.VolumeSnapshotContent, kind, reason, text string) {
	ref := content.Spec.Snapshot
	if ref.UID == "" {
		return
	}
	s.config.Tell(&v1.ObjectReference{APIVersion: snapshots.APIVersion, Kind: snapshots.KindSnapshot, Namespace: ref.Namespace, Name: ref.Name, UID: ref.UID}, kind, reason, text)
}

func (s *Snapshotter) tellContent(content *snapshots.VolumeSnapshotContent, kind, reason, text string) {
	s.config.Tell(&v1.ObjectReference{
		APIVersion: snapshots.APIVersion, Kind: snapshots.KindContent, Name: content.Name, UID: content.UID, ResourceVersion: content.ResourceVersion,
	}, kind, reason, text)
}

// setStatus changes the status of a VolumeSnapshotContent, if it is still that very one. A stop of the process does not interrupt it.
func (s *Snapshotter) setStatus(ctx context.Context, content *snapshots.VolumeSnapshotContent, status map[string]any) error {
	patch := cluster.Patch(&metav1.ObjectMeta{UID: content.UID}, "status", status)
	return s.config.Client.PatchContent(context.WithoutCancel(ctx), content.Name, patch, "status")
}

// failed says in an event and in the status why a snapshot is not there, and returns err, or nil if no retry helps.
func (s *Snapshotter) failed(ctx context.Context, content *snapshots.VolumeSnapshotContent, err error) error {
	if ctx.Err() != nil || isBusy(err) {
		return err
	}
	text, reason := err.Error(), eventFailed
	switch {
	case errors.Is(err, errRefused):
		reason = eventRefused
		s.tellContent(content, v1.EventTypeWarning, reason, text)
	case !strings.Contains(text, "retried automatically"):
		text += "; this is retried automatically"
	}
	if !errors.Is(err, errRefused) || s.mayTell(content) {
		s.tellOwner(content, v1.EventTypeWarning, reason, text)
	}
	if current := content.Status; current == nil || current.Error == nil || current.Error.Message == nil || *current.Error.Message != text {
		status := map[string]any{"readyToUse": false, "error": map[string]any{"time": s.now().UTC().Format("2006-01-02T15:04:05Z"), "message": text}}
		if patchErr := s.setStatus(ctx, content, status); patchErr != nil && !snapshots.IsAbsent(patchErr) {
			return errors.Join(err, patchErr)
		}
	}
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// isBusy reports whether an operation was refused because another one on the snapshot is under way.
func isBusy(err error) bool {
	refused, is := errors.AsType[*refusal.Refusal](err)
	return is && refused.Reason() == refusal.ReasonBusy
}

// mayTell reports whether the VolumeSnapshot that a VolumeSnapshotContent names is there and is bound to it: otherwise whoever may make
// VolumeSnapshotContents could publish events on the VolumeSnapshots of others.
func (s *Snapshotter) mayTell(content *snapshots.VolumeSnapshotContent) bool {
	ref := content.Spec.Snapshot
	snapshot, found := s.config.Caches.Snapshot(ref.Namespace, ref.Name)
	return found && snapshot.UID == ref.UID && snapshot.Status != nil && snapshot.Status.Content != nil && *snapshot.Status.Content == content.Name
}
