package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"claimdir/provisioner/output"
)

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error { return output.JSON(w, r) }

// WriteTable writes the report for people, for a terminal of the given width, or for none if
// that is 0. It prints the remedy below its problem, because side by side the two are wider
// than a terminal.
func (r Report) WriteTable(w io.Writer, width int) error {
	table := output.Table{Width: width, Text: true}
	shares := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Share != "" })
	row := func(kind, share, object, text string) {
		cells := []string{kind, share, object, text}
		if !shares {
			cells = slices.Delete(cells, 1, 2)
		}
		table.Row(cells...)
	}
	if len(r.Findings) > 0 {
		row("KIND", "SHARE", "OBJECT", "PROBLEM → WHAT TO DO")
	}
	for _, f := range r.Findings {
		row(f.Kind, cmp.Or(f.Share, "-"), f.Object, f.Problem)
		row("", "", "", "→ "+f.Remedy)
		if f.Fix != "" {
			row("", "", "", "→ or let doctor --fix do it: "+f.Fix)
		}
	}
	if err := table.Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Checked %s, %s, %s, %s: %s.\n", output.Count(r.Checked.Classes, "class"), output.Count(r.Checked.Volumes, "volume"),
		output.Count(r.Checked.Records, "record"), output.Count(r.Checked.Directories, "directory"), output.Count(len(r.Findings), "finding"))
	if r.Retained > 0 && err == nil {
		_, err = fmt.Fprintf(w, "Retained directories: %d; claimdir archive list --retained lists them.\n", r.Retained)
	}
	if r.Copying > 0 && err == nil {
		_, err = fmt.Fprintf(w, "Volumes that are being copied for more than an hour: %d; events of their claims say how far they are.\n", r.Copying)
	}
	if r.TooYoung > 0 && err == nil {
		_, err = fmt.Fprintf(w, "Too young to judge: %s; look again in a minute.\n", output.Count(r.TooYoung, "record"))
	}
	for _, left := range r.NotChecked {
		if err == nil {
			_, err = fmt.Fprintln(w, "Not checked:", output.Cell(left))
		}
	}
	return err
}
