package archives

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Selection says which archives to select: those of Names, or all if Names is empty, that
// also match every other field that is set.
type Selection struct {
	// Each of Names is a claim (NAMESPACE/CLAIM), a namespace, or the volume that became an
	// archive.
	Names []string
	// Cluster selects the archives of one cluster; empty means any.
	Cluster string
	// Expired selects the archives that have expired, OlderThan those that were released
	// longer ago than this.
	Expired   bool
	OlderThan time.Duration
}

// Select returns the archives that s selects at the time now, in their order in all. It
// never selects an archive without a record, because its owner is unknown. A name without
// an archive is an ErrNone. A name that is both a namespace and a volume is an error too,
// because the wrong archives could be removed.
func (s Selection) Select(all []Archive, now time.Time) (selected []Archive, err error) {
	var errs []error
	for _, name := range s.Names {
		errs = append(errs, check(all, name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, a := range all {
		wanted := len(s.Names) == 0 || slices.ContainsFunc(s.Names, a.called)
		if wanted && a.Recorded() && (s.Cluster == "" || a.Cluster == s.Cluster) && (!s.Expired || a.Expired(now)) && (s.OlderThan <= 0 || a.olderThan(s.OlderThan, now)) {
			selected = append(selected, a)
		}
	}
	return selected, nil
}

// check refuses a name that selects nothing or is ambiguous.
func check(all []Archive, name string) error {
	var volume, namespace bool
	for _, a := range all {
		volume = volume || a.Recorded() && a.Volume == name
		namespace = namespace || a.Of(name, "")
	}
	switch {
	case volume && namespace:
		return fmt.Errorf("%q is both a namespace and a volume that have archives: name the claims instead", name)
	case !volume && !namespace && !slices.ContainsFunc(all, func(a Archive) bool { return a.called(name) }):
		kind := "a namespace or volume"
		if strings.Contains(name, "/") {
			kind = "claim"
		}
		return fmt.Errorf("%w %s %q", ErrNone, kind, name)
	}
	return nil
}

// called reports whether name, of a Selection's Names, selects the archive.
func (a Archive) called(name string) bool {
	namespace, claim, isClaim := strings.Cut(name, "/")
	if isClaim {
		return claim != "" && a.Of(namespace, claim)
	}
	return a.Of(name, "") || a.Recorded() && a.Volume == name
}

// olderThan reports whether the archive is older than age. One without a time is not.
func (a Archive) olderThan(age time.Duration, now time.Time) bool {
	return a.Since != nil && now.Sub(*a.Since) > age
}

// Cluster is the cluster that Discard asks.
type Cluster struct {
	ID     string // the UID of its namespace kube-system
	Volume func(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Copies returns the claims of a namespace that are not bound and are to be copies of archives.
	Copies func(ctx context.Context, namespace string) ([]*v1.PersistentVolumeClaim, error)
}

// checkNotCopied returns an error if a claim is to be a copy of an archive and has not got it yet, or if that cannot be asked.
func (c Cluster) checkNotCopied(ctx context.Context, r ledger.Record) error {
	claims, err := c.Copies(ctx, r.Claim.Namespace)
	if err != nil {
		return fmt.Errorf("cannot ask whether claims are copies of archive %s, so it stays (--force does not ask): %w", r.Path, err)
	}
	for _, claim := range claims {
		if volume.AwaitsCopyOf(claim, r) {
			return fmt.Errorf("claim %s/%s is to be a copy of archive %s, and has not got it yet: wait until it is bound, or delete the claim; "+
				"or move the archive all the same, and the copy fails: claimdir archive purge --force %s", claim.Namespace, claim.Name, r.Path, r.PV)
		}
	}
	return nil
}

// Discard moves the archive or retained directory into the trash, which the controller empties. If it
// is of the cluster ask, it is refused if its PersistentVolume exists again there, if a claim is to be a copy of it, or if that cannot
// be asked; see steps.Op.CheckNotBack. With the zero Cluster nobody is asked. Discard returns
// steps.ErrNoArchive if it has no record, or is gone because a claim got it, or it expired or was
// removed meanwhile.
func Discard(ctx context.Context, a Archive, ask Cluster) error {
	path, err := volpath.ParseRecorded(a.Path)
	if err != nil {
		return fmt.Errorf("discard archive: %w", err)
	}
	config := steps.Config{Cluster: a.Cluster, Volume: ask.Volume}
	return steps.New(config).On(ctx, steps.Direct{Store: a.on.Store}, path, "purge "+a.Volume, func(ctx context.Context, op steps.Op) error {
		var may steps.Check
		if ask.ID != "" && ask.ID == a.Cluster {
			may = op.CheckNotBack
		}
		if a.record.State == ledger.Retained {
			return op.DiscardRetained(ctx, a.record, may)
		}
		if may != nil {
			may = func(ctx context.Context, r ledger.Record) error {
				if err := op.CheckNotBack(ctx, r); err != nil {
					return err
				}
				return ask.checkNotCopied(ctx, r)
			}
		}
		_, err := op.DiscardArchive(ctx, may)
		return err
	})
}
