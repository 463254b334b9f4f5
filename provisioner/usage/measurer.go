package usage

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
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
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// rounds is how many times within an interval a Measurer looks for what is to be measured. So a new volume is
// measured within a tenth of the interval.
const rounds = 10

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

	mu    sync.Mutex
	known map[string]figures // of volumes, archives and retained directories of this cluster, by path
}

// New makes the Measurer of a share. It does nothing before Run.
func New(config Config) *Measurer {
	return &Measurer{config: config, meter: share.NewMeter(config.Rate), now: time.Now, known: map[string]figures{}}
}

// Run measures until ctx ends. It returns when its operation has ended, which does not wait for the pace.
func (m *Measurer) Run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "share", m.config.Keeper.Name()))
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if m.config.Keeper.WaitReady(ctx) != nil {
			return
		}
		began := m.now()
		err := m.pass(ctx)
		switch took := m.now().Sub(began); {
		case ctx.Err() != nil:
		case err != nil:
			klog.FromContext(ctx).V(1).Info("Cannot measure the directories now", "because", err.Error())
		case took > m.config.Interval:
			klog.FromContext(ctx).Info("Measuring all directories took longer than USAGE_INTERVAL, so figures are older than that; give it more time, or a higher USAGE_RATE",
				"took", took.Round(time.Second), "interval", m.config.Interval, "rate", m.config.Rate)
		}
	}, m.config.Interval/rounds)
}

// pass measures each directory that was not measured for an interval.
func (m *Measurer) pass(ctx context.Context) error {
	left, err := m.read(ctx)
	if err != nil {
		return err
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

// due returns the paths that are to be measured now: first those that were measured longest ago. What people were
// told of is measured in every round, so that nobody waits long after he has made room.
func (m *Measurer) due() (paths []volpath.Path) {
	m.mu.Lock()
	var all []figures
	for _, f := range m.known {
		if f.Told > 0 || m.now().Sub(f.Began) >= m.config.Interval {
			all = append(all, f)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b figures) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Path, b.Path)) })
	for _, f := range all {
		if path, err := volpath.ParseRecorded(f.Path); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// measure measures the directory of a path that has a record of this cluster.
func (m *Measurer) measure(ctx context.Context, path volpath.Path) error {
	u, err := m.look(ctx, path)
	if err != nil {
		return err
	}
	m.mu.Lock()
	f := m.known[path.String()]
	m.mu.Unlock()
	told := f.Told
	f.Usage = u
	f.Told = m.tell(ctx, f, told)
	if err := m.on(ctx, path, "write the usage of "+path.String(), func(op steps.Op) error { return op.RecordUsage(f.Usage) }); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[path.String()] = f
	return nil
}

// look measures the directory that a path's record says is its volume's.
func (m *Measurer) look(ctx context.Context, path volpath.Path) (u ledger.Usage, err error) {
	err = m.config.Keeper.Background(ctx, "measure "+path.String(), func(_ context.Context, store ledger.Store) error {
		r, found, err := store.Records.Lookup(path)
		if err != nil {
			return err
		}
		if !found || r.Cluster != m.config.Steps.Cluster() {
			return fs.ErrNotExist
		}
		u = ledger.Usage{PV: r.PV, Cluster: r.Cluster, Path: r.Path, Began: m.time()}
		u.Usage, err = store.Dirs.Measure(ctx, m.meter, path, r.Directory)
		u.Ended = m.time()
		return err
	})
	return u, err
}

// measureTrash measures what the trash holds, once an interval.
func (m *Measurer) measureTrash(ctx context.Context) error {
	var u ledger.Usage
	err := m.config.Keeper.Background(ctx, "measure the trash", func(_ context.Context, store ledger.Store) (err error) {
		var last ledger.Usage
		if last, _, err = store.Records.TrashUsage(); err != nil || m.now().Sub(last.Began) < m.config.Interval {
			return err
		}
		u = ledger.Usage{Began: m.time()}
		u.Usage, err = store.Dirs.MeasureTrash(ctx, m.meter)
		u.Ended = m.time()
		return err
	})
	if err != nil || u.Began.IsZero() {
		return err
	}
	return m.config.Steps.RecordTrashUsage(ctx, access.Periodic{Keeper: m.config.Keeper}, u)
}

// time is now, as people read it.
func (m *Measurer) time() time.Time { return m.now().UTC().Truncate(time.Second) }
