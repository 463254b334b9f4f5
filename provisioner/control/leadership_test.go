package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// clocks are two that a test sets.
type clocks struct {
	boot, wall time.Duration // since they began
	err        error
}

func (c *clocks) now() (moment, error) {
	return moment{time.Hour + c.boot, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(c.wall)}, c.err
}

func (c *clocks) advance(d time.Duration) { c.boot, c.wall = c.boot+d, c.wall+d }

// lockOf is a lock that sends nothing.
type lockOf struct {
	resourcelock.Interface
	onWrite func() error
	holder  string
	writes  int
}

func (l *lockOf) Identity() string { return "one" }

func (l *lockOf) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{HolderIdentity: l.holder}, nil, nil
}

func (l *lockOf) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, record)
}

func (l *lockOf) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	l.writes++
	if l.onWrite != nil {
		return l.onWrite()
	}
	return nil
}

// candidate is a replica with clocks and a lock of the test's; its renew deadline is 10 s.
type candidate struct {
	*Leadership
	clocks *clocks
	sent   *lockOf
	lock   agedLock
}

func newCandidate() candidate {
	c := candidate{Leadership: NewLeadership(&Lease{Identity: "one"}), clocks: &clocks{}, sent: &lockOf{holder: "one"}}
	c.clock = c.clocks.now
	c.lock = agedLock{c.sent, c.Leadership}
	return c
}

// renewLease is what the elector does.
func (c candidate) renewLease(t *testing.T) error {
	t.Helper()
	return c.lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "one"})
}

// newLeading is a candidate that has the lease.
func newLeading(t *testing.T) candidate {
	t.Helper()
	c := newCandidate()
	if err := c.lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "one"}); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantLost wants what a leader that has lost its lease does: refuse everything, for ever.
func (c candidate) wantLost(t *testing.T, text string) {
	t.Helper()
	for range 2 {
		for _, err := range []error{c.Check(), c.allow()} {
			if !errors.Is(err, ErrLeaseLost) || !strings.Contains(err.Error(), text) {
				t.Errorf("%v; want %q", err, text)
			}
		}
		c.clocks.boot, c.clocks.wall, c.clocks.err = 0, 0, nil
	}
	select {
	case <-c.lost:
	default:
		t.Error("nobody is told")
	}
	writes := c.sent.writes
	if err := c.renewLease(t); !errors.Is(err, ErrLeaseLost) || c.sent.writes != writes {
		t.Errorf("the lease is renewed (%d requests sent): %v", c.sent.writes-writes, err)
	}
}

// A machine that is suspended stops either clock or none, and either may be the one that
// runs: the older age counts.
func TestLeaseAgeOnBothClocks(t *testing.T) {
	for name, c := range map[string]struct {
		boot, wall time.Duration
		lost       string // empty: leads
	}{
		"just renewed":                    {0, 0, ""},
		"at the deadline":                 {10 * time.Second, 10 * time.Second, ""},
		"paused":                          {63 * time.Second, 63 * time.Second, "it was last renewed 1m3s ago, more than the renew deadline of 10s: another replica may lead"},
		"just past the deadline":          {10*time.Second + 100*time.Millisecond, 0, "10.1s ago"},
		"the wall clock stood still":      {11 * time.Second, 0, "11s ago"},
		"the wall clock was set back":     {11 * time.Second, -time.Hour, "11s ago"},
		"set back, and young":             {9 * time.Second, -time.Hour, ""},
		"the boot clock stood still":      {0, 11 * time.Second, "11s ago"},
		"a wall clock ahead is believed":  {time.Second, time.Hour, "1h0m0s ago"},
		"a boot clock that runs backward": {-time.Hour, time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeading(t)
			l.clocks.boot, l.clocks.wall = c.boot, c.wall
			if c.lost != "" {
				l.wantLost(t, c.lost)
			} else if err := l.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLeaseStaysYoungWhileItIsRenewed(t *testing.T) {
	l := newLeading(t)
	for range 20 {
		l.clocks.advance(9 * time.Second)
		if err := errors.Join(l.Check(), l.renewLease(t)); err != nil {
			t.Fatal(err)
		}
	}
	l.sent.onWrite = errInternal
	for range 2 {
		l.clocks.advance(6 * time.Second)
		if l.renewLease(t) == nil {
			t.Error("an error of the API server is lost")
		}
	}
	l.wantLost(t, "12s ago") // what failed has renewed nothing
}

// The others may see a renewal as soon as it is sent.
func TestLeaseAgeCountsFromTheRequest(t *testing.T) {
	l := newLeading(t)
	l.sent.onWrite = func() error { l.clocks.advance(9 * time.Second); return nil }
	if err := l.renewLease(t); err != nil {
		t.Fatal(err)
	}
	l.clocks.advance(2 * time.Second)
	l.wantLost(t, "11s ago")
}

// The answer to a renewal sent before a pause arrives after it.
func TestAnswerAfterThePauseRenewsNothing(t *testing.T) {
	l := newLeading(t)
	l.sent.onWrite = func() error { l.clocks.advance(time.Minute); return nil }
	if err := l.renewLease(t); !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	l.wantLost(t, "1m0s ago")
}

func TestLeaseOfAnotherIsLost(t *testing.T) {
	c := newCandidate()
	c.sent.holder = "two"
	get := func() {
		t.Helper()
		if _, _, err := c.lock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	get()
	if err := c.renewLease(t); err != nil {
		t.Error("a standby cannot take a lease that has run out:", err)
	}
	for _, c.sent.holder = range []string{"one", ""} {
		if get(); c.Check() != nil {
			t.Error("lost, and no other has it")
		}
	}
	c.sent.holder = "two"
	get()
	c.wantLost(t, "replica two has it")
}

func TestUnreadableClockLosesTheLease(t *testing.T) {
	l := newLeading(t)
	l.clocks.err = errors.New("no such clock")
	l.wantLost(t, "no such clock")
}

func TestOnlyALeaderPassesCheck(t *testing.T) {
	standby := newCandidate()
	standby.clocks.advance(time.Hour)
	if err := standby.Check(); err == nil || err.Error() != "this replica does not lead" {
		t.Error("standby:", err)
	}
	if err := standby.allow(); err != nil {
		t.Error("a standby may not even fill its caches:", err)
	}
	standby.lose(errors.New("there is nothing to lose"))
	if err := errors.Join(standby.renewLease(t), standby.Check()); err != nil {
		t.Error("a standby that was paused cannot take over:", err)
	}
	standby.giveBack()
	if standby.Check() == nil || standby.allow() == nil {
		t.Error("acts after it has given its lease back")
	}
	alone := NewLeadership(nil)
	alone.clock = func() (moment, error) { return moment{}, errors.New("no such clock") }
	if err := errors.Join(alone.Check(), alone.allow()); err != nil {
		t.Error("without election:", err)
	}
}

// The two clocks of this system both run, and neither is Go's monotonic clock.
func TestSystemClock(t *testing.T) {
	before, err := systemClock()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	after, err := systemClock()
	if err != nil {
		t.Fatal(err)
	}
	if boot, wall := after.boot-before.boot, after.wall.Sub(before.wall); min(boot, wall) < 20*time.Millisecond || max(boot, wall) > patience {
		t.Errorf("boot %v, wall %v in 20ms", boot, wall)
	}
	if strings.Contains(after.wall.String(), "m=") {
		t.Error("a monotonic reading:", after.wall)
	}
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestNothingIsSentForALostLease(t *testing.T) {
	var arrived atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	t.Cleanup(server.Close)
	c := newCandidate()
	transport := c.Wrap(http.DefaultTransport)
	send := func() error {
		t.Helper()
		body := &closeCounter{Reader: strings.NewReader("x")}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		if body.closed == 0 {
			t.Error("the body is not closed")
		}
		return err
	}
	if err := errors.Join(send(), c.renewLease(t), send()); err != nil {
		t.Fatal(err)
	}
	c.clocks.advance(11 * time.Second)
	if err := send(); !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	if n := arrived.Load(); n != 2 {
		t.Errorf("%d requests arrived, want that of the standby and that of the leader", n)
	}
}

func TestGateRefusesWhoDoesNotLead(t *testing.T) {
	c := newCandidate()
	g := newGate(c.Check)
	if g.open() || g.enter(opProvision, "a") {
		t.Error("a standby may begin")
	}
	if err := c.renewLease(t); err != nil {
		t.Fatal(err)
	}
	if !g.open() || !g.enter(opProvision, "b") {
		t.Error("a leader may not begin")
	}
	c.clocks.advance(11 * time.Second)
	if g.open() || g.enter(opProvision, "c") {
		t.Error("a leader that has lost its lease may begin")
	}
}
