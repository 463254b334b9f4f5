package doctor

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// fix says what a Fixer does about a finding.
type fix int

const (
	fixNothing fix = iota
	fixOrphan      // of a record whose claim and PersistentVolume are gone
	fixMissing     // of a record whose directory is gone
)

func (m fix) String() string {
	switch m {
	case fixOrphan:
		return "remove the record, and the directory if it is empty; with something in it, it becomes an archive"
	case fixMissing:
		return "remove the record"
	default:
		return ""
	}
}

// fixable says that the last finding, about a record, can be fixed, if it can.
func (r *Report) fixable(can bool, record ledger.Record, m fix) {
	if f := &r.Findings[len(r.Findings)-1]; can {
		f.Fix, f.fix, f.pv = m.String(), m, record.PV
	}
}

// Fixer fixes what Diagnose found. It removes no file, and what it does it does only
// if the cluster, asked at that moment, needs nothing of it. It holds no lease, and does
// what the sweep does, with the same functions, which may run beside a controller.
type Fixer struct {
	// Cluster returns the cluster as it is now.
	Cluster func(ctx context.Context) (Cluster, error)
	// Gone returns nil if neither the PersistentVolume of a record nor a claim of
	// that name is there, NoVolume if the PersistentVolume is not.
	Gone, NoVolume steps.Check
	// Shares are all that there are, by their names.
	Shares map[string]steps.Direct
}

// Fix does what f.Fix says, and says what it did.
func (x Fixer) Fix(ctx context.Context, f Finding) (done string, err error) {
	on, found := x.Shares[f.Share]
	if !found || f.fix == fixNothing {
		return "", errors.New("there is nothing that can be done about it here")
	}
	path, err := volpath.ParseRecorded(f.Object)
	if err != nil {
		return "", err
	}
	now, err := x.Cluster(ctx)
	if err != nil {
		return "", err
	}
	err = steps.New(steps.Config{Cluster: now.ID, Objects: now.objects()}).On(ctx, on, path, "fix "+f.Object, func(ctx context.Context, op steps.Op) (err error) {
		done, err = x.fix(ctx, op, on.Source(), f)
		return err
	})
	if refused, ok := errors.AsType[*refusal.Refusal](err); ok { // who fixes is not told when it is retried
		err = refused.Unwrap()
	}
	return done, err
}

func (x Fixer) fix(ctx context.Context, op steps.Op, source share.Source, f Finding) (done string, err error) {
	if f.fix == fixMissing {
		return "removed the record", op.RemoveMissing(ctx, x.check(source, f, x.NoVolume))
	}
	check := x.check(source, f, x.Gone)
	err = op.RemoveOrphan(ctx, check)
	if !errors.Is(err, steps.ErrOrphanKept) {
		return "removed the record, and the empty directory if there was one", err
	}
	archive, err := op.ArchiveOrphan(ctx, check)
	return fmt.Sprintf("the directory is %s now", archive), err
}

// check asks whether a record is still the one that was found, and nobody's, and
// then ask.
func (x Fixer) check(source share.Source, f Finding, ask steps.Check) steps.Check {
	return func(ctx context.Context, r ledger.Record) error {
		c, err := x.Cluster(ctx)
		if err != nil {
			return err
		}
		if r.PV != f.pv || r.Cluster != c.ID {
			return fmt.Errorf("it is another volume's now: %s", r.PV)
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			return err
		}
		if user := c.Uses(source, path); user != "" {
			return fmt.Errorf("PersistentVolume %s uses it", user)
		}
		return ask(ctx, r)
	}
}

// objects are the cluster's as package steps asks for them.
func (c Cluster) objects() steps.Objects { return objects{c} }

type objects struct{ of Cluster }

func (o objects) Volumes() (ours []*v1.PersistentVolume) {
	for i := range o.of.Volumes {
		if pv := &o.of.Volumes[i]; o.of.Names.Serve(pv) {
			ours = append(ours, pv)
		}
	}
	return ours
}

func (o objects) Overlapping(server, export string) (found []*v1.PersistentVolume) {
	for i := range o.of.Volumes {
		if pv := &o.of.Volumes[i]; pv.Spec.NFS != nil && o.of.Names.Overlap(pv, server, export) {
			found = append(found, pv)
		}
	}
	return found
}

func (o objects) Class(name string) (*storagev1.StorageClass, bool) {
	for i := range o.of.Classes {
		if o.of.Classes[i].Name == name {
			return &o.of.Classes[i], true
		}
	}
	return nil, false
}
