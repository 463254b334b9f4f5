package steps

import (
	"context"
	"errors"
	"iter"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Objects is what the steps ask of the cluster.
type Objects interface {
	// Volumes yields the PersistentVolumes of our provisioner names whose claims are of a
	// namespace; if that is empty, of all.
	Volumes(namespace string) iter.Seq[*v1.PersistentVolume]
	// Overlapping returns the PersistentVolumes, of any provisioner, that share
	// files with an exported path: see cluster.Informers.
	Overlapping(server, export string) []*v1.PersistentVolume
	// Above returns the PersistentVolumes that are not ours and whose directories lie above
	// an exported path.
	Above(server, export string) []*v1.PersistentVolume
	// Bound reports whether the PersistentVolume of that name is bound to a claim that
	// exists.
	Bound(name string) bool
	// Class returns a StorageClass, or false if there is none.
	Class(name string) (*storagev1.StorageClass, bool)
}

// Share is one share as the steps need it. *access.Keeper is one, for the controller;
// Direct is one for commands.
type Share interface {
	// Source is what PersistentVolumes name as server and exported path.
	Source() share.Source
	// ID tells the share from every other one, however it is mounted.
	ID() string
	// Do runs an operation on the share: see access.Keeper.
	Do(ctx context.Context, name string, work access.Work) error
}

// Config is what Steps need. Cluster and Objects are required; Op.DiscardArchive and
// Op.DiscardRetained need no Objects.
type Config struct {
	// Cluster is the UID of the namespace kube-system.
	Cluster string
	Objects Objects
	// Released asks the API server, never a cache, and returns an error unless v's claim has
	// released v's PersistentVolume, which is to be deleted. Only a process that releases
	// volumes needs it.
	Released func(ctx context.Context, v volume.Volume) error
	// Namespace asks the API server, never a cache, and returns the UID of the namespace of a
	// claim that exists, or an empty string if this process may not know it. Only a process that
	// makes volumes for claims needs it: see Steps.InNamespace.
	Namespace func(ctx context.Context, claim ledger.Claim) (uid string, err error)
	// Volume asks the API server, never a cache, for the PersistentVolume of that name, and
	// returns nil if there is none. Without it nothing of this cluster's expires, or is purged
	// with CheckNotBack, or is emptied from the trash.
	Volume func(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Gone asks the API server, never a cache, and returns nil if neither the claim of a
	// record nor its PersistentVolume exists. Without it no volume counts as lost.
	Gone Check
	// Grace is how long a lost volume's directory that was to be deleted is kept.
	Grace time.Duration
	// Report tells people, by an event, what became of a volume's directory that they
	// would not expect. reason is one of the Event constants.
	Report func(ctx context.Context, r ledger.Record, reason, text string)
}

// Reasons of what Config.Report tells.
const (
	EventArchived = "ArchivedInsteadOfDeleted"
	EventPutBack  = "DirectoryPutBack"
	EventRenewed  = "DirectoryIsAnother"
)

// Steps runs operations on paths of shares. It is safe for concurrent use.
type Steps struct {
	config Config
	locks  locks
}

// New makes the Steps of one process.
func New(config Config) *Steps {
	if config.Released == nil {
		config.Released = func(context.Context, volume.Volume) error { return nil }
	}
	if config.Namespace == nil {
		config.Namespace = func(context.Context, ledger.Claim) (string, error) { return "", nil }
	}
	if config.Report == nil {
		config.Report = func(context.Context, ledger.Record, string, string) {}
	}
	return &Steps{config: config}
}

// Cluster is the UID of the cluster's namespace kube-system.
func (s *Steps) Cluster() string { return s.config.Cluster }

// Op is one operation, on one path of one share, which no other operation of this
// process is on. What it does to the share it does through Store.
type Op struct {
	*Steps

	Store ledger.Store
	Path  volpath.Path

	source share.Source
	id     string // of the share
}

// On runs work on a path of a share, alone; it may be run a second time: see
// access.Keeper. Its error is a *refusal.Refusal. If the share does not answer, On
// returns before work has ended, and the path stays locked until then.
func (s *Steps) On(ctx context.Context, on Share, path volpath.Path, name string, work func(ctx context.Context, op Op) error) error {
	err := on.Do(ctx, name, func(ctx context.Context, store ledger.Store) error {
		unlock, err := s.locks.lock(ctx, lockKey{on.ID(), path})
		if err != nil {
			return err
		}
		defer unlock()
		return work(ctx, Op{Steps: s, Store: store, Path: path, source: on.Source(), id: on.ID()})
	})
	return Refused(err)
}

// Refused gives a plain error of a step its reason and its way out. Paths become free
// and shares come back, so it is retried.
func Refused(err error) error {
	var taken *ledger.TakenError
	var already *refusal.Refusal
	var trouble *access.Trouble
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case errors.As(err, &taken):
		return refusal.Postpone(refusal.ReasonTaken, "%w", err)
	case errors.Is(err, ledger.ErrDamaged):
		return refusal.Postpone(refusal.ReasonRecord, "%w", err)
	case errors.As(err, &trouble):
		return refusal.Await(reasonOf(trouble.Kind), trouble)
	}
	if advice := share.Advice(err); advice != "" {
		return refusal.Postpone(refusal.ReasonStorage, "%w: %s; this is retried automatically", err, advice)
	}
	return refusal.Postpone(refusal.ReasonStorage, "%w", err)
}

func reasonOf(kind access.Kind) string {
	switch kind {
	case access.Stalled:
		return refusal.ReasonStalled
	case access.WrongPlace:
		return refusal.ReasonShare
	default:
		return refusal.ReasonStorage
	}
}

// Direct is a share of a process that neither leads nor serves: a command's.
type Direct struct {
	From  share.Source
	Store ledger.Store
	// Call, if not nil, makes each call to the share.
	Call share.Call
}

// Source is what PersistentVolumes name as server and exported path.
func (d Direct) Source() share.Source { return d.From }

// ID tells the share from every other one.
func (d Direct) ID() string { return d.Store.Records.ID() }

// Do runs work, and a second time if a handle of the share has become stale. On a share
// that still has the records of an older claimdir nothing is changed.
func (d Direct) Do(ctx context.Context, _ string, work access.Work) error {
	if err := d.Store.Records.Writable(); err != nil {
		return err
	}
	view := d.Store.On(d.Store.Dirs.During(ctx, d.Call))
	defer view.Dirs.Release()
	err := work(ctx, view)
	if share.IsStale(err) {
		view.Dirs.Release()
		err = work(ctx, view)
	}
	return err
}

// own names what this operation's volume has beside its path: see share.SetAside.
func (op Op) own(r ledger.Record) string { return volpath.OwnAt(r.PV, r.Cluster, op.Path) }
