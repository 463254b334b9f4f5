package usage

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"claimdir/provisioner/class"
	"claimdir/provisioner/output"
)

// WriteJSON writes the report for programs, and returns the error of w.
func WriteJSON(w io.Writer, r Report) error { return output.JSON(w, r) }

// WriteTable writes the report as tables for people, with ages as of now: one of the shares, if it has any, and one
// of the directories, with a column for the cluster if there are several. width is that of the terminal; 0 if there is
// none. It returns the error of w.
func WriteTable(w io.Writer, r Report, now time.Time, width int) error {
	if len(r.Shares) > 0 {
		table := output.Table{Width: width}
		table.Row("SHARE", "SIZE", "FREE", "VOLUMES", "REQUESTED", "USED", "MEASURED")
		for _, t := range r.Shares {
			table.Row(cmp.Or(t.Share, "-"), size(float64(t.Size)), size(float64(t.Free)), strconv.Itoa(t.Volumes), size(float64(t.Requested)), size(float64(t.Used)),
				fmt.Sprintf("%d of %d", t.Volumes-t.Unmeasured, t.Volumes))
		}
		if err := table.Write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if len(r.Directories) == 0 {
		return nil
	}
	shares := slices.ContainsFunc(r.Directories, func(d Directory) bool { return d.Share != "" })
	clusters := map[string]bool{}
	for _, d := range r.Directories {
		if d.Cluster != "" {
			clusters[d.Cluster] = true
		}
	}
	table := output.Table{Width: width}
	row := func(claim, kind, share, cluster string, rest ...string) {
		cells := []string{claim, kind}
		if shares {
			cells = append(cells, cmp.Or(share, "-"))
		}
		if len(clusters) > 1 {
			cells = append(cells, cmp.Or(cluster, "-"))
		}
		table.Row(append(cells, rest...)...)
	}
	row("CLAIM", "KIND", "SHARE", "CLUSTER", "USED", "REQUESTED", "PERCENT", "FILES", "MEASURED", "PATH")
	for _, d := range r.Directories {
		row(d.claim(), d.Kind, d.Share, d.Cluster, d.used(), d.requested(), d.percent(), d.files(), d.when(now), d.Path)
	}
	return table.Write(w)
}

func size(bytes float64) string { return class.FormatSize(bytes) }

func (d Directory) claim() string {
	if d.Claim == "" {
		return "-"
	}
	return d.Namespace + "/" + d.Claim
}

func (d Directory) used() string {
	switch {
	case d.Used == nil:
		return "-"
	case d.AtLeast:
		return ">=" + size(float64(d.Used.Bytes))
	}
	return size(float64(d.Used.Bytes))
}

func (d Directory) requested() string {
	if d.Requested == 0 {
		return "-"
	}
	return size(float64(d.Requested))
}

func (d Directory) percent() string {
	if d.Percent == nil {
		return "-"
	}
	return fmt.Sprintf("%d%%", *d.Percent)
}

// files is not known of a directory of which the server says how much is used.
func (d Directory) files() string {
	if d.Used == nil || d.Used.Limit > 0 {
		return "-"
	}
	return strconv.FormatInt(d.Used.Files, 10)
}

// when says when the figures were measured, and what is special about them.
func (d Directory) when(now time.Time) string {
	switch {
	case d.Measured == nil:
		return "never"
	case d.Used.Limit > 0:
		return "enforced by the server"
	}
	age := duration.HumanDuration(now.Sub(*d.Measured)) + " ago"
	if d.Used.Unreadable > 0 {
		age += fmt.Sprintf(", %d unreadable", d.Used.Unreadable)
	} else if d.AtLeast {
		age += ", took too long"
	}
	return age
}
