package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// checkPeriod is how often an idle leader checks the age of its lease.
const checkPeriod = 200 * time.Millisecond

var (
	errNotLeading = errors.New("this replica does not lead")
	errGivenBack  = errors.New("this replica no longer leads: it has released its lease")
)

// Leadership says whether this replica may act as the leader. It does not rely on the elector,
// which gives a paused leader (SIGSTOP, a suspended machine) the whole renew deadline again after
// it wakes, although another replica may lead already. Leadership remembers when the lease was last
// renewed. Once the lease is older than the renew deadline, it is lost for ever, and the process
// must end.
type Leadership struct {
	lease *Lease // nil without election
	clock clock
	lost  chan struct{} // closed when the lease is lost

	mu      sync.Mutex
	led     bool
	renewed moment // just before the last request that succeeded was sent
	over    error  // why this replica leads no more; it never leads again
}

// NewLeadership returns the Leadership of a replica that does not lead yet. If lease is nil, there
// is no election and the replica always leads.
func NewLeadership(lease *Lease) *Leadership {
	l := &Leadership{clock: systemClock, lost: make(chan struct{})}
	if lease != nil {
		withDefaults := *lease
		if lease.Duration == 0 {
			withDefaults.Duration, withDefaults.RenewDeadline, withDefaults.RetryPeriod = 15*time.Second, 10*time.Second, 2*time.Second
		}
		l.lease = &withDefaults
	}
	return l
}

// Check returns nil while this replica leads and its lease is young enough. Call it before each
// action of a leader. Once the lease is lost, it always returns an error that wraps ErrLeaseLost.
func (l *Leadership) Check() error {
	if l.lease == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil && !l.led {
		return errNotLeading
	}
	return l.check()
}

// allow is Check, but also returns nil for a replica that has never led: a standby fills its caches
// and requests the lease.
func (l *Leadership) allow() error {
	if l.lease == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.check()
}

// check must be called with mu held.
func (l *Leadership) check() error {
	if l.over != nil || !l.led {
		return l.over
	}
	now, err := l.clock()
	if err != nil {
		l.end(fmt.Errorf("%w: its age is unknown: %w", ErrLeaseLost, err))
	} else if age := l.renewed.age(now); age > l.lease.RenewDeadline {
		l.end(fmt.Errorf("%w: it was last renewed %v ago, more than the renew deadline of %v: another replica may lead",
			ErrLeaseLost, age.Round(100*time.Millisecond), l.lease.RenewDeadline))
	}
	return l.over
}

// end must be called with mu held.
func (l *Leadership) end(why error) {
	if l.over == nil {
		l.over = why
		close(l.lost)
	}
}

// lose ends the leadership, if there is one.
func (l *Leadership) lose(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.led {
		l.end(why)
	}
}

// giveBack ends the leadership of a replica after a complete drain. It does not count as a loss.
func (l *Leadership) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		l.over = errGivenBack
	}
}

// renew records that a request for the lease, sent after at, has succeeded. It fails if at is too
// long ago, because another replica may have taken the lease already.
func (l *Leadership) renew(at moment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.led, l.renewed = true, at
	return l.check()
}

// watch checks the lease until ctx is done, so that an idle leader notices the loss too.
func (l *Leadership) watch(ctx context.Context) {
	tick := time.NewTicker(checkPeriod)
	defer tick.Stop()
	for l.allow() == nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// agedLock tells the Leadership when the elector has renewed the lease. It keeps an elector that
// was paused from renewing a lost lease.
type agedLock struct {
	resourcelock.Interface
	leadership *Leadership
}

// Get reports the lease as lost if another replica has it. The elector would go on trying to renew
// it until its deadline.
func (a agedLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := a.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != "" && record.HolderIdentity != a.Identity() {
		a.leadership.lose(fmt.Errorf("%w: replica %s has it", ErrLeaseLost, record.HolderIdentity))
	}
	return record, raw, err
}

func (a agedLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return a.write(func() error { return a.Interface.Create(ctx, record) })
}

func (a agedLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return a.write(func() error { return a.Interface.Update(ctx, record) })
}

// write reads the clock before it sends, because the other replicas count from when they see the
// renewal, which may be long before its answer arrives here.
func (a agedLock) write(send func() error) error {
	at, err := a.leadership.clock()
	if err != nil {
		return err
	}
	if err := a.leadership.allow(); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	return a.leadership.renew(at)
}

// moment is a point in time on two clocks.
type moment struct {
	boot time.Duration // CLOCK_BOOTTIME: runs while the machine is suspended, and cannot be set
	wall time.Time     // right again once the host of a suspended virtual machine has set it
}

// age returns the larger of the two clocks' differences: either clock may have stood still, and the
// wall clock may have been set back.
func (m moment) age(now moment) time.Duration {
	return max(now.boot-m.boot, now.wall.Sub(m.wall), 0)
}

type clock func() (moment, error)

// systemClock strips Go's monotonic clock, which time.Time.Sub would prefer, because it stands
// still while the machine is suspended.
func systemClock() (moment, error) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return moment{}, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return moment{time.Duration(boot.Nano()), time.Now().Round(0)}, nil
}
