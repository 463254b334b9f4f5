package doctor

import (
	"fmt"
	"io"
	"text/tabwriter"

	"claimdir/provisioner/output"
)

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error { return output.JSON(w, r) }

// WriteTable writes the report for people, the remedy below its problem: side
// by side they are wider than any terminal.
func (r Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Findings) > 0 {
		fmt.Fprintln(table, "KIND\tOBJECT\tPROBLEM → WHAT TO DO")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n\t\t→ %s\n", output.Cell(f.Kind), output.Cell(f.Object), output.Cell(f.Problem), output.Cell(f.Remedy))
		if f.Fix != "" {
			fmt.Fprintf(table, "\t\t→ or let doctor --fix do it: %s\n", output.Cell(f.Fix))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Checked %d classes, %d volumes, %d records, %d directories: %d findings.\n",
		r.Checked.Classes, r.Checked.Volumes, r.Checked.Records, r.Checked.Directories, len(r.Findings))
	for _, left := range r.NotChecked {
		if err == nil {
			_, err = fmt.Fprintln(w, "Not checked:", output.Cell(left))
		}
	}
	return err
}
