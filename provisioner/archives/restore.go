package archives

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"claimdir/provisioner/output"
	"claimdir/provisioner/volume"
)

// ErrNone means that no archive matches the request.
var ErrNone = errors.New("there is no archive of")

// named is how many archives an error names at most.
const named = 5

// Choose returns the archive to restore to the claim: that of the volume or, if volume is
// empty, the newest. It also returns the claim's other archives, newest first. If there is
// no such archive, the ErrNone lists similar ones.
func Choose(all []Archive, namespace, claim, volume string) (chosen Archive, others []Archive, err error) {
	of := newestFirst(all, func(a Archive) bool { return a.Of(namespace, claim) })
	i := slices.IndexFunc(of, func(a Archive) bool { return volume == "" || a.Volume == volume })
	switch {
	case i >= 0:
		chosen = of[i]
		return chosen, slices.Delete(of, i, i+1), nil
	case len(of) > 0:
		return Archive{}, nil, fmt.Errorf("%w claim %s/%s and volume %q; the claim has archives of %s", ErrNone, namespace, claim, volume,
			list(of, func(a Archive) string { return a.Volume }))
	}
	text := ""
	if !slices.ContainsFunc(all, func(a Archive) bool { return a.Of(namespace, "") }) {
		text = ", and none of any other claim of this namespace"
	}
	if near := Near(all, "archives", namespace, claim); near != "" {
		text += "; " + near
	}
	return Archive{}, nil, fmt.Errorf("%w claim %s/%s%s", ErrNone, namespace, claim, text)
}

func newestFirst(all []Archive, which func(Archive) bool) (some []Archive) {
	for _, a := range all {
		if which(a) {
			some = append(some, a)
		}
	}
	slices.SortStableFunc(some, func(a, b Archive) int { return b.since().Compare(a.since()) })
	return some
}

// list names the first archives for people.
func list(archives []Archive, name func(Archive) string) string {
	var names []string
	for _, a := range archives[:min(named, len(archives))] {
		names = append(names, output.Cell(name(a)))
	}
	text := strings.Join(names, ", ")
	if more := len(archives) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Manifest returns the manifest of a claim that restores the archive, for kubectl create.
// The claim has the given name, and the namespace, class, size and access modes of the
// archived volume. A record that cannot be understood is an error.
func Manifest(a Archive, name string) ([]byte, error) {
	v, err := volume.FromRecord(a.record)
	if err != nil {
		return nil, fmt.Errorf("archive %q: %w; fix the record", a.Path, err)
	}
	return output.Manifest(v.RestoringClaim(name))
}
