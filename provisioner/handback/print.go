package handback

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"claimdir/provisioner/output"
)

// WriteTable writes a table of volumes for people. It writes nothing if there are none. It returns
// the error of w.
func WriteTable(w io.Writer, volumes []Volume) error {
	if len(volumes) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i, text := range cells {
			if cells[i] = output.Cell(text); text == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	row("VOLUME", "CLAIM", "PROVISIONER", "ON RELEASE HERE", "ON RELEASE THERE")
	for _, v := range volumes {
		claim := ""
		if ref := v.PV.Spec.ClaimRef; ref != nil {
			claim = ref.Namespace + "/" + ref.Name
		}
		row(v.PV.Name, claim, v.Provisioner(), v.Policy, v.There)
	}
	return table.Flush()
}
