package snapshot

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// errUnwanted ends a copy that nobody waits for any more.
var errUnwanted = errors.New("the VolumeSnapshotContent is gone, or is being deleted")

// making is the copy for one VolumeSnapshotContent.
type making struct {
	*Snapshotter

	lane    *lane
	content *snapshots.VolumeSnapshotContent

	mu     sync.Mutex
	record ledger.Snapshot
}

func volumeFromPV(on *lane, pv *v1.PersistentVolume) (volume.Volume, error) {
	v, err := volume.FromPV(on.keeper.Source(), pv)
	if err != nil {
		return v, fmt.Errorf("%w: %w", errRefused, err)
	}
	return v, nil
}

func (m *making) now() ledger.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record
}

func (m *making) set(r ledger.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record = r
}

// find returns the directory of the volume, which must still be that volume's, and of the namespace of the snapshot.
func (m *making) find(_ context.Context, store ledger.Store) (share.CopyFrom, error) {
	of := m.now().CopyOf
	from, err := steps.SourceDirectory(store, *of, of.Claim)
	return from, lostSource(of, err)
}

// lostSource refuses a snapshot whose volume cannot be copied any more, as err says. It returns other errors as they are.
func lostSource(of *ledger.Copy, err error) error {
	is := ""
	switch {
	case errors.Is(err, steps.ErrSourceGone):
		is = "is gone, or was released meanwhile"
	case errors.Is(err, steps.ErrSourceOthers):
		is = "belongs to another namespace by now"
	default:
		return err
	}
	return fmt.Errorf("%w: the volume of claim %q, which is to be copied, %s: delete this VolumeSnapshot", errRefused, of.Claim.Name, is)
}

// checkOwner asks the API server whose the volume is now.
func (m *making) checkOwner(ctx context.Context) error {
	of := m.now().CopyOf
	pv, err := m.config.Cluster.VolumeNow(ctx, of.PV)
	if err != nil {
		return fmt.Errorf("ask whose the volume is: %w", err)
	}
	return lostSource(of, steps.CheckSourceOwner(pv, of.Claim.Namespace))
}

// wanted returns errUnwanted once the VolumeSnapshotContent is gone or is being deleted. What cannot be asked counts as wanted.
func (m *making) wanted(ctx context.Context) error {
	now, cached := m.config.Caches.Content(m.content.Name)
	if !cached {
		if !m.config.Caches.Ready() {
			return nil
		}
		live, err := m.config.Client.Content(ctx, m.content.Name)
		if err != nil {
			return nil //nolint:nilerr // asked again in a moment
		}
		now = live
	}
	if now == nil || now.UID != m.content.UID || now.DeletionTimestamp != nil {
		return errUnwanted
	}
	return nil
}

// begin refuses what has no room, and records when the copy began.
func (m *making) begin(ctx context.Context, source share.Usage) error {
	if err := m.checkOwner(ctx); err != nil {
		return err
	}
	if err := m.checkRoom(ctx, source); err != nil {
		return err
	}
	since := m.unusedSince(ctx)
	return m.on(ctx, m.lane, m.content.Name, "begin", func(ctx context.Context, op steps.SnapshotOp) error {
		if err := m.wanted(ctx); err != nil { // asked under the lock: what ends the snapshot comes before it or after it
			return err
		}
		r, err := op.Begin(m.now(), since)
		if err == nil {
			m.set(r)
		}
		return err
	})
}

// checkRoom refuses a copy that begins and that the share has no room for, unless the copy takes none because it shares the blocks of
// the volume.
func (m *making) checkRoom(ctx context.Context, source share.Usage) error {
	bytes, free := uint64(max(0, source.Bytes)), m.lane.keeper.Room().Free //nolint:gosec // not negative
	begun := m.now().CopyOf.Began != nil                                   // then the room was checked, and some of it is taken by this copy
	if begun || bytes <= free {
		return nil
	}
	shares, err := copies.SharesBlocks(ctx, m.lane.keeper, m.own(m.content.Name))
	if err != nil || shares {
		return err
	}
	return refusal.Postpone(refusal.ReasonRoom, "the volume holds %s, and %s has %s free: make room there; this is retried automatically",
		class.FormatSize(float64(bytes)), shareName(m.lane.keeper), class.FormatSize(float64(free)))
}

// unusedSince is volume.UnusedSince of the claim, and empty if that cannot be asked.
func (m *making) unusedSince(ctx context.Context) string {
	of := m.now().Claim
	claim, err := m.config.Cluster.Claim(ctx, of.Namespace, of.Name)
	if err != nil || claim == nil || string(claim.UID) != of.UID {
		return ""
	}
	return volume.UnusedSince(claim)
}

// complete records that the copy is whole and whether a pod used the volume meanwhile, and publishes it.
func (m *making) complete(ctx context.Context, result share.Copied) error {
	if err := m.checkOwner(ctx); err != nil {
		return err
	}
	used := volume.UseBetween(m.now().CopyOf.UnusedSince, m.unusedSince(ctx))
	err := m.on(ctx, m.lane, m.content.Name, "complete", func(ctx context.Context, op steps.SnapshotOp) error {
		r, err := op.Complete(ctx, result, used)
		if err == nil {
			m.set(r)
		}
		return err
	})
	if err != nil {
		return err
	}
	r := m.now()
	text := "the snapshot is a copy of " + volume.CopiedText(r.CopyOf)
	if r.CopyOf.LeftOut > 0 {
		text += fmt.Sprintf("; not in it are device nodes and attributes of the system: %d", r.CopyOf.LeftOut)
	}
	m.tellOwner(m.content, v1.EventTypeNormal, eventMade, text)
	return m.publish(ctx, m.lane, m.content, r)
}

func (m *making) progress(text string) {
	m.tellOwner(m.content, v1.EventTypeNormal, eventCopying, text)
}

// ended comes back to the VolumeSnapshotContent. It removes what was copied for one that is gone, or from a volume that is not to be copied
// any more, or to a share that is full now: that would keep others from writing, and the room for the rest may never come. The snapshot
// begins anew when its room was checked again.
func (m *making) ended(ctx context.Context, err error) {
	useless := share.IsFull(err) || errors.Is(err, errRefused)
	unwanted := errors.Is(err, errUnwanted) || errors.Is(err, ledger.ErrLost)
	if unwanted {
		m.config.Copies.Forget(m.lane.keeper, m.own(m.content.Name))
	}
	if useless || unwanted {
		err := m.on(ctx, m.lane, m.content.Name, "give up", func(ctx context.Context, op steps.SnapshotOp) error {
			if !useless && m.wanted(ctx) == nil {
				return nil
			}
			return op.DiscardUnfinished(ctx)
		})
		if err != nil {
			klog.FromContext(ctx).Info("Cannot remove what was copied for a snapshot", "content", m.content.Name, "because", err.Error())
		}
	}
	m.queueAgain(m.content)
}

// queueAgain queues a VolumeSnapshotContent as the cache has it now.
func (s *Snapshotter) queueAgain(content *snapshots.VolumeSnapshotContent) {
	if now, found := s.config.Caches.Content(content.Name); found {
		s.queue(now)
	}
}

// copyFailed gives the error of a copy its way out.
func copyFailed(err error) error {
	if errors.Is(err, errUnwanted) || errors.Is(err, errRefused) {
		return err
	}
	next := steps.GoesOn
	if share.IsFull(err) { // see ended
		next = steps.Anew
	}
	return steps.RefusedCopy("the copy", next, err)
}
