package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Wanted is which archive a claim asks for.
type Wanted struct {
	// Name is that of a PersistentVolume, volume.RestoreLatest or volume.RestoreLatestOrEmpty.
	Name string
	// Adopts says that the class takes what is there, also what another cluster
	// left: see ledger.Take.
	Adopts bool
	// Copies says that the claim wants a copy, and the archive stays.
	Copies bool
}

// annotation is by which the claim asks.
func (w Wanted) annotation() string {
	if w.Copies {
		return volume.AnnotationRestoreCopy
	}
	return volume.AnnotationRestore
}

// check refuses a name that no PersistentVolume has. A long one is not quoted: events
// are kept, and an annotation may be large.
func (w Wanted) check() error {
	n := len(w.Name)
	if w.Copies && (n == 0 || n > validation.DNS1123SubdomainMaxLength || w.Name == volume.RestoreLatestOrEmpty) {
		return refusal.Refuse(refusal.ReasonArchive, "annotation %s has %d bytes, or is %q; allowed are the name of a PersistentVolume that was archived, and %q",
			volume.AnnotationRestoreCopy, n, volume.RestoreLatestOrEmpty, volume.RestoreLatest)
	}
	if n == 0 || n > validation.DNS1123SubdomainMaxLength {
		return refusal.Refuse(refusal.ReasonArchive, "annotation %s has %d bytes; allowed are the name of a PersistentVolume that was archived, %q and %q", volume.AnnotationRestore, n, volume.RestoreLatest, volume.RestoreLatestOrEmpty)
	}
	return nil
}

// Latest reports whether the newest archive of the claim's name is wanted.
func (w Wanted) Latest() bool { return w.Name == volume.RestoreLatest || w.OrEmpty() }

// OrEmpty reports whether an empty volume is wanted if there is no archive.
func (w Wanted) OrEmpty() bool { return w.Name == volume.RestoreLatestOrEmpty && !w.Copies }

// mayName reports whether the record of a wanted archive may be in a file: its name says whose
// the archive is, unless it was cut.
func (w Wanted) mayName(file, claim string) bool {
	if ledger.IsCut(file) {
		return true
	}
	if w.Latest() {
		return strings.HasPrefix(path.Base(file), volpath.ArchivePrefix(claim))
	}
	return strings.Contains(path.Base(file), "-"+w.Name)
}

// archiveFor returns the archive that a claim asks for, brought back if an earlier claim of the
// name was getting it.
func (op Op) archiveFor(ctx context.Context, asking ledger.Record, w Wanted) (ledger.Record, error) {
	archive, err := op.findArchive(ctx, asking, w)
	if err != nil {
		return ledger.Record{}, err
	}
	return archive, op.giveBackAbandoned(ctx, archive, asking)
}

// LookForArchive returns the archive on a share that the claim of v wants. Where there is
// none, the error is a refusal with refusal.ReasonArchive.
func (s *Steps) LookForArchive(ctx context.Context, on Share, v volume.Volume, w Wanted) (found ledger.Record, err error) {
	record := v.Record()
	record.Cluster = s.config.Cluster
	err = on.Do(ctx, "look for the archive of "+v.Name, func(ctx context.Context, store ledger.Store) (err error) {
		found, err = Op{Steps: s, Store: store, Path: v.Path, source: on.Source(), id: on.ID()}.findArchive(ctx, record, w)
		return err
	})
	return found, Refused(err)
}

// findArchive returns the archive that the claim of asking wants: of its own
// namespace, on this share. Of others nothing is said.
func (op Op) findArchive(ctx context.Context, asking ledger.Record, w Wanted) (ledger.Record, error) {
	if err := w.check(); err != nil {
		return ledger.Record{}, err
	}
	if err := op.checkReleased(asking, w); err != nil {
		return ledger.Record{}, err
	}
	// Tenants may ask as often as they like, so only what may be wanted is read, and of the
	// others of the namespace the few that the refusal names.
	var others []string
	claim := asking.Claim.Namespace + "-" + asking.Claim.Name
	found, damaged := op.readArchives(asking, w, func(file string) bool {
		if w.mayName(file, claim) {
			return true
		}
		others = append(others, file)
		return false
	})
	found = slices.DeleteFunc(found, func(r ledger.Record) bool {
		return (!w.Latest() || r.Claim.Name != asking.Claim.Name) && w.Name != r.PV
	})
	slices.SortFunc(found, func(a, b ledger.Record) int { return Older(b, a) })
	for _, r := range found {
		if present, err := op.archivePresent(r, asking); err != nil || present {
			return r, err
		}
	}
	if damaged != nil && !errors.Is(damaged, ledger.ErrDamaged) {
		return ledger.Record{}, damaged
	}
	if damaged != nil { // it may be of a namespace whose name only begins alike
		klog.FromContext(ctx).Error(damaged, "Cannot read the record of an archive that a claim may be asking for")
		return ledger.Record{}, refusal.Postpone(refusal.ReasonRecord, "annotation %s: the record of an archive cannot be read, which may be the one; ask an administrator: claimdir doctor names it", w.annotation())
	}
	if w.OrEmpty() {
		return ledger.Record{}, errNoArchive
	}
	if len(found) > 0 {
		return ledger.Record{}, refusal.Postpone(refusal.ReasonArchive, "annotation %s: archive %s is not there: another claim is getting it, or it was removed; remove the annotation to get an empty volume",
			w.annotation(), found[0].Path)
	}
	some, all := op.someOf(others, asking, w)
	return ledger.Record{}, noArchive(asking, w, some, all)
}

// someOf returns a few of the archives in the files, for a refusal to name, and whether these are
// all that the claim may know of. How many the others are is not said: the files of other
// namespaces, whose names only begin alike or which are gone, are among them.
func (op Op) someOf(files []string, asking ledger.Record, w Wanted) (some []ledger.Record, all bool) {
	if len(files) == 0 {
		return nil, true
	}
	last := files[max(0, len(files)-shownArchives):]
	some, _ = op.readArchives(asking, w, func(file string) bool { return slices.Contains(last, file) }) // an error of theirs does not matter here
	slices.SortFunc(some, func(a, b ledger.Record) int { return Older(b, a) })
	return some, len(last) == len(files)
}

// readArchives returns the records of the archives of asking's namespace that the claim may
// get and whose files are wanted, and the errors of those that cannot be read. Only with
// w.Adopts these are also of other clusters, and of earlier namespaces of that name.
func (op Op) readArchives(asking ledger.Record, w Wanted, wanted func(file string) bool) (found []ledger.Record, damaged error) {
	prefix := volpath.ArchivePrefix(asking.Claim.Namespace)
	skip := func(file string) bool { return !strings.HasPrefix(path.Base(file), prefix) || !wanted(file) }
	for r, err := range op.Store.Records.Archives(skip) {
		switch {
		case err != nil:
			damaged = errors.Join(damaged, err)
		case r.Claim.Namespace == asking.Claim.Namespace && (w.Adopts || leftTo(r, asking)):
			found = append(found, r)
		}
	}
	return found, damaged
}

// leftTo reports whether an archive is for claims of asking's namespace and cluster, and not
// of an earlier namespace of that name; or whether it is asking's own, whose PersistentVolume
// an administrator has brought back.
func leftTo(archive, asking ledger.Record) bool {
	return archive.Cluster == asking.Cluster && (archive.Claim.LeavesTo(asking.Claim) || archive.PV == asking.PV)
}

// archivePresent reports whether the directory of an archive is there, or will be
// once an earlier claim of the same name gives it back. One may be on its way to
// another claim, or was removed by hand.
func (op Op) archivePresent(r, asking ledger.Record) (bool, error) {
	p, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return false, err
	}
	present, err := op.Store.Dirs.Exists(p)
	if err != nil || present {
		return present, err
	}
	getting, restoring, err := op.Store.Records.Restoring(p)
	if errors.Is(err, ledger.ErrDamaged) {
		return false, nil
	}
	return restoring && abandoned(getting, asking), err
}

// checkReleased makes a wish for the latest archive wait for the volume that is
// about to become it: that of an earlier claim of the name, which is gone, whatever
// phase Kubernetes has given the volume by now.
func (op Op) checkReleased(asking ledger.Record, w Wanted) error {
	for pv := range op.config.Objects.Volumes(asking.Claim.Namespace) {
		ref := pv.Spec.ClaimRef
		if ref == nil || ref.Namespace != asking.Claim.Namespace || string(ref.UID) == asking.Claim.UID || !becomesArchive(pv) {
			continue
		}
		if pv.Name == w.Name || w.Latest() && ref.Name == asking.Claim.Name && ref.UID != "" {
			// It may be of an earlier namespace of that name, so it is not named.
			return refusal.Postpone(refusal.ReasonArchive, "annotation %s: the volume of an earlier claim is not archived yet; will be tried again", w.annotation())
		}
	}
	return nil
}

// becomesArchive reports whether the release of the volume makes it one. Those of a
// peer, which do not say, are not waited for; nor are those that Kubernetes keeps.
func becomesArchive(pv *v1.PersistentVolume) bool {
	policy, err := class.ParsePolicy(pv.Annotations[volume.AnnotationOnDelete])
	return err == nil && policy == class.Archive && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete
}

// Older compares two archives of a claim by when they were released.
func Older(a, b ledger.Record) int {
	return cmp.Or(releasedAt(a).Compare(releasedAt(b)), a.Created.Compare(b.Created), cmp.Compare(a.Path, b.Path))
}

func releasedAt(r ledger.Record) time.Time {
	if r.Released == nil {
		return r.Created
	}
	return *r.Released
}

// shownArchives is how many records of archives are read for an event to name them, at most.
const shownArchives = 5

// errNoArchive says that a claim that would also take an empty volume gets no archive.
var errNoArchive = refusal.Refuse(refusal.ReasonArchive, "there is no archive")

// noArchive refuses until the claim changes: shown are some of the other archives of its
// namespace, or all.
func noArchive(asking ledger.Record, w Wanted, shown []ledger.Record, all bool) error {
	what := fmt.Sprintf("volume %q", w.Name)
	if w.Latest() {
		what = fmt.Sprintf("claim %q", asking.Claim.Name)
	}
	hint := "" // nothing is said of others' archives, also not whether there are any
	if !w.Adopts {
		hint = "; one that another cluster or an earlier namespace of this name left is given only to a class with onExisting: adopt"
	}
	has := " on this share"
	if len(shown) > 0 {
		var names []string
		for _, r := range shown {
			names = append(names, fmt.Sprintf("%s (claim %s, since %s)", r.PV, r.Claim.Name, releasedAt(r).Format(time.RFC3339)))
		}
		if !all {
			names = append(names, "and perhaps others")
		}
		has += "; it has those of " + strings.Join(names, ", ")
	} else if all {
		has = ", nor any other, on this share"
	}
	return refusal.Refuse(refusal.ReasonArchive, "annotation %s: the namespace has no archive of %s%s; remove the annotation to get an empty volume%s", w.annotation(), what, has, hint)
}
