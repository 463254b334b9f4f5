package doctor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// fix is what a Fixer does about a finding.
type fix int

const (
	fixNothing      fix = iota
	fixOrphan           // for a record whose claim and PersistentVolume are gone
	fixMissing          // for a record whose directory is gone
	fixPutBack          // for a volume whose directory is an archive
	fixPutTrashBack     // for a volume whose directory is in the trash
)

func (m fix) String() string {
	switch m {
	case fixOrphan:
		return "remove the record, and the directory if it is empty; archive the directory if it is not"
	case fixMissing:
		return "remove the record"
	case fixPutBack:
		return "put the archive back to the volume's path"
	case fixPutTrashBack:
		return "put the directory back from the trash to the volume's path"
	default:
		return ""
	}
}

// fixable marks the last finding, which is about the record, as fixable by m if can is true.
func (r *Report) fixable(can bool, record ledger.Record, m fix) {
	if f := &r.Findings[len(r.Findings)-1]; can {
		f.Fix, f.fix, f.pv = m.String(), m, record.PV
	}
}

// Fixer fixes findings of Diagnose. It never removes a tenant's file, and it asks the
// cluster again before each fix whether anything still needs the record. It holds no
// lease: it calls the same functions as the sweep, which are safe beside a controller.
type Fixer struct {
	// Cluster returns the cluster as it is now.
	Cluster func(ctx context.Context) (Cluster, error)
	// Gone returns nil if neither the PersistentVolume of a record nor a claim of its name
	// exists. NoVolume returns nil if the PersistentVolume does not exist.
	Gone, NoVolume steps.Check
	// Shares are all shares, by their names.
	Shares map[string]steps.Direct
}

// Fix does what f.Fix says, and returns what it has done.
func (x Fixer) Fix(ctx context.Context, f Finding) (done string, err error) {
	on, found := x.Shares[f.Share]
	if !found || f.fix == fixNothing {
		return "", errors.New("doctor cannot fix this finding")
	}
	now, err := x.Cluster(ctx)
	if err != nil {
		return "", err
	}
	if f.fix == fixPutBack || f.fix == fixPutTrashBack {
		return x.putBack(ctx, now, on, f)
	}
	path, err := volpath.ParseRecorded(f.Object)
	if err != nil {
		return "", err
	}
	err = now.run(ctx, on, path, "fix "+f.Object, func(ctx context.Context, op steps.Op) (err error) {
		done, err = x.fix(ctx, op, on.Source(), f)
		return err
	})
	return done, err
}

// run runs work on a path of a share. doctor does not retry: a refusal's error is its cause,
// without the time of the retry.
func (c Cluster) run(ctx context.Context, on steps.Direct, path volpath.Path, name string, work func(context.Context, steps.Op) error) error {
	err := steps.New(steps.Config{Cluster: c.ID, Objects: c.objects(), Volume: c.volume}).On(ctx, on, path, name, work)
	if refused, ok := errors.AsType[*refusal.Refusal](err); ok {
		return refused.Unwrap()
	}
	return err
}

// putBack makes an archive, or what is in the trash, the directory of its volume again, whose
// PersistentVolume exists again.
func (x Fixer) putBack(ctx context.Context, now Cluster, on steps.Direct, f Finding) (done string, err error) {
	pv := now.byName()[f.pv]
	if pv == nil {
		return "", fmt.Errorf("PersistentVolume %s is gone", f.pv)
	}
	v, err := volume.FromPV(on.Source(), pv)
	if err != nil {
		return "", err
	}
	err = now.run(ctx, on, v.Path, "put back "+v.Name, func(ctx context.Context, op steps.Op) error {
		if f.fix == fixPutTrashBack {
			done = fmt.Sprintf("put the directory back from the trash to %q", v.Path)
			return op.PutTrashBack(ctx, v)
		}
		archive, found, err := op.Store.Records.Find(func(r ledger.Record) bool {
			return r.State == ledger.Archived && r.PV == v.Name && r.Cluster == now.ID && r.Origin == v.Path.String()
		})
		if err == nil && !found {
			err = steps.ErrNoArchive
		}
		if err != nil {
			return err
		}
		done = fmt.Sprintf("put archive %s back to %q", archive.Path, v.Path)
		return op.PutArchiveBack(ctx, v, archive)
	})
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
	return fmt.Sprintf("archived the directory as %s", archive), err
}

// check returns a check that fails if the record is another one than was found, if a
// PersistentVolume uses its directory, or if ask fails.
func (x Fixer) check(source share.Source, f Finding, ask steps.Check) steps.Check {
	return func(ctx context.Context, r ledger.Record) error {
		c, err := x.Cluster(ctx)
		if err != nil {
			return err
		}
		if r.PV != f.pv || r.Cluster != c.ID {
			return fmt.Errorf("the record belongs to volume %s now", r.PV)
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			return err
		}
		if user := c.Uses(source, path); user != "" {
			return fmt.Errorf("PersistentVolume %s uses the directory", user)
		}
		return ask(ctx, r)
	}
}

// volume is steps.Config.Volume: a Fixer reads the cluster anew before each fix.
func (c Cluster) volume(_ context.Context, name string) (*v1.PersistentVolume, error) {
	return c.byName()[name], nil
}

// objects makes the cluster available to package steps.
func (c Cluster) objects() steps.Objects { return objects{c} }

type objects struct{ of Cluster }

func (o objects) Volumes(namespace string) iter.Seq[*v1.PersistentVolume] {
	return func(yield func(*v1.PersistentVolume) bool) {
		for i := range o.of.Volumes {
			pv := &o.of.Volumes[i]
			of := namespace == "" || pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == namespace
			if of && o.of.Names.Serve(pv) && !yield(pv) {
				return
			}
		}
	}
}

func (o objects) Overlapping(server, export string) (found []*v1.PersistentVolume) {
	for i := range o.of.Volumes {
		if pv := &o.of.Volumes[i]; pv.Spec.NFS != nil && o.of.Names.Overlap(pv, server, export) {
			found = append(found, pv)
		}
	}
	return found
}

func (o objects) Above(server, export string) (found []*v1.PersistentVolume) {
	for i := range o.of.Volumes {
		if pv := &o.of.Volumes[i]; o.of.Names.Above(pv, server, export) {
			found = append(found, pv)
		}
	}
	return found
}

func (o objects) Bound(name string) bool {
	return slices.ContainsFunc(o.of.Volumes, func(pv v1.PersistentVolume) bool { return pv.Name == name && pv.Status.Phase == v1.VolumeBound })
}

func (o objects) Class(name string) (*storagev1.StorageClass, bool) {
	for i := range o.of.Classes {
		if o.of.Classes[i].Name == name {
			return &o.of.Classes[i], true
		}
	}
	return nil, false
}
