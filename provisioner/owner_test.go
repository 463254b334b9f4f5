package provisioner

import (
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

// Whose a directory is says the record, and no clock: those of nodes, of the API server
// and of the file server differ.
func TestRecordsDecideWhoseADirectoryIs(t *testing.T) {
	const hour = time.Hour
	for name, tt := range map[string]struct {
		change  func(*ledger.Record) // of the record that the path has; nil: it has none
		foreign bool                 // the volume has lost its annotations
		says    string               // empty: it is let go
	}{
		"no record": {nil, false, "no record on the share says"},
		"no record, without annotations, as one of a peer's that is retained": {func(r *ledger.Record) { r.PV, r.State = "pvc-2", ledger.Retained }, true, "belongs to volume pvc-2"},

		"another's":                             {func(r *ledger.Record) { r.PV = "pvc-2" }, false, ""},
		"another's, older":                      {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(-hour) }, false, ""},
		"another's, younger":                    {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(hour) }, false, ""},
		"another's in another cluster, older":   {func(r *ledger.Record) { r.PV, r.Cluster, r.Created = "pvc-2", "other", r.Created.Add(-hour) }, false, ""},
		"another's in another cluster, younger": {func(r *ledger.Record) { r.PV, r.Cluster, r.Created = "pvc-2", "other", r.Created.Add(hour) }, false, ""},

		"another's, older, without annotations":   {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(-hour) }, true, "belongs to volume pvc-2 by its record"},
		"another's, younger, without annotations": {func(r *ledger.Record) { r.PV, r.Created = "pvc-2", r.Created.Add(hour) }, true, "belongs to volume pvc-2 by its record"},

		"of its name in another cluster, older":   {func(r *ledger.Record) { r.Cluster, r.Created = "other", r.Created.Add(-hour) }, false, "belongs to volume pvc-1 of another cluster"},
		"of its name in another cluster, younger": {func(r *ledger.Record) { r.Cluster, r.Created = "other", r.Created.Add(hour) }, false, "belongs to volume pvc-1 of another cluster"},
	} {
		for _, policy := range []string{"delete", "archive", "retain"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				w := newWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w.Tree(t, "data/file")
				path, r := sharetest.PathOf(t, "data"), w.Record(t, "data")
				must(t, w.Store(t).Records.Remove(path, r))
				if tt.change != nil {
					tt.change(&r)
					_, err := w.Store(t).Records.Take(path, r, false)
					must(t, err)
				}
				if tt.foreign {
					pv.Annotations = nil
				}
				before := w.Snapshot(t)
				for range 2 {
					if err := w.Delete(t.Context(), pv); tt.says == "" {
						must(t, err)
					} else {
						refused(t, err, refusal.ReasonRecord, true, tt.says, "nothing was changed")
					}
				}
				w.Untouched(t, before)
			})
		}
	}
}

// The time in a volume's own record may be anything: its node's clock was wrong.
func TestAReleaseAsksNoClock(t *testing.T) {
	for name, shift := range map[string]time.Duration{"in the future": 1000 * time.Hour, "in the past": -1000 * time.Hour} {
		for policy, left := range map[string][]string{
			"delete": nil, "archive": {"archived-ns-data-pvc-1", "archived-ns-data-pvc-1/file", "archived-ns-data-pvc-1 = pvc-1 archived"},
			"retain": {"data", "data/file", "data = pvc-1 retained"},
		} {
			t.Run(name+" "+policy, func(t *testing.T) {
				w := newWorld(t)
				pv := w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w.Tree(t, "data/file")
				r := w.Record(t, "data")
				r.Created = r.Created.Add(shift)
				must(t, w.Store(t).Records.Update(sharetest.PathOf(t, "data"), r))
				must(t, w.Delete(t.Context(), pv))
				must(t, w.Delete(t.Context(), pv))
				w.Holds(t, left...)
				w.EmptyTrash(t)
				if got := w.Trash(t); len(got) > 0 {
					t.Errorf("in the trash: %q", got)
				}
			})
		}
	}
}
