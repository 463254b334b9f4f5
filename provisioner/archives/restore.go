package archives

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"claimdir/provisioner/output"
	"claimdir/provisioner/volume"
)

// ErrNone says that no archive is what was asked for.
var ErrNone = errors.New("there is no archive of")

// named is how many archives an error names at most.
const named = 5

// Choose returns the archive that the claim is to get back: that of the volume or,
// where that is empty, the newest. The claim's others come with it, newest first.
// Where there is none, the ErrNone names what there is instead.
func Choose(all []Archive, namespace, claim, volume string) (chosen Archive, others []Archive, err error) {
	of := newestFirst(all, func(a Archive) bool { return a.Of(namespace, claim) })
	i := slices.IndexFunc(of, func(a Archive) bool { return volume == "" || a.Volume == volume })
	switch {
	case i >= 0:
		chosen = of[i]
		return chosen, slices.Delete(of, i, i+1), nil
	case len(of) > 0:
		return Archive{}, nil, fmt.Errorf("%w claim %s/%s that was volume %q; the claim has those of %s", ErrNone, namespace, claim, volume,
			list(of, func(a Archive) string { return a.Volume }))
	}
	near := newestFirst(all, func(a Archive) bool { return a.Of(namespace, "") })
	if len(near) == 0 {
		return Archive{}, nil, fmt.Errorf("%w claim %s/%s, nor of any other claim of this namespace", ErrNone, namespace, claim)
	}
	return Archive{}, nil, fmt.Errorf("%w claim %s/%s; the namespace has those of %s", ErrNone, namespace, claim,
		list(near, func(a Archive) string { return a.claim() + " (" + a.Volume + ")" }))
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

// Manifest is the claim of that name that gets the archive back, for kubectl
// create: in the archive's namespace, with the class, size and access modes that it
// had as a volume. A record that cannot be read is an error.
func Manifest(a Archive, name string) ([]byte, error) {
	v, err := volume.FromRecord(a.record)
	if err != nil {
		return nil, fmt.Errorf("archive %q: %w; mend the record", a.Path, err)
	}
	return output.Manifest(v.RestoringClaim(name))
}
