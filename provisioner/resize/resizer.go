package resize

import (
	"context"
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
	"claimdir/provisioner/steps"
)

const (
	// workers is how many expansions of one share run at a time. They wait for the API server.
	workers = 4
	// retryFirst and retryMost bound the delay before an expansion that failed is retried.
	retryFirst, retryMost = 100 * time.Millisecond, time.Minute
)

// Objects is what a Resizer reads from caches: see cluster.Informers.
type Objects interface {
	// Growing returns the bound claim of that name if it is to become larger, or its status still says so.
	Growing(name cache.ObjectName) (*v1.PersistentVolumeClaim, bool)
	// AllGrowing returns all of them.
	AllGrowing() []*v1.PersistentVolumeClaim
	// Volume returns the PersistentVolume of that name if it is ours.
	Volume(name string) (*v1.PersistentVolume, bool)
}

// Config is what a Resizer needs. All fields but OnlyUnused are required.
type Config struct {
	Keepers []*access.Keeper
	Steps   *steps.Steps
	Client  kubernetes.Interface
	Objects Objects
	// OnlyUnused makes an expansion wait until no pod uses the claim, which Kubernetes says from 1.37 on.
	OnlyUnused bool
	// Tell publishes an event on a claim. kind is v1.EventTypeNormal or v1.EventTypeWarning.
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
	passed map[cache.ObjectName][]string // the resource versions of a claim before its expansion ended
}

// New makes a Resizer. Nothing is expanded before Run.
func New(config Config) *Resizer {
	r := &Resizer{config: config, metrics: newMetrics(), now: time.Now}
	for _, keeper := range config.Keepers {
		queue := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[cache.ObjectName]{Queue: newFair()})
		r.lanes = append(r.lanes, &lane{
			keeper: keeper,
			queue: workqueue.NewTypedRateLimitingQueueWithConfig(
				workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryFirst, retryMost),
				workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{
					DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[cache.ObjectName]{Queue: queue}),
				}),
			passed: map[cache.ObjectName][]string{},
		})
	}
	return r
}

// Collectors returns the metrics.
func (r *Resizer) Collectors() []prometheus.Collector { return r.metrics.collectors() }

// Handle queues a claim that grows, or did. It returns at once, and does nothing before Run, which looks
// for itself.
func (r *Resizer) Handle(claim *v1.PersistentVolumeClaim) {
	if !r.running.Load() {
		return
	}
	if lane := r.laneOf(claim); lane != nil {
		lane.queue.Add(cache.MetaObjectToName(claim))
	}
}

// laneOf returns the lane of the share on which a claim's volume is, or nil if it is not ours.
func (r *Resizer) laneOf(claim *v1.PersistentVolumeClaim) *lane {
	pv, ours := r.config.Objects.Volume(claim.Spec.VolumeName)
	if !ours {
		return nil
	}
	for _, lane := range r.lanes {
		if _, on := pvs.On(lane.keeper.Source(), pv); on {
			return lane
		}
	}
	return nil
}

// Run completes expansions until ctx ends. It returns when those that run have ended.
func (r *Resizer) Run(ctx context.Context) {
	r.running.Store(true)
	waiting := r.config.Objects.AllGrowing()
	for _, claim := range waiting {
		r.Handle(claim)
	}
	if len(waiting) > 0 {
		klog.FromContext(ctx).Info("Claims wait for the expansion of their volumes", "claims", len(waiting))
	}
	var all sync.WaitGroup
	for _, lane := range r.lanes {
		ctx := klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", lane.keeper.Name()))
		for range workers {
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
	if err := r.expand(ctx, lane, name); err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot expand the volume yet", "PVC", klog.KRef(name.Namespace, name.Name), "because", err.Error())
		lane.queue.AddRateLimited(name)
		return true
	}
	lane.queue.Forget(name)
	return true
}

// isPassed reports whether the cache still shows a claim as it was before its expansion ended.
func (l *lane) isPassed(name cache.ObjectName, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.passed[name], version)
}

// pass notes the resource versions that a claim had before its expansion ended; without any it forgets
// the claim.
func (l *lane) pass(name cache.ObjectName, versions ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(versions) == 0 {
		delete(l.passed, name)
		return
	}
	l.passed[name] = versions
}
