package archives

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// Selection says which archives are meant. It begins with those of Names, or with
// all if it has none, and takes away what the rest does not fit.
type Selection struct {
	// Names are each a claim (NAMESPACE/CLAIM), a namespace, or the volume that an
	// archive was.
	Names []string
	// Cluster leaves those of one cluster; empty means of any.
	Cluster string
	// Ended leaves those whose time is over; OlderThan those that were released
	// longer ago.
	Ended     bool
	OlderThan time.Duration
}

// Select returns the archives that s selects at the time now, in the order that
// they have. Only those with a record are ever selected: whose the others are is
// not known. A name that is no archive's is an ErrNone, and one that is both a
// namespace and a volume is an error too: nothing goes on a guess.
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
		if wanted && a.Recorded() && (s.Cluster == "" || a.Cluster == s.Cluster) && (!s.Ended || a.Ended(now)) && (s.OlderThan <= 0 || a.olderThan(s.OlderThan, now)) {
			selected = append(selected, a)
		}
	}
	return selected, nil
}

// check refuses a name that selects nothing, or that can be read in two ways.
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

// called reports whether one of the Names of a Selection means the archive.
func (a Archive) called(name string) bool {
	namespace, claim, isClaim := strings.Cut(name, "/")
	if isClaim {
		return claim != "" && a.Of(namespace, claim)
	}
	return a.Of(name, "") || a.Recorded() && a.Volume == name
}

// olderThan: of what has no time it is not known, so it is not.
func (a Archive) olderThan(age time.Duration, now time.Time) bool {
	return a.Since != nil && now.Sub(*a.Since) > age
}

// Discard moves the archive into the trash, which the controller empties. One that
// is gone, because it was restored, expired or removed meanwhile, is a
// steps.ErrNoArchive; so is one without a record.
func Discard(ctx context.Context, a Archive) error {
	path, err := volpath.ParseRecorded(a.Path)
	if err != nil {
		return fmt.Errorf("discard archive: %w", err)
	}
	return steps.New(steps.Config{Cluster: a.Cluster}).On(ctx, steps.Direct{Store: a.on.Store}, path, "purge "+a.Volume, func(ctx context.Context, op steps.Op) error {
		_, err := op.DiscardArchive(ctx, nil)
		return err
	})
}
