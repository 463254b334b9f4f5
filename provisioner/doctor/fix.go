package doctor

import (
	"context"
	"errors"
	"fmt"

	"claimdir/provisioner"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// mend says what a Fixer does about a finding.
type mend int

const (
	mendNothing mend = iota
	mendOrphan       // of a record whose claim and PersistentVolume are gone
	mendMissing      // of a record whose directory is gone
)

func (m mend) String() string {
	switch m {
	case mendOrphan:
		return "remove the record, and the directory if it is empty; with something in it, it becomes an archive"
	case mendMissing:
		return "forget it: remove the record"
	default:
		return ""
	}
}

// fixable says that the last finding, about a record, can be mended, if it can.
func (r *Report) fixable(can bool, record ledger.Record, m mend) {
	if f := &r.Findings[len(r.Findings)-1]; can {
		f.Fix, f.mend, f.pv = m.String(), m, record.PV
	}
}

// Fixer mends what Diagnose found. It removes no file, and what it does it does only
// if the cluster, asked at that moment, needs nothing of it. It holds no lease: why
// that does no harm beside a controller is told at provisioner.RemoveOrphan,
// ArchiveOrphan and ForgetMissing.
type Fixer struct {
	// Cluster returns the cluster as it is now.
	Cluster func(ctx context.Context) (Cluster, error)
	// Gone returns nil if neither the PersistentVolume of a record nor a claim of
	// that name is there, NoVolume if the PersistentVolume is not.
	Gone, NoVolume provisioner.Check
	// Shares are all that there are, by their names.
	Shares map[string]Mendable
}

// Mendable is a share that is mounted here.
type Mendable struct {
	Source share.Source
	Files  provisioner.Files
}

// Fix does what f.Fix says, and says what it did.
func (x Fixer) Fix(ctx context.Context, f Finding) (done string, err error) {
	on, known := x.Shares[f.Share]
	if !known || f.mend == mendNothing {
		return "", errors.New("there is nothing that can be done about it here")
	}
	path, err := volpath.ParseRecorded(f.Object)
	if err != nil {
		return "", err
	}
	if f.mend == mendMissing {
		return "removed the record", provisioner.ForgetMissing(ctx, on.Files, path, x.check(on, path, f, x.NoVolume))
	}
	check := x.check(on, path, f, x.Gone)
	err = provisioner.RemoveOrphan(ctx, on.Files, path, check)
	if !errors.Is(err, provisioner.ErrOrphanKept) {
		return "removed the record, and the empty directory if there was one", err
	}
	archive, err := provisioner.ArchiveOrphan(ctx, on.Files, path, check)
	return fmt.Sprintf("the directory is %s now", archive), err
}

// check asks whether a record is still the one that was found, and nobody's, and
// then ask.
func (x Fixer) check(on Mendable, path volpath.Path, f Finding, ask provisioner.Check) provisioner.Check {
	return func(ctx context.Context, r ledger.Record) error {
		c, err := x.Cluster(ctx)
		if err != nil {
			return err
		}
		if r.PV != f.pv || r.Cluster != c.ID {
			return fmt.Errorf("it is another volume's now: %s", r.PV)
		}
		if user := c.Uses(on.Source, path); user != "" {
			return fmt.Errorf("PersistentVolume %s uses it", user)
		}
		if r.State != ledger.Creating { // one inside a later volume only loses its record
			if err := on.Files.Records.CheckAbove(path, r); err != nil {
				return err
			}
		}
		if err := on.Files.Records.CheckBelow(path, r); err != nil {
			return err
		}
		return ask(ctx, r)
	}
}
