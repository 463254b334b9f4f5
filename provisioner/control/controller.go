package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/util"

	"claimdir/provisioner/cluster"
)

const (
	// retryFirst and retryMost bound the wait before a failed operation is retried. The wait
	// doubles from the first to the second.
	retryFirst = time.Second
	retryMost  = 5 * time.Minute
)

// Clients are the connections to the API server. Each kind of traffic has its own connection, so
// that none waits behind another.
type Clients struct {
	Main, Events, Lease kubernetes.Interface
}

// Config is what a Controller needs. All fields but Leadership, Unfinished and
// Background are required.
type Config struct {
	// Informers also hold the provisioner names that are served.
	Informers *cluster.Informers
	// Workers is how many claims, and how many volumes, each Provisioner works on at
	// once.
	Workers int
	// DrainTimeout is how long a stop waits for running operations.
	DrainTimeout time.Duration
	// Leadership elects one of several replicas; nil runs without election.
	Leadership *Leadership
	// Clients must use Leadership.Wrap, except the one for the lease.
	Clients Clients
	// Provisioners get a queue and workers each, so that a hung one does not block the others. For
	// every claim exactly one must return true from ShouldProvision. For every volume exactly one
	// must return true from its method Owns; a single Provisioner needs no such method.
	Provisioners []controller.Provisioner
	// Unfinished returns the number of operations that still hang although their calls have
	// returned. A stop does not release the lease while there are any.
	Unfinished func() int
	// Background functions run while this replica leads. A stop waits for their end before it
	// releases the lease.
	Background []func(ctx context.Context)
	Registry   prometheus.Registerer
}

// owner is implemented by a Provisioner that is one of several.
type owner interface {
	Owns(pv *v1.PersistentVolume) bool
}

// Controller runs the library once; it cannot be started again.
type Controller struct {
	config      Config
	gate        *gate
	metrics     *metrics
	synced      []cache.InformerSynced
	queues      []*queue
	absent      *absentVolumes
	retry       chan struct{} // holds one request to retry everything
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	held        *heldEvents // of the library
	watchdog    *leaderelection.HealthzAdaptor
	released    *releasedVolumes
	told        told      // by Tell
	claims      *refusals // claims that are refused
	volumes     *refusals // released volumes that are refused
}

// New builds the controller and all informers; nothing runs before Run.
func New(ctx context.Context, config Config) (*Controller, error) {
	if config.Leadership == nil {
		config.Leadership = NewLeadership(nil)
	}
	c := &Controller{
		config: config,
		gate:   newGate(config.Leadership.Check),
		retry:  make(chan struct{}, 1),
		// ctx does not end it, because failures during the drain are published as events too.
		broadcaster: record.NewBroadcaster(record.WithContext(context.WithoutCancel(ctx))),
		watchdog:    leaderelection.NewLeaderHealthzAdaptor(watchdogGrace),
	}
	c.held = newHeldEvents(c.gate.busy)
	var err error
	if c.metrics, err = newMetrics(config.Registry, c.gate, c.waiting); err != nil {
		return nil, err
	}
	names, claims, volumes := config.Informers.Names(), config.Informers.ClaimInformer(), config.Informers.VolumeInformer()
	classes := config.Informers.Factory().Storage().V1().StorageClasses()
	c.released = newReleasedVolumes(volumes.GetStore())
	c.synced = []cache.InformerSynced{claims.HasSynced, volumes.HasSynced, classes.Informer().HasSynced}
	c.recorder = briefRecorder{c.broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: names[0]})}
	common := guard{
		gate:     c.gate,
		known:    knownClass(classes.Lister(), names),
		released: c.released,
		recorder: c.recorder,
		metrics:  c.metrics,
		told:     &told{},
	}
	c.claims, c.volumes = newRefusals(claimStands(config.Informers, common.known)), newRefusals(volumeStands(config.Informers, c.released))
	common.claims, common.volumes = c.claims, c.volumes
	if err := config.Registry.Register(newRefusedNow(config.Leadership.Check, c.claims, c.volumes)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	c.absent = &absentVolumes{claims: config.Informers.Waiting, volumes: volumes.GetStore(), known: common.known, tell: common.tellAbsence(ctx)}
	for _, p := range config.Provisioners {
		l := &queue{claims: &claimInformer{SharedIndexInformer: claims, unbound: config.Informers.Unbound}, volumes: newVolumeInformer(config.Informers, c.released, p)}
		g := common
		g.next = p
		l.turns = turnLimiter{retryLimiter(), newTurns(config.Workers, l.claims.requeueOne), newTurns(config.Workers, l.volumes.requeueOne)}
		g.turns = l.turns
		l.library = c.newLibrary(ctx, l, &g)
		registration, err := classes.Informer().AddEventHandler(l.claims.classHandler(names))
		if err != nil {
			return nil, fmt.Errorf("watch classes: %w", err)
		}
		c.synced = append(c.synced, registration.HasSynced)
		c.queues = append(c.queues, l)
	}
	return c, nil
}

// queue is one Provisioner's instance of the library, with its queues and workers.
type queue struct {
	claims  *claimInformer
	volumes *volumeInformer
	turns   turnLimiter
	library *controller.ProvisionController
}

func (c *Controller) newLibrary(ctx context.Context, l *queue, g *guard) *controller.ProvisionController {
	names := c.config.Informers.Names()
	events := func(namespace string) corev1.EventInterface {
		return c.held.through(c.config.Clients.Events.CoreV1().Events(namespace))
	}
	client := newLibraryClient(c.config.Clients.Main, events, &saveWatch{c.gate, g.recorder, c.metrics, c.claims}, c.released)
	return controller.NewProvisionController(klog.FromContext(ctx), client, names[0], g,
		controller.AdditionalProvisionerNames(names[1:]),
		controller.LeaderElection(false),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.RateLimiter(l.turns),
		controller.CreateProvisionedPVLimiter(retryLimiter()),
		controller.AddFinalizer(true),
		controller.Threadiness(c.config.Workers+1), // one that is free to find out who has to wait: see turns
		controller.ResyncPeriod(cluster.Resync),
		controller.ClaimsInformer(l.claims),
		controller.VolumesInformer(l.volumes),
		controller.ClassesInformer(c.config.Informers.Factory().Storage().V1().StorageClasses().Informer()),
		controller.NodesLister(anyNode{}),
		controller.MetricsInstance(c.metrics.library),
	)
}

// waiting is how many claims or released volumes wait for their turn.
func (c *Controller) waiting(operation string) (n int) {
	for _, l := range c.queues {
		n += map[string]*turns{opProvision: l.turns.claims, opDelete: l.turns.volumes}[operation].count()
	}
	return n
}

// Retry queues everything that waits for a share again. It does not block.
func (c *Controller) Retry() {
	select {
	case c.retry <- struct{}{}:
	default: // a request is pending already
	}
}

// RetryClaim queues a claim again, and everything that waits for it. It does not block.
func (c *Controller) RetryClaim(claim *v1.PersistentVolumeClaim) {
	for _, l := range c.queues {
		l.claims.requeueOne(string(claim.UID))
	}
	for _, l := range c.queues {
		l.volumes.requeue()
	}
}

// retryPause is how long requests to retry are gathered, because many operations end together.
const retryPause = 100 * time.Millisecond

// retryAll serves the requests of Retry until ctx is done.
func (c *Controller) retryAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.retry:
		}
		for _, l := range c.queues {
			l.claims.requeue(func(string) bool { return true })
			l.volumes.requeue()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryPause):
		}
	}
}

// knownClass reports whether a claim's class exists and names a provisioner
// that is served.
func knownClass(classes storagelisters.StorageClassLister, names []string) func(*v1.PersistentVolumeClaim) bool {
	return func(claim *v1.PersistentVolumeClaim) bool {
		class, err := classes.Get(util.GetPersistentVolumeClaimClass(claim))
		return err == nil && slices.Contains(names, class.Provisioner)
	}
}

func retryLimiter() workqueue.TypedRateLimiter[any] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[any](retryFirst, retryMost)
}

// Ready returns nil once the caches are filled. That includes a replica that does not lead, because
// it could take over at once.
func (c *Controller) Ready() error {
	for _, synced := range c.synced {
		if !synced() {
			return fmt.Errorf("caches are not filled yet")
		}
	}
	return nil
}

// Healthy returns an error if this replica leads although its lease expired so long ago that the
// process should have ended.
func (c *Controller) Healthy() error {
	return c.watchdog.Check(nil)
}

// Busy reports whether claims or released volumes are worked on.
func (c *Controller) Busy() bool { return c.gate.busy() }

// WarnOfClass publishes an event on a StorageClass, for failures after both claim and volume are
// gone. It does nothing if the class is gone.
func (c *Controller) WarnOfClass(name, reason, message string) {
	if class, found := c.config.Informers.Class(name); found {
		c.recorder.Event(class, v1.EventTypeWarning, reason, message)
	}
}

// Tell publishes an event on a claim, unless the last one of Tell about it was the same: what is retried for
// thousands of claims must not crowd out the events of others. kind is v1.EventTypeNormal or
// v1.EventTypeWarning.
func (c *Controller) Tell(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
	c.tellOnce(claim.UID, claim, kind, reason, text)
}

// TellOf is Tell for an object of any kind.
func (c *Controller) TellOf(object *v1.ObjectReference, kind, reason, text string) {
	c.tellOnce(object.UID, object, kind, reason, text)
}

func (c *Controller) tellOnce(uid types.UID, object runtime.Object, kind, reason, text string) {
	if c.told.isNew(uid, reason+" "+text) {
		c.recorder.Event(object, kind, reason, text)
	}
}

func (c *Controller) startEvents() (stop func()) {
	c.broadcaster.StartRecordingToSink(&corev1.EventSinkImpl{Interface: c.held.through(c.config.Clients.Events.CoreV1().Events(v1.NamespaceAll))})
	return c.broadcaster.Shutdown
}
