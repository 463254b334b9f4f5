package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

// remove ends a VolumeSnapshotContent that is being deleted: its tree goes into the trash, or is recorded as kept, and then the
// finalizer goes. As a CSI driver does, it waits until the VolumeSnapshot is being deleted too, or is gone.
func (s *Snapshotter) remove(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) error {
	if !slices.Contains(content.Finalizers, snapshots.Finalizer) {
		return nil // it goes, or others have to do with it first
	}
	if released, err := s.released(ctx, content); err != nil || !released {
		return err
	}
	err := s.removeData(ctx, on, content)
	switch {
	case errors.Is(err, errRefused): // what it names is not its
		return s.letGo(ctx, content, err.Error())
	case errors.Is(err, errWaits), isBusy(err), ctx.Err() != nil:
		return err
	case err != nil:
		s.tellContent(content, v1.EventTypeWarning, eventFailed, err.Error()+"; this is retried automatically")
		return err
	}
	return s.dropFinalizer(ctx, content)
}

// errWaits says that the data of a snapshot is still needed.
var errWaits = errors.New("it waits")

// errOthers says that the data of a snapshot is another cluster's.
var errOthers = errors.New("it is another cluster's")

// released reports whether nothing needs a VolumeSnapshotContent that is being deleted: its VolumeSnapshot is being deleted or gone.
func (s *Snapshotter) released(ctx context.Context, content *snapshots.VolumeSnapshotContent) (bool, error) {
	if content.Spec.Snapshot.UID == "" || content.Annotations[snapshots.AnnotationBeingDeleted] != "" {
		return true, nil
	}
	snapshot, err := s.snapshotOf(ctx, content)
	return snapshot == nil && err == nil, err
}

// removeData does with the tree of a VolumeSnapshotContent what its deletionPolicy says.
func (s *Snapshotter) removeData(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) error {
	name, err := s.dataOf(ctx, on, content)
	if errors.Is(err, errOthers) {
		klog.FromContext(ctx).Info("The data of the VolumeSnapshotContent stays, because it is another cluster's", "handle", content.DataHandle())
		return nil
	}
	if err != nil {
		return err
	}
	keeps := content.Spec.DeletionPolicy == snapshots.Retain
	if other := s.otherOf(on, content, name); other != "" {
		klog.FromContext(ctx).Info("The data of the VolumeSnapshotContent stays, because another one names it", "other", other)
		return nil
	}
	// Also one that is kept: as long as a claim is restored from it, nobody shall purge it.
	if claim := s.reading(content); claim != "" {
		s.tellContent(content, v1.EventTypeNormal, eventWaits, fmt.Sprintf("it goes when claim %q is restored from it, or deleted; this is retried automatically", claim))
		return fmt.Errorf("%w: claim %q is restored from the snapshot", errWaits, claim)
	}
	return s.on(ctx, on, name, "remove", func(ctx context.Context, op steps.SnapshotOp) error {
		if keeps {
			return op.Keep(ctx)
		}
		return op.Discard(ctx)
	})
}

// reading returns the name of a claim that is restored from the snapshot of a VolumeSnapshotContent that is being deleted, or an empty
// name.
func (s *Snapshotter) reading(content *snapshots.VolumeSnapshotContent) string {
	var size resource.Quantity
	if status := content.Status; status != nil && status.RestoreSize != nil {
		size.Set(*status.RestoreSize)
	}
	ref := content.Spec.Snapshot
	return s.config.Reading(ref.Namespace, ref.Name, size, content.DeletionTimestamp.Time)
}

// dataOf returns the name of the snapshot on the share that is that of a VolumeSnapshotContent. The error is an errRefused if the one
// that it names is another one's, and errOthers if it is another cluster's.
func (s *Snapshotter) dataOf(ctx context.Context, on *lane, content *snapshots.VolumeSnapshotContent) (name string, err error) {
	if content.Spec.Source.VolumeHandle == nil {
		r, err := s.named(ctx, on, content)
		if err == nil && s.isOthers(r) {
			err = errOthers
		}
		return r.Content, err
	}
	err = s.on(ctx, on, content.Name, "look for", func(_ context.Context, op steps.SnapshotOp) error {
		r, found, err := op.Record()
		if err != nil || !found {
			return err
		}
		return fits(r, content)
	})
	return content.Name, err
}

// otherOf returns the name of another VolumeSnapshotContent that names the same snapshot on the share, or an empty name.
func (s *Snapshotter) otherOf(on *lane, content *snapshots.VolumeSnapshotContent, name string) string {
	for _, other := range s.config.Caches.OfData(dataHandle{share: on.keeper.ID(), content: name}.String()) {
		if other.Name != content.Name && s.ours(other.Spec.Driver) && other.DeletionTimestamp == nil && other.IsReady() {
			return other.Name
		}
	}
	return ""
}

// letGo lets a VolumeSnapshotContent go of which nothing is ours.
func (s *Snapshotter) letGo(ctx context.Context, content *snapshots.VolumeSnapshotContent, why string) error {
	if !slices.Contains(content.Finalizers, snapshots.Finalizer) {
		return nil
	}
	if released, err := s.released(ctx, content); err != nil || !released {
		return err
	}
	if content.Spec.DeletionPolicy == snapshots.Delete {
		s.tellContent(content, v1.EventTypeWarning, eventRefused, "the object goes, and no data with it: "+why)
	}
	return s.dropFinalizer(ctx, content)
}

// dropFinalizer lets a VolumeSnapshotContent go. A stop of the process does not interrupt it.
func (s *Snapshotter) dropFinalizer(ctx context.Context, content *snapshots.VolumeSnapshotContent) error {
	left := slices.DeleteFunc(slices.Clone(content.Finalizers), func(f string) bool { return f == snapshots.Finalizer })
	err := s.config.Client.PatchContent(context.WithoutCancel(ctx), content.Name, finalizersPatch(&content.ObjectMeta, left))
	if snapshots.IsAbsent(err) {
		return nil
	}
	return err
}

// finalizersPatch returns a patch that exchanges the finalizers of an object that has not changed since it was read.
func finalizersPatch(of *metav1.ObjectMeta, finalizers []string) []byte {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": of.UID, "resourceVersion": of.ResourceVersion, "finalizers": finalizers}})
	if err != nil { // cannot happen: these are texts
		panic(err)
	}
	return data
}

// namedInCache reports whether an object of the cluster names a snapshot of this cluster, as far as the cache knows.
func (s *Snapshotter) namedInCache(on *lane, r ledger.Snapshot) bool {
	if content, found := s.config.Caches.Content(r.Content); found && s.ours(content.Spec.Driver) {
		return true
	}
	for _, content := range s.config.Caches.OfData(dataHandle{share: on.keeper.ID(), content: r.Content}.String()) {
		if s.ours(content.Spec.Driver) {
			return true
		}
	}
	return false
}
