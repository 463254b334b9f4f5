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
	// Mounted returns an error if the mount table shows something else at the
	// share's directory than it did. It is nil for a share that is no mount.
	Mounted func() error
	// Known returns the paths of the volumes that the cluster has on the share,
	// and false as long as that cannot be told.
	Known func() (paths []volpath.Path, told bool)
	// NewID is the identity of a share that has none yet.
	NewID string
	// Timeout is how long one call may take before it is given up.
	Timeout time.Duration
	// Slots is how many operations may be under way.
	Slots int
	// Call makes each call of an operation to the share. It refuses if this process may
	// make none any more, because another replica may lead by now. Nil means that it
	// always may.
	Call share.Call
	// Changed is called, in a goroutine that must not wait, when the share
	// becomes ready, and when an operation that was given up has ended.
	Changed func()
}

// Keeper keeps one share. Run it; until then the share is starting.
type Keeper struct {
	config  Config
	metrics metrics
	every   time.Duration // lookEvery
	slots   chan struct{}

	mu      sync.Mutex
	trouble *Trouble      // nil if the share is ready
	changed chan struct{} // closed when trouble is exchanged
	share   *share.Share  // nil until the share was recognised once
	ledger  *ledger.Ledger
	room    share.Room
	stuck   int // operations that were given up and have not ended
}

// New makes the Keeper of a share.
func New(config Config) *Keeper {
	k := &Keeper{
		config: config, metrics: newMetrics(config.Mount), every: lookEvery, slots: make(chan struct{}, config.Slots), changed: make(chan struct{}),
	}
	k.trouble = k.newTrouble(Starting, time.Now(), errors.New("it was not looked at yet"))
	return k
}

// Name is the share's name, empty for one that needs none.
func (k *Keeper) Name() string { return k.config.Mount.Name }

// Source is what PersistentVolumes name as server and exported path.
func (k *Keeper) Source() share.Source { return k.config.Mount.Source }

// ID is the share's identity, empty until it was recognised once.
func (k *Keeper) ID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ledger == nil {
		return ""
	}
	return k.ledger.ID()
}

// Ready returns nil, or the *Trouble that the share is in.
func (k *Keeper) Ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trouble == nil {
		return nil
	}
	return k.trouble
}

// WaitReady returns when the share is ready, or with the end of ctx.
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

// Room is what the last look found.
func (k *Keeper) Room() share.Room {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.room
}

// Stuck is how many operations were given up and have not ended.
func (k *Keeper) Stuck() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stuck
}

// set exchanges the trouble, and logs a change. A trouble of the same kind and
// cause keeps its beginning.
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
	case t.Kind == Starting: // nothing is wrong
		logger.Info("The share is not served yet", "because", t.err.Error())
		return
	default:
		logger.Error(t, "The share cannot be worked on")
		return
	}
	logger.Info("Serving share", "after", time.Since(was.Since).Round(time.Millisecond))
	k.config.Changed()
}

func (k *Keeper) newTrouble(kind Kind, since time.Time, err error) *Trouble {
	return &Trouble{Kind: kind, Since: since, share: k.String(), err: err}
}

// String names the share for people.
func (k *Keeper) String() string {
	where := fmt.Sprintf("%s:%s", k.Source().Server, k.Source().Path)
	if k.Name() == "" {
		return "the share " + where
	}
	return fmt.Sprintf("share %q (%s)", k.Name(), where)
}
