package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Config is what a Keeper needs. All fields but Mounted and Call are required.
type Config struct {
	Mount share.Mount
	// Mounted returns an error if the mount at the share's directory has changed. It is nil for a
	// share that is a plain directory.
	Mounted func() error
	// Known returns the paths of the cluster's volumes on the share. It returns false while the
	// caches are not filled.
	Known func() (paths []volpath.Path, known bool)
	// NewID is the identity to write to a share that has none yet.
	NewID string
	// Timeout is how long one call may take before its operation is given up.
	Timeout time.Duration
	// Slots is how many operations may run at once, including operations that were given up and
	// still hang.
	Slots int
	// Call runs each call of an operation to the share. It returns an error without running the
	// call once another replica may lead. Nil runs every call.
	Call share.Call
	// Changed is called when the share becomes ready, and when an operation that was given up has
	// ended. It must not block.
	Changed func()
}

// Keeper guards the access to one share. The share stays in state starting until Run probes it.
type Keeper struct {
	config  Config
	metrics metrics
	every   time.Duration // probeEvery, except in tests
	slots   chan struct{}

	mu      sync.Mutex
	trouble *Trouble      // nil if the share is ready
	changed chan struct{} // closed and replaced when trouble changes
	share   *share.Share  // nil until the share is recognised
	ledger  *ledger.Ledger
	room    share.Room
	stuck   int // operations that were given up and still hang
}

// New returns the Keeper of a share.
func New(config Config) *Keeper {
	k := &Keeper{
		config: config, metrics: newMetrics(config.Mount), every: probeEvery, slots: make(chan struct{}, config.Slots), changed: make(chan struct{}),
	}
	k.trouble = k.newTrouble(Starting, time.Now(), errors.New("it has not been probed yet"))
	return k
}

// Name is the share's name. It is empty for a share that is mounted alone.
func (k *Keeper) Name() string { return k.config.Mount.Name }

// Source is the server and exported path that PersistentVolumes name.
func (k *Keeper) Source() share.Source { return k.config.Mount.Source }

// ID is the share's identity. It is empty until the share was recognised once.
func (k *Keeper) ID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ledger == nil {
		return ""
	}
	return k.ledger.ID()
}

// Ready returns nil, or the current *Trouble.
func (k *Keeper) Ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trouble == nil {
		return nil
	}
	return k.trouble
}

// WaitReady blocks until the share is ready or ctx is done.
func (k *Keeper) WaitReady(ctx context.Context) error {
	for {
		k.mu.Lock()
		ready, changed := k.trouble == nil, k.changed
		k.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Room is the size and free space that the last probe read.
func (k *Keeper) Room() share.Room {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.room
}

// Stuck is the number of operations that were given up and still hang.
func (k *Keeper) Stuck() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stuck
}

// set replaces the trouble and logs the change. A trouble of the same kind and cause keeps its
// start time.
func (k *Keeper) set(ctx context.Context, t *Trouble) {
	k.mu.Lock()
	was := k.trouble
	if t.same(was) {
		k.mu.Unlock()
		return
	}
	k.trouble = t
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	logger := klog.LoggerWithValues(klog.FromContext(ctx), "share", k.Name(), "server", k.Source().Server, "path", k.Source().Path, "mount", k.config.Mount.Dir)
	switch {
	case t == nil:
	case t.Kind == Starting: // not an error
		logger.Info("The share is not served yet", "reason", t.err.Error())
		return
	default:
		if lost, ok := errors.AsType[*lostError](t.err); ok {
			logger = klog.LoggerWithValues(logger, "missing", lost.example)
		}
		logger.Error(t, "The share cannot be worked on")
		return
	}
	logger.Info("Serving share", "after", time.Since(was.Since).Round(time.Millisecond))
	k.config.Changed()
}

func (k *Keeper) newTrouble(kind Kind, since time.Time, err error) *Trouble {
	return &Trouble{Kind: kind, Since: since, share: k.String(), err: err}
}

// String names the share in messages.
func (k *Keeper) String() string {
	where := fmt.Sprintf("%s:%s", k.Source().Server, k.Source().Path)
	if k.Name() == "" {
		return "the share " + where
	}
	return fmt.Sprintf("share %q (%s)", k.Name(), where)
}
