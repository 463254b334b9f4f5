package sweep

import (
	"context"
	"iter"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
)

const (
	// settle is the pause between the two reports of doctor.
	settle = 2 * time.Second
	// retry is the pause after a failed pass.
	retry = 5 * time.Minute
)

// AtOnce is how many operations a Sweeper runs on its share at once.
const AtOnce = 2

// Config is what a Sweeper needs. All fields but Others, Grace and Report are required.
type Config struct {
	Keeper *access.Keeper
	// Others are the addresses of the other shares that this process serves.
	Others []share.Source
	// Steps runs the operations on paths.
	Steps *steps.Steps
	// Objects are the cached objects of the cluster.
	Objects steps.Objects
	// Volume returns the cached PersistentVolume of that name, or false if there is none of our
	// provisioner names.
	Volume func(name string) (*v1.PersistentVolume, bool)
	// VolumesThat yields the cached PersistentVolumes of our provisioner names for whose name and
	// exported path wanted returns true.
	VolumesThat func(wanted func(name, export string) bool) iter.Seq[*v1.PersistentVolume]
	// Contents returns the VolumeSnapshotContents of ours whose snapshots are whole, as the cache has them.
	Contents func() []doctor.Content
	// Report is steps.Config.Report.
	Report func(ctx context.Context, r ledger.Record, reason, text string)
	Client kubernetes.Interface
	// Names are the provisioner names that are served.
	Names []string
	// Interval is the pause between two passes.
	Interval time.Duration
	// Grace is the minimum age of an orphaned record before it is removed.
	Grace time.Duration
}

// Sweeper sweeps one share.
type Sweeper struct {
	config  Config
	live    cluster.Live
	metrics *metrics
	settle  time.Duration
	retry   time.Duration

	passed     bool                             // once
	strays     strayCopies                      // that the last pass found
	handedOver workqueue.TypedInterface[string] // PersistentVolumes with new claims

	mu       sync.Mutex
	findings []doctor.Finding // of the last pass
	counted  counts           // by the last pass
	ended    time.Time        // the last pass
}

// New makes the Sweeper of a share. It does nothing before Run.
func New(config Config) *Sweeper {
	return &Sweeper{
		config: config, live: cluster.Live{Client: config.Client}, metrics: newMetrics(config.Keeper.Name()),
		settle: settle, retry: min(retry, config.Interval), handedOver: workqueue.NewTyped[string](),
	}
}

// Run makes one pass after the other, with a pause of Config.Interval between them,
// until ctx ends. It returns when its operations have ended.
func (s *Sweeper) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", s.config.Keeper.Name()))
	var after sync.WaitGroup
	after.Go(func() { s.lookAfter(ctx) })
	after.Go(func() { s.followNewOwners(ctx) })
	defer after.Wait()
	var pause time.Duration
	_ = wait.DelayFunc(func() time.Duration { return pause }).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		pause = s.run(ctx)
		return false, nil
	})
}

// run waits until the share is ready, makes one pass, and returns the pause after it.
func (s *Sweeper) run(ctx context.Context) (pause time.Duration) {
	if s.config.Keeper.WaitReady(ctx) != nil {
		return 0 // ctx ended
	}
	if err := s.pass(ctx); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cannot sweep the share", "retry", s.retry)
		return s.retry
	}
	return s.config.Interval
}

// report sets the metrics to the findings and counts, and logs the findings that the previous pass did not have.
func (s *Sweeper) report(ctx context.Context, findings []doctor.Finding, counted counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[doctor.Finding]bool, len(s.findings))
	for _, f := range s.findings {
		known[f] = true
	}
	for _, f := range findings {
		if !known[f] {
			klog.FromContext(ctx).Info("Found an orphan", "kind", f.Kind, "object", f.Object, "problem", f.Problem, "remedy", f.Remedy)
		}
	}
	s.findings, s.counted, s.ended = findings, counted, time.Now()
	s.metrics.show(findings)
	s.metrics.ended.Set(float64(s.ended.UnixMilli()) / 1000)
}

// Found returns what the last pass found, and when it ended: zero if none has. The findings must not be changed.
// It calls nobody.
func (s *Sweeper) Found() (findings []doctor.Finding, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findings, s.ended
}
