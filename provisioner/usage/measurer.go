package usage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

const (
	// rounds is how many times within an interval a Measurer looks for what is to be measured, so that new volumes
	// need not wait for those whose turn it is.
	rounds = 10
	// turns is the part of an interval that one directory may take. One that takes longer counts with what was
	// counted by then: a tenant can make more files than can be counted in a day, and others are to be measured, too.
	turns = 4
	// again is how many times as long as its last measurement took a directory is left alone that is measured in
	// every round.
	again = 10
)

// errTurnOver ends a measurement.
var errTurnOver = errors.New("it takes too long")

// Objects is what a Measurer reads from caches: see cluster.Informers.
type Objects interface {
	// Volume returns the PersistentVolume of that name if it is ours.
	Volume(name string) (*v1.PersistentVolume, bool)
	// Class returns the StorageClass of that name, or false if there is none.
	Class(name string) (*storagev1.StorageClass, bool)
}

// Config is what a Measurer needs. All fields are required.
type Config struct {
	Keeper  *access.Keeper
	Steps   *steps.Steps
	Objects Objects
	Client  kubernetes.Interface
	// Interval is how often each directory is measured.
	Interval time.Duration
	// Rate is how many files and directories a second are looked at; 0 means no limit.
	Rate int
	// PerVolume adds metrics of each volume to those of namespaces.
	PerVolume bool
	// Tell publishes an event on a claim. kind is v1.EventTypeNormal or v1.EventTypeWarning.
	Tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)
}

// Measurer measures the directories of one share.
type Measurer struct {
	config  Config
	meter   *share.Meter
	classes class.Cache
	now     func() time.Time

	readAll time.Time            // when all records were read
	trash   time.Time            // when the trash was measured
	well    time.Time            // when a pass ended well, or the first began
	said    map[string]time.Time // when what was logged

	mu sync.Mutex
	// known are those of volumes, archives and retained directories of this cluster, by path; nil until they were read.
	known map[string]figures
}

// New makes the Measurer of a share. It does nothing before Run.
func New(config Config) *Measurer {
	return &Measurer{config: config, meter: share.NewMeter(config.Rate), now: time.Now, said: map[string]time.Time{}}
}

// Run measures until ctx ends. It returns when its operation has ended, which does not wait for the pace.
func (m *Measurer) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", m.config.Keeper.Name()))
	wait.NonSlidingUntilWithContext(ctx, func(ctx context.Context) {
		if m.config.Keeper.WaitReady(ctx) == nil {
			m.round(ctx)
		}
	}, m.config.Interval/rounds)
}

// round makes a pass, and logs what people must know of it: that nothing was measured for an interval, or that
// something is measured too late.
func (m *Measurer) round(ctx context.Context) {
	if m.well.IsZero() {
		m.well = m.now()
	}
	err := m.pass(ctx)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		m.well = m.now()
		m.sayLate(ctx)
	case m.now().Sub(m.well) > m.config.Interval:
		m.say(ctx, "Cannot measure the directories", err)
	default:
		klog.FromContext(ctx).V(1).Info("Cannot measure the directories now", "because", err.Error())
	}
}

// say logs an error, once an interval: there may be one of each directory.
func (m *Measurer) say(ctx context.Context, what string, err error) {
	if at, is := m.said[what]; is && m.now().Sub(at) < m.config.Interval {
		return
	}
	m.said[what] = m.now()
	klog.FromContext(ctx).Info(what, "because", err.Error())
}

// sayLate logs that a volume was measured more than two intervals ago.
func (m *Measurer) sayLate(ctx context.Context) {
	oldest := m.now()
	for _, f := range m.volumes() {
		if !f.Began.IsZero() && f.Began.Before(oldest) {
			oldest = f.Began
		}
	}
	if m.now().Sub(oldest) > 2*m.config.Interval {
		m.say(ctx, "Figures are older than two times USAGE_INTERVAL", errTooShort)
	}
}

// errTooShort says what to do about an interval within which not all can be measured.
var errTooShort = errors.New("USAGE_INTERVAL is too short to measure all directories at USAGE_RATE: give it more time, or a higher rate")

// pass measures directories that were not measured for an interval, until it is time to look for new ones.
func (m *Measurer) pass(ctx context.Context) error {
	began := m.now()
	all := m.readAll.IsZero() || began.Sub(m.readAll) >= m.config.Interval || began.Before(m.readAll)
	left, err := m.read(ctx, all)
	if err != nil {
		return err
	}
	if all {
		m.readAll = began
	}
	for _, path := range left {
		err := m.on(ctx, path, "forget the usage of "+path.String(), steps.Op.ForgetUsage)
		if err := passOver(ctx, path, err); err != nil {
			return err
		}
	}
	for _, path := range m.due() {
		if err := passOver(ctx, path, m.measure(ctx, path)); err != nil {
			return err
		}
		if m.now().Sub(began) >= m.config.Interval/rounds {
			break
		}
	}
	return m.measureTrash(ctx)
}

// passOver returns an error that ends a pass: the share is in trouble, or the process stops. The error of one directory
// does not: it may be gone by now, another operation may work on it, and sweep and doctor look after what is wrong with
// it. The next round tries again.
func passOver(ctx context.Context, path volpath.Path, err error) error {
	_, trouble := errors.AsType[*access.Trouble](err)
	if err == nil || trouble || ctx.Err() != nil {
		return err
	}
	klog.FromContext(ctx).V(1).Info("Cannot measure a directory", "path", path, "because", err.Error())
	return nil
}

// on runs an operation on a path, and waits until it has really ended.
func (m *Measurer) on(ctx context.Context, path volpath.Path, name string, work func(op steps.Op) error) error {
	return m.config.Steps.On(ctx, access.Periodic{Keeper: m.config.Keeper}, path, name, func(_ context.Context, op steps.Op) error { return work(op) })
}

// due returns the paths that are to be measured now: in turns, one of which people were told something, and the one
// that was measured longest ago. The former are measured in every round, so that nobody waits long after he has made
// room, unless they take too long for that.
func (m *Measurer) due() (paths []volpath.Path) {
	now := m.now()
	since := func(t time.Time) time.Duration {
		if t.After(now) { // the clock was ahead then
			return m.config.Interval
		}
		return now.Sub(t)
	}
	m.mu.Lock()
	var often, others []figures
	for _, f := range m.known {
		switch age := since(f.Began); {
		case f.Told > 0 && age >= again*f.Ended.Sub(f.Began):
			often = append(often, f)
		case age >= m.config.Interval:
			others = append(others, f)
		}
	}
	m.mu.Unlock()
	oldest := func(a, b figures) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Path, b.Path)) }
	slices.SortFunc(often, oldest)
	slices.SortFunc(others, oldest)
	for i := range max(len(often), len(others)) {
		for _, list := range [][]figures{often, others} {
			if i >= len(list) {
				continue
			}
			if path, err := volpath.ParseRecorded(list[i].Path); err == nil {
				paths = append(paths, path)
			}
		}
	}
	return paths
}
