package quota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// DefaultBase is the first project id that is given out by default. Administrators use small ones.
const DefaultBase = 1_000_000

// pace is how many directories and files a second a walk may open.
const pace = 5000

// Config is what a Job needs.
type Config struct {
	// Dir is the exported directory, on this machine's own file system.
	Dir string
	// Base is the first project id that may be given out, above 0. Those below it are left alone, whatever the share says.
	Base uint32
	// Slack is added to the size of each claim.
	Slack Slack
	// DryRun says that nothing is changed, and what would be done is written to Out.
	DryRun bool
	// Once says that Run ends after one pass and its walks. A dry run always does.
	Once bool
	// Every is the time from one pass to the next.
	Every time.Duration
	// Out gets a line for each change, and for each volume that is left alone.
	Out io.Writer
	// Call makes the calls to the share; see share.Call. It may be nil.
	Call share.Call
}

// limits is what a pass needs of the file system of a view. Tests have one without quotas.
type limits interface {
	Project(p volpath.Path, id *share.Identity) (share.Project, error)
	ProjectUsage(project uint32) (share.ProjectUsage, error)
	LimitProject(project uint32, bytes uint64) error
	AloneOnFileSystem(ctx context.Context, do func() error) error
}

// Job sets the quotas of one share.
type Job struct {
	config  Config
	share   *share.Share
	records *ledger.Ledger
	limits  func(s *share.Share) limits
	block   uint64 // bytes to whose multiples limits are rounded
	pace    *rate.Limiter
	unlock  func()

	settle   func(ctx context.Context) error // settle, except in tests
	projects projects
	unsaved  bool      // the file on the share is older than projects
	saved    time.Time // when it was written

	active  map[uint64]*volume // as of the last pass, by the number of the directory
	walking map[uint64]*walk   // by the number of the directory
	fresh   []*walk            // those that have made no step: they come first, because most are short
	walks   []*walk            // the others, which take turns
	failed  map[uint64]failure // of walks, by the number of the directory
	left    map[string]string  // what was said of each volume or record that is left alone, by what it is
}

// Open returns the Job of a share that claimdir has used, and lets no other process have it. The
// error is share.ErrNoQuotas or share.ErrNotRoot if quotas cannot be set there, share.ErrAtWork if
// another process does that, and ledger.ErrNoRecords if the directory is not a share of claimdir.
// Close it after Run.
func Open(config Config) (*Job, error) {
	j := newJob(config)
	var err error
	if j.share, err = share.Open(config.Dir); err != nil {
		return nil, err
	}
	if j.block, err = j.share.CheckQuotas(); err != nil {
		return nil, err
	}
	if j.records, err = ledger.OpenReadOnly(j.share); err != nil {
		return nil, err
	}
	if !config.DryRun {
		if j.unlock, err = j.share.LockMeta(); err != nil {
			return nil, err
		}
	}
	if j.projects, err = readProjects(j.share, config.Base); err != nil {
		j.unlock()
		return nil, err
	}
	return j, nil
}

func newJob(config Config) *Job {
	return &Job{
		config: config, limits: func(s *share.Share) limits { return s },
		pace: rate.NewLimiter(pace, pace/10), unlock: func() {}, saved: time.Now(), settle: settle,
		walking: map[uint64]*walk{}, failed: map[uint64]failure{}, left: map[string]string{},
	}
}

// Close lets another process have the share.
func (j *Job) Close() { j.unlock() }

// ErrLeft says that some volumes have no limit, or no up-to-date one.
var ErrLeft = errors.New("were left alone (see above)")

// Run sets the quotas until ctx ends, or once. Of one run the error is ErrLeft if volumes were left
// alone; otherwise Run tells that to Out, and goes on. What a ctx that ends cuts off, the next run
// completes.
func (j *Job) Run(ctx context.Context) error {
	once := j.config.Once || j.config.DryRun
	said := ""
	for {
		began := time.Now()
		err := j.round(ctx, began, once)
		if ctx.Err() != nil {
			return nil
		}
		if once {
			if err == nil && len(j.left) > 0 {
				err = fmt.Errorf("volumes or records %w: %d", ErrLeft, len(j.left))
			}
			return err
		}
		text := ""
		if err != nil {
			text = output.Line(err) + "; repeated"
		}
		if text != said && text != "" {
			fmt.Fprintln(j.config.Out, text)
		}
		said = text
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(began.Add(j.config.Every))):
		}
	}
}

// round makes a pass, and then goes on with the walks until all have ended, with more passes between
// when it is time.
func (j *Job) round(ctx context.Context, began time.Time, once bool) error {
	_, err := j.share.CheckQuotas() // they may have been switched off since the last one
	if err == nil {
		err = j.pass(ctx)
	}
	for err == nil && len(j.walking) > 0 && ctx.Err() == nil {
		if !once && time.Since(began) >= j.config.Every {
			began = time.Now()
			if err = j.pass(ctx); err != nil {
				break
			}
			continue
		}
		err = j.walkOn(ctx)
	}
	return errors.Join(err, j.view(context.WithoutCancel(ctx), j.save))
}

// view calls do with a view of the share.
func (j *Job) view(ctx context.Context, do func(s *share.Share) error) error {
	s := j.share.During(ctx, j.config.Call)
	defer s.Release()
	return do(s)
}

// change says what is done, and does it unless this is a dry run.
func (j *Job) change(line string, do func() error) error {
	if j.config.DryRun {
		fmt.Fprintln(j.config.Out, "would set", output.Cell(line))
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	fmt.Fprintln(j.config.Out, output.Cell(line))
	return nil
}

// save writes projects.json if it has changed.
func (j *Job) save(s *share.Share) error {
	if !j.unsaved || j.config.DryRun {
		return nil
	}
	if err := j.projects.write(s); err != nil {
		return err
	}
	j.unsaved, j.saved = false, time.Now()
	return nil
}
