package archives

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
// if that of an archive was made anew. It writes nothing if there are no archives. It returns
// the error of w.
func WriteTable(w io.Writer, archives []Archive, found Found, now time.Time) error {
	if len(archives) == 0 {
		return nil
	}
	shares := slices.ContainsFunc(archives, func(a Archive) bool { return a.Share != "" })
	remade := slices.ContainsFunc(archives, func(a Archive) bool { return slices.Contains(found.Remade, a.Namespace) })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
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
			if cells[i] = output.Cell(text); text == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	row("CLAIM", "VOLUME", "SHARE", "CLUSTER", "NAMESPACE UID", "SIZE", "SINCE", "UNTIL", "PATH")
	for _, a := range archives {
		row(a.claim(), a.Volume, a.Share, a.Cluster, a.NamespaceUID, a.Size, since(a, now), until(a, now), a.Path)
	}
	return table.Flush()
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
