package sweep

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
)

const (
	// settle is the pause between the two looks.
	settle = 2 * time.Second
	// retry is the pause after a pass that failed.
	retry = 5 * time.Minute
)

// AtOnce is how many operations on its share a Sweeper has under way.
const AtOnce = 2

// Config is what a Sweeper needs. All fields but Grace and Report are required.
type Config struct {
	Keeper *access.Keeper
	// Steps knows what is under way on paths.
	Steps *steps.Steps
	// Objects are the cluster's as they were seen last.
	Objects steps.Objects
	// Report is steps.Config.Report.
	Report func(ctx context.Context, r ledger.Record, reason, text string)
	Client kubernetes.Interface
	// Names are the provisioner names that are served.
	Names []string
	// Interval is the pause between two passes.
	Interval time.Duration
	// Grace is how old a record must be before it is removed.
	Grace time.Duration
}

// Sweeper looks after one share.
type Sweeper struct {
	config  Config
	live    cluster.Live
	metrics *metrics
	settle  time.Duration
	retry   time.Duration

	mu       sync.Mutex
	findings []doctor.Finding // of the last pass
}

// New makes the Sweeper of a share. Nothing is looked at before Run.
func New(config Config) *Sweeper {
	return &Sweeper{
		config: config, live: cluster.Live{Client: config.Client}, metrics: newMetrics(config.Keeper.Name()),
		settle: settle, retry: min(retry, config.Interval),
	}
}

// Run makes one pass after the other, with a pause of Config.Interval between them,
// until ctx ends. It returns when the work under way has ended.
func (s *Sweeper) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", s.config.Keeper.Name()))
	var after sync.WaitGroup
	after.Go(func() { s.lookAfter(ctx) })
	defer after.Wait()
	var pause time.Duration
	_ = wait.DelayFunc(func() time.Duration { return pause }).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		pause = s.run(ctx)
		return false, nil
	})
}

// run makes one pass and returns the pause after it. It waits for a share that is not
// ready.
func (s *Sweeper) run(ctx context.Context) (pause time.Duration) {
	if s.config.Keeper.WaitReady(ctx) != nil {
		return 0 // ctx ended
	}
	if err := s.pass(ctx); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cannot look for what was left behind", "retry", s.retry)
		return s.retry
	}
	return s.config.Interval
}

// tell exchanges the findings, and logs those that the pass before did not have.
func (s *Sweeper) tell(ctx context.Context, findings []doctor.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[doctor.Finding]bool, len(s.findings))
	for _, f := range s.findings {
		known[f] = true
	}
	for _, f := range findings {
		if !known[f] {
			klog.FromContext(ctx).Info("Found what nothing accounts for", "kind", f.Kind, "object", f.Object, "problem", f.Problem, "remedy", f.Remedy)
		}
	}
	s.findings = findings
	s.metrics.show(findings)
	s.metrics.ended.Set(float64(time.Now().UnixMilli()) / 1000)
}
