package resize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/fair"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// AtOnce is how many expansions of one share run at a time. They wait for the API server.
const AtOnce = 4

const (
	// retryFirst and retryMost bound the delay before an expansion that failed is retried.
	retryFirst, retryMost = 100 * time.Millisecond, time.Minute
	// retryRoom is the delay before an expansion is retried for which there was no room.
	retryRoom = 5 * time.Minute
)

// Objects is what a Resizer reads from caches: see cluster.Informers.
type Objects interface {
	// Expanding returns the bound claim of that name if its volume is being expanded; see cluster.Informers.
	Expanding(name cache.ObjectName) (*v1.PersistentVolumeClaim, bool)
	// AllExpanding returns all such claims.
	AllExpanding() []*v1.PersistentVolumeClaim
	// Volume returns the PersistentVolume of that name if it is ours.
	Volume(name string) (*v1.PersistentVolume, bool)
}

// Config is what a Resizer needs. All fields but OnlyUnused are required.
type Config struct {
	Keepers []*access.Keeper
	Steps   *steps.Steps
	Client  kubernetes.Interface
	Objects Objects
	// Live asks the API server, never a cache, for the PersistentVolume of that name, and returns nil if
	// there is none.
	Live func(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Room returns a *refusal.Refusal if the class of a PersistentVolume does not let it become larger by that
	// many bytes now.
	Room func(on *access.Keeper, pv *v1.PersistentVolume, bytes int64) error
	// OnlyUnused makes an expansion wait until no pod uses the claim, which Kubernetes says from 1.37 on.
	OnlyUnused bool
	// Tell publishes an event on a claim, unless the last one about it was the same. kind is
	// v1.EventTypeNormal or v1.EventTypeWarning.
	Tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)
}

// Resizer completes the expansions of the volumes of all shares.
type Resizer struct {
	config  Config
	lanes   []*lane
	running atomic.Bool
	metrics metrics
	now     func() time.Time
}

// lane is the work on one share, so that a share that does not answer holds up no other.
type lane struct {
	keeper *access.Keeper
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]
	mu     sync.Mutex
	stale  map[cache.ObjectName][]string // resource versions that a claim had before its expansion was complete
}

// New makes a Resizer. Nothing is expanded before Run.
func New(config Config) *Resizer {
	r := &Resizer{config: config, metrics: newMetrics(), now: time.Now}
	for _, keeper := range config.Keepers {
		r.lanes = append(r.lanes, &lane{
			keeper: keeper,
			queue:  fair.NewWorkqueue(func(claim cache.ObjectName) string { return claim.Namespace }, retryFirst, retryMost),
			stale:  map[cache.ObjectName][]string{},
		})
	}
	return r
}

// Collectors returns the metrics.
func (r *Resizer) Collectors() []prometheus.Collector { return r.metrics.collectors() }

// Handle queues a claim whose volume is being expanded, or was. It returns at once, and does nothing before
// Run, which looks for itself.
func (r *Resizer) Handle(claim *v1.PersistentVolumeClaim) {
	if !r.running.Load() {
		return
	}
	pv, ours := r.config.Objects.Volume(claim.Spec.VolumeName)
	if !ours {
		return // if it is ours, its PersistentVolume will come
	}
	for _, lane := range r.lanes {
		if _, on := pvs.On(lane.keeper.Source(), pv); on {
			lane.queue.Add(cache.MetaObjectToName(claim))
			return
		}
	}
	if belongs(pv, claim) {
		_, err := volume.FromPV(r.lanes[0].keeper.Source(), pv)
		r.config.Tell(claim, v1.EventTypeWarning, eventFailed, fmt.Sprint("no share of this claimdir has the volume: ", err))
	}
}

// Run completes expansions until ctx ends. It returns when those that run have ended.
func (r *Resizer) Run(ctx context.Context) {
	r.running.Store(true)
	for _, claim := range r.config.Objects.AllExpanding() {
		r.Handle(claim)
	}
	waiting := 0
	for _, lane := range r.lanes {
		waiting += lane.queue.Len()
	}
	if waiting > 0 {
		klog.FromContext(ctx).Info("Claims wait for the expansion of their volumes", "claims", waiting)
	}
	var all sync.WaitGroup
	for _, lane := range r.lanes {
		ctx := klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", lane.keeper.Name()))
		for range AtOnce {
			all.Go(func() {
				for r.work(ctx, lane) {
				}
			})
		}
	}
	<-ctx.Done()
	for _, lane := range r.lanes {
		lane.queue.ShutDown()
	}
	all.Wait()
}

// work takes one claim from the queue. It returns false when the queue is shut down.
func (r *Resizer) work(ctx context.Context, lane *lane) bool {
	name, ended := lane.queue.Get()
	if ended {
		return false
	}
	defer lane.queue.Done(name)
	if ctx.Err() != nil { // what is left the next leader finds
		return true
	}
	if err := access.Safely(ctx, "Panic in an expansion", func() error { return r.expand(ctx, lane, name) }); err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot expand the volume yet", "PVC", klog.KRef(name.Namespace, name.Name), "because", err.Error())
		if errors.Is(err, errNoRoom) {
			lane.queue.Forget(name)
			lane.queue.AddAfter(name, retryRoom)
			return true
		}
		lane.queue.AddRateLimited(name)
		return true
	}
	lane.queue.Forget(name)
	return true
}

// isStale reports whether a claim had that resource version before its expansion was complete. The cache may
// show it for a while.
func (l *lane) isStale(name cache.ObjectName, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.stale[name], version)
}

// completed remembers the resource versions that a claim had before its expansion was complete.
func (l *lane) completed(name cache.ObjectName, before []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stale[name] = before
}

// forget drops what completed remembers, once the cache shows the claim without an expansion.
func (l *lane) forget(name cache.ObjectName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.stale, name)
}
