package sweep

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
)

// A share has very many records, and a pass runs at every start. Where all is as it should be, it reads
// each record once, lists the PersistentVolumes once, and looks at no directory on its own.
func TestAPassReadsEachRecordOnce(t *testing.T) {
	const volumes = 100
	w := newWorld(t, time.Hour)
	for i := range volumes {
		name, path := fmt.Sprint("pvc-", i), fmt.Sprintf("team/data-%d", i)
		w.volume(t, name, path)
		w.record(t, ledger.Active, name, path, func(r *ledger.Record) { r.Claim.NamespaceUID = "uid-of-ns" })
		w.Tree(t, path+"/")
	}
	w.identify(t)
	calls := map[string]int{}
	w.Hook(func(name string, do func() error) error {
		calls[strings.Fields(name)[0]]++
		return do()
	})
	w.client.ClearActions()
	must(t, w.pass(t.Context()))
	w.Hook(nil)
	w.told(t)
	if calls["read"] != volumes {
		t.Errorf("%d reads for %d records", calls["read"], volumes)
	}
	const beside = 40 // what does not grow with the records
	for call, n := range calls {
		if most := 2*volumes + beside; n > most { // to open a record's directory, and to list it
			t.Errorf("%d calls %q for %d records", n, call, volumes)
		}
	}
	if n := len(w.client.Actions()); n != 1 {
		t.Errorf("%d requests to the API server: %v", n, w.client.Actions())
	}
}
