package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// script says how long a try of a directory takes and why it fails; without an error
// the directory is really removed.
type script func(s *scripted, name string) (takes time.Duration, err error)

// scripted is a share on which each try of a directory does what the test says, while all
// else is real. The names of the directories are of layout 1, which only a removal looks at.
type scripted struct {
	try script

	mu       sync.Mutex
	notReady bool
	tries    map[string][]time.Time
	busy     map[string]bool
	denied   map[string]failed
	most     int // at once
	twice    bool
	skipped  []string // tries while the share was not ready
}

var errNotMounted = errors.New("it is not mounted")

// mounted is the keeper's.
func (s *scripted) mounted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notReady {
		return errNotMounted
	}
	return nil
}

func (s *scripted) call(operation string, call func() error) error {
	verb, name, _ := strings.Cut(operation, " ")
	if err := s.forbidden(strings.TrimPrefix(name, "at ")); err != nil {
		return err
	}
	if verb != "open" || !strings.HasPrefix(name, "bad") && !strings.HasPrefix(name, "good") {
		return call()
	}
	s.begin(name)
	takes, err := s.try(s, name)
	if err != nil {
		time.Sleep(takes)
	}
	if s.end(name, err); err != nil {
		return err
	}
	return call()
}

func (s *scripted) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.twice = s.twice || s.busy[name]
	s.busy[name] = true
	s.most = max(s.most, len(s.busy))
	s.tries[name] = append(s.tries[name], time.Now())
	if s.notReady {
		s.skipped = append(s.skipped, name)
	}
}

func (s *scripted) end(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, name)
	if errors.Is(err, os.ErrPermission) {
		s.denied[name] = failed{time.Now(), err}
	}
}

// failed is when and why a try failed.
type failed struct {
	at  time.Time
	err error
}

// forbidden is the error of a try that may not open the directory, and now tries without
// the right to.
func (s *scripted) forbidden(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.denied[name]; last.err != nil && last.at.Equal(time.Now()) {
		return last.err
	}
	return nil
}

func (s *scripted) triesOf(name string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries[name])
}

// scene is an Emptier on a scripted Keeper, in a bubble of its own time.
type scene struct {
	*scripted

	emptier *Emptier
	world   *world // for its directories and what is reported
	stop    func() // and waits for the end of Run
}

// play runs the Emptier on a trash that has these directories, and the test beside it.
func play(t *testing.T, directories []string, try script, test func(t *testing.T, s *scene)) {
	t.Helper()
	w := openWorld(t)
	synctest.Test(t, func(t *testing.T) {
		s := &scene{world: w, scripted: &scripted{try: try, tries: map[string][]time.Time{}, busy: map[string]bool{}, denied: map[string]failed{}}}
		for _, name := range directories {
			s.add(t, name)
		}
		config := w.kept(24 * time.Hour) // no try is given up
		config.Mount.Name, config.Mounted, config.Call = "scripted", s.mounted, s.call
		k := access.New(config)
		s.emptier = w.emptier(k)
		ctx, cancel := context.WithCancel(t.Context())
		kept, endKeeper := context.WithCancel(t.Context())
		ended, keeperEnded := make(chan struct{}), make(chan struct{})
		go func() { defer close(keeperEnded); k.Run(kept) }()
		must(t, k.WaitReady(ctx))
		go func() { defer close(ended); s.emptier.Run(ctx) }()
		s.stop = func() { cancel(); <-ended }
		defer func() { s.stop(); endKeeper(); <-keeperEnded }()
		test(t, s)
		if s.mu.Lock(); s.twice {
			t.Error("a directory was tried twice at once")
		}
		s.mu.Unlock()
	})
}

func (s *scene) add(t *testing.T, name string) {
	t.Helper()
	must(t, os.MkdirAll(s.world.dir+"/.claimdir/trash/"+name, 0o755))
}

// wait lets time pass until nothing more happens at its end.
func (s *scene) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *scene) is(name string) bool {
	_, err := os.Stat(s.world.dir + "/.claimdir/trash/" + name)
	return err == nil
}

func names(prefix string, count int) (all []string) {
	for i := range count {
		all = append(all, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return all
}

// bad makes what begins with "bad" fail after a time, and all else succeed.
func bad(takes time.Duration, err error) script {
	return func(_ *scripted, name string) (time.Duration, error) {
		if strings.HasPrefix(name, "bad") {
			return takes, err
		}
		return 0, nil
	}
}

func TestADirectoryThatFailsIsTriedLaterAndLater(t *testing.T) {
	play(t, []string{"bad-1"}, bad(0, fmt.Errorf("remove: sub/file: %w", os.ErrPermission)), func(t *testing.T, s *scene) {
		s.wait(time.Hour)
		tries, failures := s.triesOf("bad-1"), s.world.reported()
		want := []time.Duration{10, 20, 40, 80, 160, 320, 600, 600, 600}
		if len(tries) < len(want)+1 || len(failures) != len(tries) {
			t.Fatalf("%d tries, %d failures", len(tries), len(failures))
		}
		for i, pause := range want {
			if got := tries[i+1].Sub(tries[i]); got != pause*time.Second || failures[i].Retry != got {
				t.Errorf("pause %d is %v, told was %v, want %v", i, got, failures[i].Retry, pause*time.Second)
			}
		}
		const metrics = `# HELP claimdir_trash_failing_volumes Released directories whose removal has failed so far, by reason.
# TYPE claimdir_trash_failing_volumes gauge
claimdir_trash_failing_volumes{reason="busy",share="scripted"} 0
claimdir_trash_failing_volumes{reason="filled",share="scripted"} 0
claimdir_trash_failing_volumes{reason="mounted",share="scripted"} 0
claimdir_trash_failing_volumes{reason="other",share="scripted"} 0
claimdir_trash_failing_volumes{reason="permission",share="scripted"} 1
`
		must(t, testutil.GatherAndCompare(register(t, s.emptier), strings.NewReader(metrics), "claimdir_trash_failing_volumes"))
		if n := testutil.ToFloat64(s.emptier.metrics.failures.WithLabelValues("permission")); int(n) != len(tries) {
			t.Errorf("%v failures are counted of %d", n, len(tries))
		}
	})
}

// A reason may change, and in the end the directory goes: nothing fails then.
func TestMetricsFollowADirectoryThatFails(t *testing.T) {
	errs := []error{os.ErrPermission, syscall.EBUSY, nil}
	try := 0
	play(t, []string{"bad-1"}, func(*scripted, string) (time.Duration, error) { try++; return 0, errs[try-1] }, func(t *testing.T, s *scene) {
		show := func() [3]float64 {
			m := s.emptier.metrics
			return [3]float64{testutil.ToFloat64(m.waiting), testutil.ToFloat64(m.failing.WithLabelValues("permission")), testutil.ToFloat64(m.failing.WithLabelValues("busy"))}
		}
		s.wait(time.Second)
		for _, want := range [][3]float64{{1, 1, 0}, {1, 0, 1}, {0, 0, 0}} {
			if show() != want {
				t.Errorf("waiting and failing are %v, want %v", show(), want)
			}
			s.wait(20 * time.Second) // the pauses are 10 and 20 seconds
		}
	})
}

func TestFailureText(t *testing.T) {
	f := Failure{
		Name: "pvc-1-1", Record: ledger.Record{PV: "pvc-1", Path: "team/data", Claim: ledger.Claim{Namespace: "team", Name: "data"}},
		Err: fmt.Errorf("remove: sub/file: %w", os.ErrPermission), Retry: time.Minute,
	}
	for _, word := range []string{"pvc-1", "team/data", "sub/file", "retrying in 1m"} {
		if !strings.Contains(f.Error(), word) {
			t.Errorf("%q does not say %q", f, word)
		}
	}
}

// Many that fail, and slowly, hold up neither what is new nor each other.
func TestNewOnesComeBeforeThoseThatFailed(t *testing.T) {
	many := names("bad", 20*AtOnce)
	play(t, many, bad(time.Minute, syscall.EBUSY), func(t *testing.T, s *scene) {
		s.wait(20*time.Minute + time.Second) // all were tried once, and the first are due again
		if failures := len(s.world.reported()); failures != len(many) {
			t.Fatalf("%d tries have failed", failures)
		}
		s.wait(10 * time.Minute)
		s.add(t, "good-1") // sorted behind all that fail
		if s.wait(lookEvery + time.Minute); s.is("good-1") {
			t.Error("it waits behind those that failed")
		}
		s.wait(2 * time.Hour)
		fewest, most := 1000, 0
		for _, name := range many {
			fewest, most = min(fewest, len(s.triesOf(name))), max(most, len(s.triesOf(name)))
		}
		if fewest < 5 || most > fewest+1 {
			t.Errorf("some were tried %d times and some %d", fewest, most)
		}
		if s.most != AtOnce {
			t.Errorf("%d at once, want %d", s.most, AtOnce)
		}
	})
}

func TestWhatSomebodyElseRemovedIsForgotten(t *testing.T) {
	play(t, []string{"bad-1"}, bad(0, syscall.EBUSY), func(t *testing.T, s *scene) {
		s.wait(5 * time.Minute)
		tries := len(s.triesOf("bad-1"))
		must(t, os.Remove(s.world.dir+"/.claimdir/trash/bad-1"))
		s.wait(lookEvery)
		m := s.emptier.metrics
		if testutil.ToFloat64(m.waiting) != 0 || testutil.ToFloat64(m.failing.WithLabelValues("busy")) != 0 {
			t.Error("what is gone is still counted")
		}
		if s.wait(time.Hour); len(s.triesOf("bad-1")) != tries {
			t.Error("what is gone is still tried")
		}
		s.add(t, "bad-1") // another one of that name has failed never
		s.wait(lookEvery + 10*time.Second)
		if got := len(s.triesOf("bad-1")); got != tries+2 {
			t.Errorf("%d tries, want two more than %d", got, tries)
		}
	})
}

// It comes again when the share does, behind the others, and nothing is told as failed.
func TestTroubleIsNotTheDirectorysFault(t *testing.T) {
	all := names("bad", 2*AtOnce)
	trouble := true
	play(t, all, func(s *scripted, _ string) (time.Duration, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if trouble {
			s.notReady = true
			return 0, fmt.Errorf("open the share: %w", share.ErrNotRecognised)
		}
		return 0, nil
	}, func(t *testing.T, s *scene) {
		s.wait(time.Hour)
		if n := len(s.skipped); n > AtOnce {
			t.Errorf("%d tries while the share was not ready", n)
		}
		s.mu.Lock()
		trouble, s.notReady = false, false
		s.mu.Unlock()
		s.wait(2 * lookEvery) // the keeper's look, and the Emptier's
		if left := s.world.left(t); left > 0 || len(s.world.reported()) > 0 {
			t.Errorf("%d are left, failures %v", left, s.world.reported())
		}
	})
}

func TestRunEndsAfterWhatIsUnderWay(t *testing.T) {
	play(t, names("bad", 100), bad(time.Minute, syscall.EBUSY), func(t *testing.T, s *scene) {
		s.wait(time.Second)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took != time.Minute-time.Second {
			t.Errorf("Run ended after %v", took)
		}
		if tries := len(s.tries); tries != AtOnce || len(s.world.reported()) > 0 {
			t.Errorf("%d were tried, failures %v", tries, s.world.reported())
		}
	})
}

// None waits longer than the others' turns take, and a turn is no failure.
func TestTurnsGoRound(t *testing.T) {
	large := names("bad", AtOnce+2)
	play(t, large, bad(turn, errTurnOver), func(t *testing.T, s *scene) {
		began := time.Now()
		s.wait(10*turn - time.Second)
		all := 0
		for _, name := range large {
			last := began
			for _, at := range append(s.triesOf(name), time.Now()) {
				if at.Sub(last) > 2*turn {
					t.Errorf("%s: no turn from %v to %v", name, last, at)
				}
				last = at
			}
			all += len(s.triesOf(name))
		}
		if all != 10*AtOnce || len(s.world.reported()) > 0 {
			t.Errorf("%d turns, failures %v", all, s.world.reported())
		}
	})
}

// A directory may be removed while the trash is listed, so that the listing still shows
// it. One of that name in the listing after it is another one.
func TestAListingThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(klog.Background(), retryFirst, newMetrics(""))
		defer q.ShutDown()
		q.beginListing()
		q.listed([]string{"pvc-1-1"}, nil)
		name, _ := q.Get()
		q.begin(name)
		q.beginListing()
		q.done(name)
		q.Done(name)
		if q.listed([]string{name}, nil); q.Len() > 0 {
			t.Error("what was removed is queued again")
		}
		q.beginListing()
		if q.listed([]string{name}, nil); q.Len() != 1 {
			t.Error("a new one is not queued")
		}
	})
}
