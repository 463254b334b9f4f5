package archives

import (
	"fmt"
	"slices"
	"strings"

	"claimdir/provisioner/output"
)

// Near says, for people, what there is in all, which are archives or, as kind says, something else,
// where those of a namespace or of one of its claims were looked for and not found: those of the
// namespace's other claims, or the namespaces with similar names, or how many namespaces there are. It
// is empty if there is nothing at all.
func Near(all []Archive, kind, namespace, claim string) string {
	if claim != "" {
		if others := newestFirst(all, func(a Archive) bool { return a.Of(namespace, "") }); len(others) > 0 {
			return fmt.Sprintf("the namespace has %s of %s", kind, list(others, func(a Archive) string { return a.claim() + " (" + a.Volume + ")" }))
		}
	}
	var names, similar []string
	for _, a := range all {
		if a.Recorded() && !slices.Contains(names, a.Namespace) {
			names = append(names, a.Namespace)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if isNear(name, namespace) {
			similar = append(similar, output.Cell(name))
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case len(similar) == 0:
		return fmt.Sprintf("there are %s of %s", kind, output.Count(len(names), "namespace"))
	}
	text := fmt.Sprintf("there are %s of namespace %s", kind, strings.Join(similar[:min(named, len(similar))], ", "))
	if more := len(similar) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// isNear reports whether one name holds the other, or is at most two typing errors away from it. Of
// short names less is near.
func isNear(a, b string) bool {
	short := min(len(a), len(b))
	typos := 2
	if short < 4 {
		typos = 1
	}
	holds := short >= 3 && (strings.Contains(a, b) || strings.Contains(b, a))
	return holds || short > typos && distance(a, b) <= typos
}

// distance is the number of letters to insert, remove or replace that make one name the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
