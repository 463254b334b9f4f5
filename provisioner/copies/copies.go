package copies

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/access"
	"claimdir/provisioner/fair"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// Job is one copy. All fields are required.
type Job struct {
	// Name is the own name of what the copy is for. It names the staging directory: see share.Copy. Of jobs of one name
	// on one share only one runs.
	Name string
	// Namespace is whose turn it is.
	Namespace string
	// To is the share that gets the copy, From the one that has the source.
	To, From *access.Keeper
	// Find returns which directory is copied. It is called before the copy and once more after it, and returns an
	// error if that is not, or no more, what was meant.
	Find func(ctx context.Context, store ledger.Store) (share.CopyFrom, error)
	// Wanted returns nil as long as what the copy is for exists. It is called every few seconds; any error ends the job.
	Wanted func(ctx context.Context) error
	// Begin is called with what the source holds, before the first byte is copied. It may refuse the copy.
	Begin func(ctx context.Context, source share.Usage) error
	// Complete is called when the tree is whole.
	Complete func(ctx context.Context, result share.Copied) error
	// Progress is called now and then with a text for people.
	Progress func(text string)
	// Ended is called when the job has ended, with its error. It is not called when the process stops.
	Ended func(ctx context.Context, err error)
}

// Config is what Copies need.
type Config struct {
	// AtOnce is how many copies run at a time on each share.
	AtOnce int
	// Rate is how many calls a second the copies of one share make together, and Bandwidth how many bytes they read and
	// write a second; 0 means no limit.
	Rate, Bandwidth int
	// Workers is how many files of a copy are copied at a time.
	Workers int
}

// Copies runs jobs. It must be made by New.
type Copies struct {
	config  Config
	metrics metrics
	turn    time.Duration // turn, except in tests
	first   time.Duration // firstProgress, except in tests

	mu     sync.Mutex
	lanes  map[*access.Keeper]*lane
	run    func(t *task) // nil before and after Run
	all    sync.WaitGroup
	failed map[key]failure
}

// failure is why the last run of a job failed.
type failure struct {
	err   error
	times int       // it failed in a row
	until time.Time // when it may be started again
}

// key tells the jobs apart.
type key struct {
	to   *access.Keeper
	name string
}

// lane is the work on one share.
type lane struct {
	copier *share.Copier
	meter  *share.Meter
	tasks  map[string]*task // that wait or run, by name

	// fresh are jobs that wait for their first turn, long those that have had one. Each kind has room of its own, so that
	// neither keeps the other waiting: see next.
	fresh, long   fair.Queue[*task]
	running       int
	runningOfLong int
	swap          bool // whose turn it is if there is only one place
}

// of returns the queue in which a task waits, or would.
func (l *lane) of(t *task) *fair.Queue[*task] {
	if t.turns > 0 {
		return &l.long
	}
	return &l.fresh
}

const (
	// failedMost bounds how many failures are remembered.
	failedMost = 10_000
	// retryFirst and retryMost bound the time after which a job that failed may be started again. It is doubled each time.
	retryFirst, retryMost = time.Second, 5 * time.Minute
)

// panicked is what the log says of a panic.
const panicked = "Panic in a copy"

// New makes Copies. Nothing is copied before Run.
func New(config Config) *Copies {
	return &Copies{config: config, metrics: newMetrics(), turn: turn, first: firstProgress, lanes: map[*access.Keeper]*lane{}, failed: map[key]failure{}}
}

// Collectors returns the metrics.
func (c *Copies) Collectors() []prometheus.Collector { return c.metrics.collectors() }

// Run lets jobs run until ctx ends, and returns when those that run have ended. What they have copied stays for their
// next run.
func (c *Copies) Run(ctx context.Context) {
	c.mu.Lock()
	c.run = func(t *task) { c.all.Go(func() { t.work(ctx) }) }
	for _, l := range c.lanes {
		c.next(l)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.run = nil
	c.mu.Unlock()
	c.all.Wait()
}

// Start starts a job, unless one of its name waits or runs. A job that failed it starts again after a time that grows, and
// returns until then why it failed.
func (c *Copies) Start(job Job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lane(job.To)
	if l.tasks[job.Name] != nil {
		return nil
	}
	if f := c.failed[key{job.To, job.Name}]; time.Now().Before(f.until) {
		return f.err
	}
	t := &task{Job: job, copies: c, lane: l}
	l.tasks[job.Name] = t
	l.fresh.Push(job.Namespace, t)
	c.next(l)
	return nil
}

// Runs reports whether a job of that name runs on a share. It may still write to its staging directory then, also when the
// tree there has got another place.
func (c *Copies) Runs(to *access.Keeper, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[to]
	return l != nil && l.tasks[name] != nil && l.tasks[name].runs
}

// Count returns how many jobs run on a share, and how many wait for a place or their next turn. It calls nobody.
func (c *Copies) Count(to *access.Keeper) (running, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[to]
	if l == nil {
		return 0, 0
	}
	return l.running, l.fresh.Len() + l.long.Len()
}

// lane must be called with mu held.
func (c *Copies) lane(to *access.Keeper) *lane {
	l := c.lanes[to]
	if l == nil {
		l = &lane{copier: share.NewCopier(c.config.Workers, c.config.Rate, c.config.Bandwidth), meter: share.NewMeter(c.config.Rate), tasks: map[string]*task{}}
		c.lanes[to] = l
	}
	return l
}

// next runs waiting tasks as long as there is room. It must be called with mu held.
func (c *Copies) next(l *lane) {
	for c.run != nil && l.running < c.config.AtOnce {
		queue := c.whose(l)
		if queue == nil {
			return
		}
		t := queue.Pop()
		l.running++
		if queue == &l.long {
			l.runningOfLong++
		}
		t.runs, t.ofLong = true, queue == &l.long
		c.run(t)
	}
}

// whose returns the queue whose turn it is, or nil if none may run another task. One task of the long ones may always run, and
// one place is never theirs; if there is only one place, both kinds take turns there.
func (c *Copies) whose(l *lane) *fair.Queue[*task] {
	if c.config.AtOnce == 1 {
		l.swap = !l.swap
	}
	longFirst, longMay := l.runningOfLong == 0, l.long.Len() > 0 && (c.config.AtOnce == 1 || l.runningOfLong < c.config.AtOnce-1)
	if c.config.AtOnce == 1 {
		longFirst = l.swap
	}
	switch {
	case longMay && (longFirst || l.fresh.Len() == 0):
		return &l.long
	case l.fresh.Len() > 0:
		return &l.fresh
	}
	return nil
}

// othersWait reports whether a job of another namespace waits for the place of a task.
func (c *Copies) othersWait(t *task) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := func(queue *fair.Queue[*task]) bool { return queue.Len() > queue.LenOf(t.Namespace) }
	if c.config.AtOnce == 1 {
		return waits(&t.lane.fresh) || waits(&t.lane.long)
	}
	return waits(t.lane.of(t)) || !t.ofLong && t.lane.runningOfLong == 0 && waits(&t.lane.long)
}

// over takes a task off its lane. A task whose turn is over waits for the next one.
func (c *Copies) over(ctx context.Context, t *task, err error) {
	c.mu.Lock()
	t.lane.running--
	if t.ofLong {
		t.lane.runningOfLong--
	}
	t.runs = false
	again := errors.Is(err, errTurnOver)
	if again {
		t.lane.long.Push(t.Namespace, t)
	} else {
		delete(t.lane.tasks, t.Name)
	}
	if !again && ctx.Err() == nil {
		c.note(key{t.To, t.Name}, err)
	}
	c.next(t.lane)
	c.mu.Unlock()
	if !again && ctx.Err() == nil {
		_ = access.Safely(ctx, panicked, func() error { t.Ended(ctx, err); return nil }) // a panic is logged, and the library comes back at its resync
	}
}

// note remembers how a job ended. It must be called with mu held.
func (c *Copies) note(k key, err error) {
	if err == nil {
		delete(c.failed, k)
		return
	}
	if len(c.failed) >= failedMost {
		clear(c.failed)
	}
	times := c.failed[k].times + 1
	c.failed[k] = failure{err, times, time.Now().Add(min(retryMost, retryFirst<<min(times-1, 10)))}
}

// Forget drops what is remembered of a job that failed: nobody waits for it any more.
func (c *Copies) Forget(to *access.Keeper, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, key{to, name})
}
