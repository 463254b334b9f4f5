package snapshot

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// Nobody comes back for a snapshot whose VolumeSnapshotContent was removed by force, or that was kept until its time is over. So the
// records of a share are read now and then.
//
// What clocks alone say is doubted, as package expiry does: a kept snapshot ends when its time is over by the file server's clock too,
// and one that is found late, after claimdir was down or a clock jumped, a day later.
const (
	// lookEvery is the pause between two looks.
	lookEvery = 10 * time.Minute
	// unnamedFor is how long nothing in the cluster must have named a snapshot before that counts.
	unnamedFor = time.Hour
	// late is how long after its end a snapshot is found late, and lateFor how long it is kept then.
	late, lateFor = time.Hour, 24 * time.Hour
)

// sightings are when snapshots were first seen without an object, or expired, by content.
type sightings struct{ unnamed, expired map[string]time.Time }

// lookAfter looks after the snapshots of a share until ctx ends.
func (s *Snapshotter) lookAfter(ctx context.Context, on *lane) {
	seen := &sightings{map[string]time.Time{}, map[string]time.Time{}}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if on.keeper.WaitReady(ctx) != nil {
			return
		}
		if err := s.look(ctx, on, seen); err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot look after the snapshots", "because", err.Error())
		}
	}, lookEvery)
}

// look makes one look.
func (s *Snapshotter) look(ctx context.Context, on *lane, seen *sightings) error {
	all, server, damaged, err := s.recorded(ctx, on)
	if err != nil {
		return err
	}
	s.count(on, all)
	if err := s.renew(ctx, on, all); err != nil {
		damaged = errors.Join(damaged, err)
	}
	there := map[string]bool{}
	for _, r := range all {
		there[r.Content] = true
		if ctx.Err() != nil || !s.config.Caches.Ready() {
			return ctx.Err()
		}
		if err := s.lookAt(ctx, on, r, seen, server); err != nil {
			damaged = errors.Join(damaged, err)
		}
	}
	for _, times := range []map[string]time.Time{seen.unnamed, seen.expired} {
		for content := range times {
			if !there[content] {
				delete(times, content)
			}
		}
	}
	return damaged
}

// recorded returns the records of this cluster's snapshots, and the time by the file server's clock. damaged says which records cannot
// be read: claimdir snapshot list tells of these.
func (s *Snapshotter) recorded(ctx context.Context, on *lane) (all []ledger.Snapshot, server time.Time, damaged, err error) {
	err = on.keeper.Background(ctx, "look after the snapshots", func(ctx context.Context, store ledger.Store) (err error) {
		all, damaged = nil, nil // the work runs again if a handle is stale
		for r, err := range store.Records.Snapshots() {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case share.IsStale(err):
				return err
			case err != nil:
				damaged = errors.Join(damaged, err)
			case r.Cluster == s.cluster():
				all = append(all, r)
			}
		}
		if len(all) == 0 {
			return nil
		}
		server, err = store.Records.ServerTime()
		return err
	})
	return all, server, damaged, err
}

// Found is what a look has found on a share.
type Found struct {
	At    time.Time // of the look
	Count int       // snapshots of this cluster
	Bytes int64     // of content that their copies took
}

// Found returns what the last look at a share has found, or false if there was none. It calls nobody.
func (s *Snapshotter) Found(on *access.Keeper) (Found, bool) {
	for _, l := range s.lanes {
		if found := l.found.Load(); l.keeper == on && found != nil {
			return *found, true
		}
	}
	return Found{}, false
}

// count sets the metrics and what Found returns.
func (s *Snapshotter) count(on *lane, all []ledger.Snapshot) {
	bytes := int64(0)
	for _, r := range all {
		if r.CopyOf != nil {
			bytes += r.CopyOf.Bytes
		}
	}
	s.metrics.count.WithLabelValues(on.keeper.Name()).Set(float64(len(all)))
	s.metrics.bytes.WithLabelValues(on.keeper.Name()).Set(float64(bytes))
	on.found.Store(&Found{s.now(), len(all), bytes})
}

// lookAt does what is due for one snapshot.
func (s *Snapshotter) lookAt(ctx context.Context, on *lane, r ledger.Snapshot, seen *sightings, server time.Time) error {
	unnamed, err := s.isUnnamed(ctx, on, r)
	if err != nil || !unnamed {
		delete(seen.unnamed, r.Content)
		delete(seen.expired, r.Content)
		return err
	}
	now := s.now()
	if r.Kept() {
		return s.expire(ctx, on, r, seen, server)
	}
	if first, known := seen.unnamed[r.Content]; !known || now.Sub(first) < unnamedFor {
		if !known {
			seen.unnamed[r.Content] = now
		}
		return nil
	}
	return s.on(ctx, on, r.Content, "keep", func(ctx context.Context, op steps.SnapshotOp) error {
		if unnamed, err := s.isUnnamed(ctx, on, r); err != nil || !unnamed {
			return err
		}
		return op.Keep(ctx)
	})
}

// isUnnamed reports whether the API server, too, says that nothing names a snapshot.
func (s *Snapshotter) isUnnamed(ctx context.Context, on *lane, r ledger.Snapshot) (bool, error) {
	if s.namedInCache(on, r) {
		return false, nil
	}
	content, err := s.config.Client.Content(ctx, r.Content)
	return content == nil && err == nil && s.config.Caches.Ready(), err
}

// expire ends a kept snapshot whose time is over.
func (s *Snapshotter) expire(ctx context.Context, on *lane, r ledger.Snapshot, seen *sightings, server time.Time) error {
	now := s.now()
	over := func(end *time.Time) bool { return end != nil && !end.After(now) && !end.After(server) }
	if !over(r.Until) {
		delete(seen.expired, r.Content)
		return nil
	}
	first, known := seen.expired[r.Content]
	if !known {
		seen.expired[r.Content], first = now, now
	}
	if first.Sub(*r.Until) > late && now.Sub(first) < lateFor {
		if !known {
			klog.FromContext(ctx).Info("A kept snapshot had expired long before this was noticed, and is kept for one more day", "content", r.Content, "until", klog.SafePtr(r.Until))
		}
		return nil
	}
	if s.config.Reading(r.Claim.Namespace, r.Name, volume.RecordedSize(r.Record), *r.Released) != "" {
		return nil
	}
	err := s.config.Steps.OnSnapshot(ctx, access.Periodic{Keeper: on.keeper}, steps.SnapshotOf{Content: r.Content, Cluster: r.Cluster}, "expire snapshot "+r.Content, func(ctx context.Context, op steps.SnapshotOp) error {
		return op.Expire(ctx, over)
	})
	if isBusy(err) {
		return nil
	}
	return err
}
