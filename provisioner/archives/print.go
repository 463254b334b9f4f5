package archives

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"claimdir/provisioner/output"
)

// WriteJSON writes a list of archives for programs. It writes an empty list if there are
// none. It returns the error of w.
func WriteJSON(w io.Writer, archives []Archive) error {
	if archives == nil {
		archives = []Archive{}
	}
	return output.JSON(w, archives)
}

// WriteTable writes a table of archives, of those in found, for people, with ages as of now.
// It has a column for the cluster if there are several, and one for the UID of the namespace
// if that of an archive was made anew. width is that of the terminal; 0 if there is none. It writes
// nothing if there are no archives. It returns the error of w.
func WriteTable(w io.Writer, archives []Archive, found Found, now time.Time, width int) error {
	if len(archives) == 0 {
		return nil
	}
	shares := slices.ContainsFunc(archives, func(a Archive) bool { return a.Share != "" })
	remade := slices.ContainsFunc(archives, func(a Archive) bool { return slices.Contains(found.Remade, a.Namespace) })
	table := output.Table{Width: width}
	row := func(claim, volume, share, cluster, namespaceUID string, rest ...string) {
		cells := []string{claim, volume}
		if shares {
			cells = append(cells, share)
		}
		if len(found.Clusters) > 1 {
			cells = append(cells, cluster)
		}
		if remade {
			cells = append(cells, namespaceUID)
		}
		cells = append(cells, rest...)
		for i, text := range cells {
			cells[i] = cmp.Or(text, "-")
		}
		table.Row(cells...)
	}
	row("CLAIM", "VOLUME", "SHARE", "CLUSTER", "NAMESPACE UID", "SIZE", "SINCE", "UNTIL", "PATH")
	for _, a := range archives {
		row(a.claim(), a.Volume, a.Share, a.Cluster, a.NamespaceUID, a.Size, since(a, now), until(a, now), a.Path)
	}
	return table.Write(w)
}

// claim returns the claim for people.
func (a Archive) claim() string {
	if !a.Recorded() {
		return ""
	}
	return a.Namespace + "/" + a.Claim
}

func since(a Archive, now time.Time) string {
	if a.Since == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s)", a.Since.UTC().Format(time.DateOnly), duration.HumanDuration(now.Sub(*a.Since)))
}

func until(a Archive, now time.Time) string {
	switch {
	case !a.Recorded():
		return ""
	case a.Until == nil:
		return "for ever"
	case a.Expired(now):
		return a.Until.UTC().Format(time.DateOnly) + " (expired)"
	}
	return fmt.Sprintf("%s (in %s)", a.Until.UTC().Format(time.DateOnly), duration.HumanDuration(a.Until.Sub(now)))
}
