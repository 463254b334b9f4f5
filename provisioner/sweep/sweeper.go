package sweep

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/keeper"
)

const (
	// settle is the pause between the two looks.
	settle = 2 * time.Second
	// retry is the pause after a pass that failed.
	retry = 5 * time.Minute
)

// AtOnce is how many operations on its share a Sweeper has under way.
const AtOnce = 1

// Config is what a Sweeper needs. All fields but Grace are required.
type Config struct {
	Keeper *keeper.Keeper
	// Shares removes orphans: it knows what is under way on their paths.
	Shares *provisioner.Shares
	Client kubernetes.Interface
	// Names are the provisioner names that are served.
	Names []string
	// Cluster is the UID of the namespace kube-system.
	Cluster string
	// Interval is the pause between two passes.
	Interval time.Duration
	// Grace is how old a record must be before it is removed.
	Grace time.Duration
}

// Sweeper looks after one share.
type Sweeper struct {
	config Config
	live   cluster.Live
	settle time.Duration
	retry  time.Duration

	mu       sync.Mutex
	findings []doctor.Finding // of the last pass
	removed  int
	last     time.Time // when the last pass ended
}

// New makes the Sweeper of a share. Nothing is looked at before Run.
func New(config Config) *Sweeper {
	return &Sweeper{config: config, live: cluster.Live{Client: config.Client}, settle: settle, retry: min(retry, config.Interval)}
}

// Run makes a pass whenever it is time, until ctx ends, and what is under way with
// it.
func (s *Sweeper) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", s.config.Keeper.Name()))
	for s.config.Keeper.WaitReady(ctx) == nil {
		pause := s.config.Interval
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Cannot look for what was left behind", "retry", s.retry)
			pause = s.retry
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// wait reports false if ctx ends first.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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
	s.findings, s.last = findings, time.Now()
}

func (s *Sweeper) countRemoved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed++
}
