package handback

import (
	"cmp"
	"io"

	"claimdir/provisioner/output"
)

// WriteTable writes a table of volumes for people. It writes nothing if there are none. It returns
// the error of w.
func WriteTable(w io.Writer, volumes []Volume) error {
	if len(volumes) == 0 {
		return nil
	}
	var table output.Table // names are whole also on a terminal: a question may follow that depends on them
	row := func(cells ...string) {
		for i, text := range cells {
			cells[i] = cmp.Or(text, "-")
		}
		table.Row(cells...)
	}
	row("VOLUME", "CLAIM", "PROVISIONER", "ON RELEASE HERE", "ON RELEASE THERE")
	for _, v := range volumes {
		claim := ""
		if ref := v.PV.Spec.ClaimRef; ref != nil {
			claim = ref.Namespace + "/" + ref.Name
		}
		row(v.PV.Name, claim, v.Provisioner(), v.Policy, v.There)
	}
	return table.Write(w)
}
