package doctor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// The file that a remedy says to remove is the record's and nothing else's, also where an
// older copy of the records was put beside those of the path, and in layout 1.
func TestTheFileThatARemedyNames(t *testing.T) {
	path, err := volpath.Parse("team/data")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		gone, other ledger.Record
	}{
		"alone":                 {gone: layoutOf(ledger.Layout, "pvc-1")},
		"a living one beside":   {gone: layoutOf(ledger.Layout, "pvc-1"), other: layoutOf(ledger.Layout, "pvc-2")},
		"of layout 1":           {gone: layoutOf(1, "pvc-1")},
		"of a long name":        {gone: layoutOf(ledger.Layout, strings.Repeat("p", 240))},
		"of an odd volume name": {gone: layoutOf(ledger.Layout, "hand@made/x")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.MkdirAll(dir+"/.claimdir/volumes", 0o700))
			dirs, err := share.Open(dir)
			must(t, err)
			records, err := ledger.Open(dirs, "share-1")
			must(t, err)
			for _, r := range []ledger.Record{tt.gone, tt.other} {
				if r.PV == "" {
					continue
				}
				data, err := json.Marshal(r)
				file := dir + "/" + ledger.File(path, r)
				must(t, err)
				must(t, os.MkdirAll(filepath.Dir(file), 0o700))
				must(t, os.WriteFile(file, data, 0o600))
			}
			read, found, err := records.Own(path, tt.gone.PV, "here")
			if err != nil || !found {
				t.Fatalf("%v, %v", found, err)
			}
			r := Diagnose(Cluster{ID: "here"}, with(&Site{Dirs: tree{"team", "team/data"}, Lookup: lookup([]ledger.Record{read})}, read))
			_, file, says := strings.Cut(r.Findings[0].Remedy, "remove the directory and then the file ")
			if len(r.Findings) != 1 || !says {
				t.Fatalf("%+v", r.Findings)
			}
			must(t, os.Remove(dir+"/"+file))
			if _, found, err := records.Own(path, tt.gone.PV, "here"); err != nil || found {
				t.Errorf("the record is there: %v", err)
			}
			if left, found, err := records.Lookup(path); err != nil || left.PV != tt.other.PV {
				t.Errorf("left is %q, %v, %v", left.PV, found, err)
			}
		})
	}
}

func layoutOf(layout int, pv string) ledger.Record {
	r := record(ledger.Active, pv, "team/data")
	r.Layout = layout
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
