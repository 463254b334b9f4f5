package snapshot

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/fair"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

const (
	// ensurers is how many VolumeSnapshots get their VolumeSnapshotContents at a time.
	ensurers = 8
	// AtOnce is how many VolumeSnapshotContents of one share are worked on at a time. Copies run beside it: see package copies.
	AtOnce = 4
	// retryFirst and retryMost bound the delay before something that failed is retried.
	retryFirst, retryMost = 200 * time.Millisecond, time.Minute
)

// Cluster is what a Snapshotter asks of claims and volumes.
type Cluster interface {
	// Volume returns the PersistentVolume of that name if it is ours, from the cache.
	Volume(name string) (*v1.PersistentVolume, bool)
	// VolumeNow asks the API server for the PersistentVolume of that name, and returns nil if there is none.
	VolumeNow(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Claim asks the API server for a claim, and returns nil if there is none, or none that the cache knows yet.
	Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error)
	// Namespace asks the API server for the UID of the namespace of that name, and returns an empty string if it may not know it.
	Namespace(ctx context.Context, name string) (uid string, err error)
}

// Config is what a Snapshotter needs. All fields but Reading are required.
type Config struct {
	Keepers []*access.Keeper
	Steps   *steps.Steps
	// Names are the provisioner names that are served. As drivers in VolumeSnapshotClasses they mean claimdir.
	Names   []string
	Client  *snapshots.Client
	Caches  *snapshots.Caches
	Cluster Cluster
	Copies  *copies.Copies
	// Reading returns the name of a claim of the namespace that is to be restored from the VolumeSnapshot of that name, of a volume of
	// that size, that was made before a time and has not got its volume yet, or an empty name.
	Reading func(namespace, snapshot string, size resource.Quantity, before time.Time) (claim string)
	// Tell publishes an event on an object, unless the last one about it was the same.
	Tell func(object *v1.ObjectReference, kind, reason, text string)
}

// Snapshotter makes, finds and removes the snapshots of all shares.
type Snapshotter struct {
	config  Config
	wanted  workqueue.TypedRateLimitingInterface[item] // VolumeSnapshots
	lanes   []*lane                                    // the last one is that of no share
	metrics metrics
	running atomic.Bool
	now     func() time.Time

	mu      sync.Mutex
	pending map[string]pending // VolumeSnapshotContents that were created and are not in the cache yet, by name
}

// pending is a VolumeSnapshotContent that was just created.
type pending struct {
	handle string // of its volume
	at     time.Time
}

// item is an object in a queue. Of a VolumeSnapshotContent namespace is that of its VolumeSnapshot.
type item struct{ namespace, name string }

// lane is the work on one share, so that a share that does not answer holds up no other.
type lane struct {
	keeper *access.Keeper // nil for contents of shares that are not known
	queue  workqueue.TypedRateLimitingInterface[item]
	found  atomic.Pointer[Found] // nil before the first look
}

func newQueue() workqueue.TypedRateLimitingInterface[item] {
	return fair.NewWorkqueue(func(i item) string { return i.namespace }, retryFirst, retryMost)
}

// New makes a Snapshotter. Nothing is done before Run.
func New(config Config) *Snapshotter {
	if config.Reading == nil {
		config.Reading = func(string, string, resource.Quantity, time.Time) string { return "" }
	}
	s := &Snapshotter{config: config, wanted: newQueue(), metrics: newMetrics(), now: time.Now, pending: map[string]pending{}}
	for _, keeper := range config.Keepers {
		s.lanes = append(s.lanes, &lane{keeper: keeper, queue: newQueue()})
	}
	s.lanes = append(s.lanes, &lane{queue: newQueue()})
	return s
}

// Collectors returns the metrics.
func (s *Snapshotter) Collectors() []prometheus.Collector { return s.metrics.collectors() }

// Run works until ctx ends. It returns when all its operations have ended.
func (s *Snapshotter) Run(ctx context.Context) {
	var all sync.WaitGroup
	s.running.Store(true)
	for range ensurers {
		all.Go(func() {
			for s.work(ctx, s.wanted, s.ensure) {
			}
		})
	}
	for _, l := range s.lanes {
		ctx := ctx
		if l.keeper != nil {
			ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", l.keeper.Name()))
			all.Go(func() { s.lookAfter(ctx, l) })
		}
		for range AtOnce {
			all.Go(func() {
				for s.work(ctx, l.queue, func(ctx context.Context, i item) error { return s.content(ctx, l, i) }) {
				}
			})
		}
	}
	all.Go(func() { s.config.Caches.Run(ctx, s.handlers()) })
	<-ctx.Done()
	s.wanted.ShutDown()
	for _, l := range s.lanes {
		l.queue.ShutDown()
	}
	all.Wait()
}

// handlers queue what has changed.
func (s *Snapshotter) handlers() snapshots.Handlers {
	return snapshots.Handlers{
		Snapshot: func(snapshot *snapshots.VolumeSnapshot) {
			if snapshot.Spec.Source.Claim != nil && (snapshot.Status == nil || snapshot.Status.Content == nil) {
				s.wanted.Add(item{snapshot.Namespace, snapshot.Name})
			}
		},
		Class: func(*snapshots.VolumeSnapshotClass) {
			for _, snapshot := range s.config.Caches.Unbound() {
				s.wanted.Add(item{snapshot.Namespace, snapshot.Name})
			}
		},
		Content: func(content *snapshots.VolumeSnapshotContent) {
			s.known(content.Name)
			if s.ours(content.Spec.Driver) {
				s.queue(content)
			}
		},
		Gone: func(content *snapshots.VolumeSnapshotContent) {
			s.known(content.Name)
			s.roomAgain(content)
		},
		// A VolumeSnapshotContent that is deleted may wait for the end of its VolumeSnapshot.
		SnapshotGone: func(snapshot *snapshots.VolumeSnapshot) {
			if content, found := s.config.Caches.Content(snapshots.ContentName(snapshot)); found && s.ours(content.Spec.Driver) {
				s.queue(content)
			}
		},
	}
}

// queue queues a VolumeSnapshotContent of ours where its share is.
func (s *Snapshotter) queue(content *snapshots.VolumeSnapshotContent) {
	s.laneOf(content).queue.Add(item{content.Spec.Snapshot.Namespace, content.Name})
}

// laneOf returns the lane of the share that a VolumeSnapshotContent names.
func (s *Snapshotter) laneOf(content *snapshots.VolumeSnapshotContent) *lane {
	id := ""
	if handle := content.Spec.Source.VolumeHandle; handle != nil {
		if parsed, err := parseVolumeHandle(*handle); err == nil {
			id = parsed.share
		}
	} else if parsed, err := parseDataHandle(content.DataHandle()); err == nil {
		id = parsed.share
	}
	for _, l := range s.lanes {
		if id != "" && l.keeper != nil && l.keeper.ID() == id {
			return l
		}
	}
	return s.lanes[len(s.lanes)-1]
}

// ours reports whether a driver is claimdir.
func (s *Snapshotter) ours(driver string) bool { return slices.Contains(s.config.Names, driver) }

// work takes one object from a queue. It returns false when the queue is shut down.
func (s *Snapshotter) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[item], do func(context.Context, item) error) bool {
	i, ended := queue.Get()
	if ended {
		return false
	}
	defer queue.Done(i)
	if ctx.Err() != nil { // what is left the next leader finds
		return true
	}
	if err := access.Safely(ctx, "Panic in the work on a snapshot", func() error { return do(ctx, i) }); err != nil {
		klog.FromContext(ctx).V(1).Info("A snapshot waits", "name", i.name, "namespace", i.namespace, "because", err.Error())
		queue.AddRateLimited(i)
		return true
	}
	queue.Forget(i)
	return true
}

// cluster is the UID of the cluster.
func (s *Snapshotter) cluster() string { return s.config.Steps.Cluster() }

// own is the own name of a snapshot of this cluster.
func (s *Snapshotter) own(content string) string { return ledger.SnapshotOwn(content, s.cluster()) }
