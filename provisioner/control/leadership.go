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

// checkPeriod is how often a leader that does nothing else looks how old its lease is.
const checkPeriod = 200 * time.Millisecond

var (
	errNotLeading = errors.New("this replica does not lead")
	errGivenBack  = errors.New("this replica does not lead any more: it has given its lease back")
)

// Leadership says whether this replica may act as the leader. It does not ask the
// elector: that gives a leader that was paused (SIGSTOP, a suspended machine) the whole
// renew deadline once more after it wakes, while another replica leads already. It
// remembers when the lease was last renewed, and a leader whose lease is older than the
// renew deadline has lost it for ever: the process must end.
type Leadership struct {
	lease *Lease // nil without election
	clock clock
	lost  chan struct{} // closed when the lease is lost

	mu      sync.Mutex
	led     bool
	renewed moment // just before the last request that succeeded was sent
	over    error  // why this replica leads no more; it never leads again
}

// NewLeadership returns the Leadership of a replica that does not lead yet. Without a
// lease there is no election, and the replica always leads.
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

// Check returns nil while this replica leads and its lease is young enough, and
// otherwise an error that says why not. Call it before each act of a leader. Once the
// lease is lost, the error wraps ErrLeaseLost and stays.
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

// allow is Check, except that a replica that has never led may go on: a standby fills
// its caches and asks for the lease.
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
		l.end(fmt.Errorf("%w: its age cannot be told: %w", ErrLeaseLost, err))
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

// giveBack ends the leadership of a replica that has done all its work. Nothing is lost.
func (l *Leadership) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		l.over = errGivenBack
	}
}

// renew remembers that a request for the lease, sent after at, has succeeded. It fails
// if that is too long ago by now: then another replica may have taken the lease already.
func (l *Leadership) renew(at moment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.led, l.renewed = true, at
	return l.check()
}

// watch looks until ctx ends, so that a leader that does nothing notices, too.
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

// agedLock tells the Leadership when the elector has renewed the lease, and keeps an
// elector that was paused from renewing a lease that is lost.
type agedLock struct {
	resourcelock.Interface
	leadership *Leadership
}

// Get loses the lease if another replica has it: the elector would try to renew it
// until its deadline.
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

// write takes the time before it sends: the others count from when they see the
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

// age is the larger of what the two clocks say: either may have stood still, and the
// wall clock may have been set back.
func (m moment) age(now moment) time.Duration {
	return max(now.boot-m.boot, now.wall.Sub(m.wall), 0)
}

type clock func() (moment, error)

// systemClock leaves out Go's monotonic clock, which time.Time.Sub would prefer: it
// stands still while the machine is suspended.
func systemClock() (moment, error) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return moment{}, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return moment{time.Duration(boot.Nano()), time.Now().Round(0)}, nil
}
