package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// WriteTable writes the report for people, the remedy below its problem: side
// by side they are wider than any terminal.
func (r Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Findings) > 0 {
		fmt.Fprintln(table, "KIND\tOBJECT\tPROBLEM → WHAT TO DO")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n\t\t→ %s\n", cell(f.Kind), cell(f.Object), cell(f.Problem), cell(f.Remedy))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Checked %d classes, %d volumes, %d records, %d directories: %d findings.\n",
		r.Checked.Classes, r.Checked.Volumes, r.Checked.Records, r.Checked.Directories, len(r.Findings))
	for _, left := range r.NotChecked {
		if err == nil {
			_, err = fmt.Fprintln(w, "Not checked:", cell(left))
		}
	}
	return err
}

// cell keeps a text in its column, and the terminal in order: names on the
// share may hold anything.
func cell(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
