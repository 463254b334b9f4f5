package provisioner

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// directories is what this package needs of a share; *share.Share has it, and
// tests break one method of it.
type directories interface {
	Exists(volpath.Path) (bool, error)
	Create(volpath.Path, share.Attributes) (created bool, err error)
	Remove(volpath.Path) error
	RemoveEmpty(volpath.Path) error
	Rename(from, to volpath.Path) error
}

// records is what this package needs of a ledger; *ledger.Ledger has it, and the
// benchmark leaves it out.
type records interface {
	Lookup(volpath.Path) (ledger.Record, bool, error)
	CheckAbove(volpath.Path, ledger.Record) error
	CheckBelow(volpath.Path, ledger.Record) error
	Claim(path volpath.Path, r ledger.Record, adopt bool) (ledger.Record, error)
	Activate(volpath.Path, ledger.Record) error
	Retain(volpath.Path, ledger.Record) error
	Archive(volpath.Path, ledger.Record) error
	Forget(volpath.Path) error
}

// Provisioner makes and releases the volumes of one share.
type Provisioner struct {
	source  share.Source
	cluster string
	objects Objects
	dirs    directories
	ledger  records
	classes class.Cache
	busy    sync.Map // volpath.Path of operations under way
}

var (
	_ controller.Provisioner = &Provisioner{}
	_ controller.Qualifier   = &Provisioner{}
)

// New returns the Provisioner of the share dirs with the records l. source is
// what PersistentVolumes name as its server and exported path; cluster is the
// UID of the namespace kube-system, and objects what is known of its objects.
func New(source share.Source, cluster string, objects Objects, dirs directories, l records) *Provisioner {
	return &Provisioner{source: source, cluster: cluster, objects: objects, dirs: dirs, ledger: l}
}

// Provision makes the directory of a claim and returns its PersistentVolume.
// Errors are *Refusal. The state is always Finished: nothing goes on in the
// background, and what a failed call leaves its repeat finds.
func (p *Provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	pv, err := p.provision(ctx, o)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return pv, controller.ProvisioningFinished, nil
}

func (p *Provisioner) provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, error) {
	c, err := p.classes.Parse(string(o.StorageClass.UID), o.StorageClass.Parameters)
	if err != nil {
		return nil, refuse(ReasonClass, "StorageClass %s: %w", o.StorageClass.Name, err)
	}
	if err := checkClaim(o.PVC); err != nil {
		return nil, err
	}
	path, err := c.Pattern.Expand(variables(o))
	if err != nil {
		return nil, refuse(ReasonPath, "%w", err)
	}
	pv, err := newPV(p.source, path, o, c)
	if err != nil {
		return nil, err
	}
	unlock, err := p.lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()

	record, err := p.takePath(path, newRecord(p.cluster, o, c), c.OnExisting)
	if err != nil {
		return nil, err
	}
	if err := p.makeDirectory(ctx, path, record, c); err != nil {
		return nil, err
	}
	return pv, nil
}

// takePath makes the path this volume's, or says whose it is.
func (p *Provisioner) takePath(path volpath.Path, record ledger.Record, existing class.Existing) (ledger.Record, error) {
	owner, known, err := p.ledger.Lookup(path)
	if err != nil {
		return ledger.Record{}, storageError(err)
	}
	if err := p.checkVolumes(path, record.PV); err != nil {
		return ledger.Record{}, p.knownOwner(path, owner, record, err)
	}
	if !known {
		// Looked at before the record is made: a repeat could not tell a
		// directory that was there from one that it made itself.
		present, err := p.dirs.Exists(path)
		if err != nil || present {
			// Inside another volume nothing may be said of what is there.
			if above := p.ledger.CheckAbove(path, record); above != nil {
				return ledger.Record{}, storageError(above)
			}
		}
		if err != nil {
			return ledger.Record{}, storageError(err)
		}
		if present && existing != class.Adopt {
			return ledger.Record{}, errExists(path)
		}
		if present {
			if err := p.ledger.CheckBelow(path, record); err != nil {
				return ledger.Record{}, storageError(err)
			}
			record.Adopted = true
		}
	}
	claimed, err := p.ledger.Claim(path, record, existing == class.Adopt)
	if taken, ok := errors.AsType[*ledger.TakenError](err); ok && taken.LeftByNamesake(record) {
		err = fmt.Errorf("%w; if that cluster is lost, a class with onExisting: adopt takes it up", err)
	}
	return claimed, storageError(err)
}

// knownOwner prefers what the ledger says of a path that is taken: it knows the
// claim too.
func (p *Provisioner) knownOwner(path volpath.Path, owner, asking ledger.Record, err error) error {
	if owner.State == ledger.Active && owner.PV != asking.PV {
		return storageError(ledger.Taken(path, owner, asking))
	}
	if above := p.ledger.CheckAbove(path, asking); above != nil {
		return storageError(above)
	}
	return err
}

// makeDirectory makes the directory of a record that is not complete yet, and
// takes back what it made if that fails.
func (p *Provisioner) makeDirectory(ctx context.Context, path volpath.Path, record ledger.Record, c class.Class) error {
	if record.State == ledger.Active || record.Adopted {
		present, err := p.dirs.Exists(path)
		switch {
		case err != nil:
			return storageError(err)
		case present && record.State == ledger.Active:
			return nil
		case present:
			return p.adopt(ctx, path, record)
		}
	}
	created, err := p.dirs.Create(path, share.Attributes{Mode: c.Mode, UID: c.UID, GID: c.GID})
	if err == nil {
		// A volume above may have been made since takePath looked; then its
		// directory came first and its record is there now.
		err = p.ledger.CheckAbove(path, record)
	}
	if err == nil {
		err = p.ledger.Activate(path, record)
	}
	if errors.Is(err, share.ErrOccupied) && record.State == ledger.Creating { // somebody made it since takePath looked
		return storageError(errors.Join(errExists(path), p.ledger.Forget(path)))
	}
	if err != nil {
		return storageError(errors.Join(err, p.takeBack(path, created, record)))
	}
	klog.FromContext(ctx).Info("Created directory", "path", path, "mode", record.Mode)
	return nil
}

// adopt completes the record of a directory that was there before. Looking
// for volumes above and below comes after the record is made, as it does for
// directories that are made: of two volumes one of which lies inside the
// other, at least one then sees the other.
func (p *Provisioner) adopt(ctx context.Context, path volpath.Path, record ledger.Record) error {
	err := p.ledger.CheckAbove(path, record)
	if err == nil {
		err = p.ledger.CheckBelow(path, record)
	}
	if err == nil {
		err = p.ledger.Activate(path, record)
	}
	if err != nil {
		return storageError(errors.Join(err, p.ledger.Forget(path)))
	}
	klog.FromContext(ctx).Info("Adopted directory", "path", path)
	return nil
}

// takeBack undoes takePath and Create after a later step failed. Only an empty
// directory made by this very call goes; the record goes with it.
func (p *Provisioner) takeBack(path volpath.Path, created bool, record ledger.Record) error {
	if record.State != ledger.Creating {
		return nil
	}
	if created {
		if err := p.dirs.RemoveEmpty(path); err != nil {
			return fmt.Errorf("take back: %w", err)
		}
	}
	present, err := p.dirs.Exists(path)
	if err != nil || present {
		return err // the record keeps the path for the next try
	}
	return p.ledger.Forget(path)
}

func errExists(path volpath.Path) error {
	return postpone(ReasonTaken, "path %q exists on the share and no record says whose it is; "+
		"give the claim another path, or use a class with onExisting: adopt to take it as it is", path)
}

// lock keeps two operations of this process off one path; the lease keeps
// other replicas off. It does not wait: on a share that hangs, waiting would
// only use up workers.
func (p *Provisioner) lock(path volpath.Path) (unlock func(), err error) {
	if _, taken := p.busy.LoadOrStore(path, true); taken {
		return nil, postpone(ReasonBusy, "another operation on path %q is under way; will be tried again", path)
	}
	return func() { p.busy.Delete(path) }, nil
}

// storageError gives errors of the ledger and the share their reason; they are
// tried again, for paths become free and shares come back.
func storageError(err error) error {
	var taken *ledger.TakenError
	var already *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case errors.As(err, &taken):
		return postpone(ReasonTaken, "%w", err)
	case errors.Is(err, ledger.ErrDamaged):
		return postpone(ReasonRecord, "%w", err)
	}
	return postpone(ReasonStorage, "%w", err)
}
