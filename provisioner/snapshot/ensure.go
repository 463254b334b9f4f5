package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/volume"
)

// ensure makes the VolumeSnapshotContent of a VolumeSnapshot of a claim, if that is ours. What it cannot decide yet it returns as an
// error, and is asked again.
func (s *Snapshotter) ensure(ctx context.Context, i item) error {
	snapshot, found := s.config.Caches.Snapshot(i.namespace, i.name)
	if !found || snapshot.DeletionTimestamp != nil || snapshot.Spec.Source.Claim == nil || snapshot.Status != nil && snapshot.Status.Content != nil {
		return nil
	}
	if content, made := s.config.Caches.Content(snapshots.ContentName(snapshot)); made {
		return s.check(snapshot, content)
	}
	if snapshot.Spec.Class == nil {
		return s.setClass(ctx, snapshot)
	}
	of, found := s.config.Caches.Class(*snapshot.Spec.Class)
	if !found || !s.ours(of.Driver) {
		return nil // if the class is made, its handler comes back to the snapshot
	}
	parameters, err := class.ParseSnapshot(of.Parameters, of.DeletionPolicy == snapshots.Retain)
	if err != nil {
		s.warn(snapshot, eventRefused, fmt.Sprintf("VolumeSnapshotClass %s: %s", of.Name, strings.ReplaceAll(err.Error(), "\n", "; ")))
		return nil
	}
	handle, err := s.volumeOf(ctx, snapshot)
	switch {
	case errors.Is(err, errRefused):
		s.warn(snapshot, eventRefused, err.Error())
		return nil
	case err != nil:
		return err
	}
	return s.create(ctx, snapshot, of, parameters, handle)
}

// setClass sets the class of a VolumeSnapshot that names none: the default class of claimdir, if there is exactly one, and if the
// claim's volume is ours. The snapshot-controller does that for CSI volumes.
func (s *Snapshotter) setClass(ctx context.Context, snapshot *snapshots.VolumeSnapshot) error {
	var defaults []string
	for _, c := range s.config.Caches.Classes() {
		if s.ours(c.Driver) && c.Annotations[snapshots.AnnotationDefaultClass] == "true" {
			defaults = append(defaults, c.Name)
		}
	}
	if len(defaults) == 0 {
		return nil // if there is one, its handler comes back to the snapshot
	}
	if _, err := s.volumeOf(ctx, snapshot); err != nil {
		if errors.Is(err, errRefused) { // it is for others
			return nil
		}
		return err
	}
	if len(defaults) > 1 {
		s.warn(snapshot, eventRefused, fmt.Sprintf("%d VolumeSnapshotClasses of claimdir are marked as the default one (%s): name one in spec.volumeSnapshotClassName",
			len(defaults), strings.Join(defaults, ", ")))
		return nil
	}
	err := s.config.Client.PatchSnapshot(ctx, snapshot.Namespace, snapshot.Name, cluster.Patch(snapshot, "spec", map[string]any{"volumeSnapshotClassName": defaults[0]}))
	if snapshots.IsAbsent(err) {
		return nil
	}
	return err
}

// volumeOf returns the volume of the claim that a VolumeSnapshot names. The error is an errRefused if that is none of ours.
func (s *Snapshotter) volumeOf(ctx context.Context, snapshot *snapshots.VolumeSnapshot) (volumeHandle, error) {
	name := *snapshot.Spec.Source.Claim
	claim, err := s.config.Cluster.Claim(ctx, snapshot.Namespace, name)
	switch {
	case err != nil:
		return volumeHandle{}, err
	case claim == nil:
		return volumeHandle{}, fmt.Errorf("there is no claim %q", name)
	case claim.Status.Phase != v1.ClaimBound || claim.Spec.VolumeName == "":
		return volumeHandle{}, fmt.Errorf("claim %q is not bound", name)
	}
	pv, ours := s.config.Cluster.Volume(claim.Spec.VolumeName)
	if !ours {
		return volumeHandle{}, fmt.Errorf("%w: the volume of claim %q is none of claimdir's, so its data cannot be copied; name a VolumeSnapshotClass of its own driver", errRefused, name)
	}
	if pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != claim.UID {
		return volumeHandle{}, fmt.Errorf("PersistentVolume %s is not bound to claim %q", pv.Name, name)
	}
	_, handle, err := s.locate(pv)
	return handle, err
}

// locate returns the share of a PersistentVolume of ours, and its handle.
func (s *Snapshotter) locate(pv *v1.PersistentVolume) (*lane, volumeHandle, error) {
	for _, l := range s.lanes {
		if l.keeper == nil {
			continue
		}
		if _, on := pvs.On(l.keeper.Source(), pv); !on {
			continue
		}
		v, err := volume.FromPV(l.keeper.Source(), pv)
		if err != nil {
			return nil, volumeHandle{}, fmt.Errorf("%w: %w", errRefused, err)
		}
		id := l.keeper.ID()
		if id == "" {
			return nil, volumeHandle{}, fmt.Errorf("%s was not reached yet", shareName(l.keeper))
		}
		return l, volumeHandle{id, v.Path, pv.Name}, nil
	}
	return nil, volumeHandle{}, fmt.Errorf("%w: no share of this claimdir has PersistentVolume %s", errRefused, pv.Name)
}

// create creates the VolumeSnapshotContent, unless the claim has as many as its class allows.
func (s *Snapshotter) create(ctx context.Context, snapshot *snapshots.VolumeSnapshot, of *snapshots.VolumeSnapshotClass, parameters class.Snapshot, handle volumeHandle) error {
	name := snapshots.ContentName(snapshot)
	if !s.reserve(name, handle.String(), parameters.Max) {
		text := fmt.Sprintf("claim %q has %d snapshots, which is as many as VolumeSnapshotClass %s allows (maxSnapshots): delete one; this is retried automatically",
			*snapshot.Spec.Source.Claim, parameters.Max, of.Name)
		s.warn(snapshot, eventRefused, text)
		return errors.New(text)
	}
	content := newContent(snapshot, of, parameters, handle)
	err := s.config.Client.CreateContent(ctx, content)
	if apierrors.IsAlreadyExists(err) {
		return s.checkLive(ctx, snapshot, name)
	}
	if err != nil {
		s.known(name)
		switch {
		case apierrors.IsForbidden(err):
			s.warn(snapshot, eventFailed, err.Error()+"; apply the component manifests/components/snapshots of this version")
		case apierrors.IsInvalid(err): // an admission policy says why
			s.warn(snapshot, eventFailed, err.Error())
		}
		return err
	}
	klog.FromContext(ctx).Info("Began snapshot", "snapshot", klog.KObj(snapshot), "PVC", klog.KRef(snapshot.Namespace, *snapshot.Spec.Source.Claim), "content", name)
	return nil
}

// newContent returns the VolumeSnapshotContent of a VolumeSnapshot, as the snapshot-controller makes it for a CSI volume.
func newContent(snapshot *snapshots.VolumeSnapshot, of *snapshots.VolumeSnapshotClass, parameters class.Snapshot, handle volumeHandle) *snapshots.VolumeSnapshotContent {
	content := &snapshots.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: snapshots.ContentName(snapshot), Finalizers: []string{snapshots.Finalizer}},
		Spec: snapshots.ContentSpec{
			Snapshot: v1.ObjectReference{
				APIVersion: snapshots.APIVersion, Kind: snapshots.KindSnapshot,
				Namespace: snapshot.Namespace, Name: snapshot.Name, UID: snapshot.UID, ResourceVersion: snapshot.ResourceVersion,
			},
			DeletionPolicy: of.DeletionPolicy, Driver: of.Driver, Class: new(of.Name),
			Source: snapshots.ContentSource{VolumeHandle: new(handle.String())}, SourceVolumeMode: new(v1.PersistentVolumeFilesystem),
		},
	}
	if parameters.Retention > 0 {
		content.Annotations = map[string]string{snapshots.AnnotationRetention: class.FormatRetention(parameters.Retention)}
	}
	return content
}

// check tells of a VolumeSnapshotContent of the right name that somebody else made.
func (s *Snapshotter) check(snapshot *snapshots.VolumeSnapshot, content *snapshots.VolumeSnapshotContent) error {
	ref := content.Spec.Snapshot
	if s.ours(content.Spec.Driver) && content.Spec.Source.VolumeHandle != nil && ref.UID == snapshot.UID && ref.Namespace == snapshot.Namespace && ref.Name == snapshot.Name {
		return nil
	}
	if of := snapshot.Spec.Class; of != nil {
		if c, found := s.config.Caches.Class(*of); found && s.ours(c.Driver) {
			s.warn(snapshot, eventRefused, fmt.Sprintf("VolumeSnapshotContent %s is there already, and is not this snapshot's; whoever made it must delete it", content.Name))
		}
	}
	return nil
}

// checkLive is check for a VolumeSnapshotContent that the cache does not have yet.
func (s *Snapshotter) checkLive(ctx context.Context, snapshot *snapshots.VolumeSnapshot, name string) error {
	content, err := s.config.Client.Content(ctx, name)
	if err != nil || content == nil {
		return errors.Join(err, fmt.Errorf("VolumeSnapshotContent %s exists, and cannot be read", name))
	}
	return s.check(snapshot, content)
}

// reserve reports whether one more snapshot may be made of a volume, and counts it until the cache has it.
func (s *Snapshotter) reserve(name, handle string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, content := range s.config.Caches.OfVolume(handle) {
		if content.Name != name && content.DeletionTimestamp == nil {
			count++
		}
	}
	for other, made := range s.pending {
		if _, cached := s.config.Caches.Content(other); cached || s.now().Sub(made.at) > pendingMost {
			delete(s.pending, other)
		} else if other != name && made.handle == handle {
			count++
		}
	}
	if count >= most {
		return false
	}
	s.pending[name] = pending{handle, s.now()}
	return true
}

// pendingMost is how long a VolumeSnapshotContent counts that the cache does not have: it may be gone already.
const pendingMost = time.Minute

// known forgets what reserve counted: the cache has the VolumeSnapshotContent, or there is none.
func (s *Snapshotter) known(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, name)
}

// roomAgain queues the VolumeSnapshots that may have waited until a VolumeSnapshotContent went.
func (s *Snapshotter) roomAgain(gone *snapshots.VolumeSnapshotContent) {
	if !s.ours(gone.Spec.Driver) {
		return
	}
	for _, snapshot := range s.config.Caches.Unbound() {
		if snapshot.Namespace == gone.Spec.Snapshot.Namespace {
			s.wanted.Add(item{snapshot.Namespace, snapshot.Name})
		}
	}
}

// shareName names a share in messages to tenants.
func shareName(k *access.Keeper) string {
	if k.Name() == "" {
		return "the share"
	}
	return fmt.Sprintf("share %q", k.Name())
}
