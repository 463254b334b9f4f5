package sweep

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
)

// counted compares the metrics of the records.
func (w *world) counted(t *testing.T, want string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.Collectors() {
		must(t, registry.Register(c))
	}
	must(t, testutil.GatherAndCompare(registry, strings.NewReader(want), "claimdir_records", "claimdir_archives_oldest_timestamp_seconds"))
}

// The records of this cluster are counted, once a sweep has ended: before, nobody knows how many there are.
func TestRecordsAreCounted(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.counted(t, "")
	w.bound(t, "pvc-1", "team/a")
	w.bound(t, "pvc-2", "team/b")
	w.record(t, ledger.Active, "pvc-3", "c", func(r *ledger.Record) { r.Policy = "" })
	w.volume(t, "pvc-3", "c")
	w.record(t, ledger.Retained, "pvc-4", "kept", func(r *ledger.Record) { r.Policy = "retain" })
	for pv, released := range map[string]int64{"pvc-5": 1700000500, "pvc-6": 1700000400, "pvc-7": 1700000600} {
		w.record(t, ledger.Archived, pv, "archived-ns-data-"+pv, func(r *ledger.Record) {
			r.Origin, r.Policy, r.Released = "before", "archive", new(time.Unix(released, 0))
		})
		w.Tree(t, "archived-ns-data-"+pv+"/")
	}
	w.record(t, ledger.Active, "pvc-8", "odd", func(r *ledger.Record) { r.Policy = "whatever somebody wrote" })
	w.volume(t, "pvc-8", "odd")
	w.record(t, ledger.Archived, "pvc-9", "archived-elsewhere", func(r *ledger.Record) { // another cluster's, and the oldest of all
		r.Cluster, r.Released = "elsewhere", new(time.Unix(1, 0))
	})
	w.Tree(t, "c/", "kept/", "odd/", "archived-elsewhere/")
	w.identify(t)
	must(t, w.pass(t.Context()))
	w.counted(t, `# HELP claimdir_archives_oldest_timestamp_seconds When the oldest archive of this cluster on the share was released, as of the last sweep; absent if there is none.
# TYPE claimdir_archives_oldest_timestamp_seconds gauge
claimdir_archives_oldest_timestamp_seconds{share=""} 1.7000004e+09
# HELP claimdir_records Records of this cluster on the share at the last sweep, by state and policy; policy class: the class decides on release.
# TYPE claimdir_records gauge
claimdir_records{policy="archive",share="",state="active"} 0
claimdir_records{policy="archive",share="",state="archived"} 3
claimdir_records{policy="archive",share="",state="creating"} 0
claimdir_records{policy="archive",share="",state="retained"} 0
claimdir_records{policy="class",share="",state="active"} 2
claimdir_records{policy="class",share="",state="archived"} 0
claimdir_records{policy="class",share="",state="creating"} 0
claimdir_records{policy="class",share="",state="retained"} 0
claimdir_records{policy="delete",share="",state="active"} 2
claimdir_records{policy="delete",share="",state="archived"} 0
claimdir_records{policy="delete",share="",state="creating"} 0
claimdir_records{policy="delete",share="",state="retained"} 0
claimdir_records{policy="retain",share="",state="active"} 0
claimdir_records{policy="retain",share="",state="archived"} 0
claimdir_records{policy="retain",share="",state="creating"} 0
claimdir_records{policy="retain",share="",state="retained"} 1
`)
	for _, r := range w.readRecords(t) {
		if r.State == ledger.Archived {
			must(t, os.RemoveAll(w.Dir+"/"+ledger.File(sharetest.PathOf(t, r.Path), r)))
		}
	}
	must(t, w.pass(t.Context()))
	if n := testutil.CollectAndCount(w.Collectors()[3], "claimdir_archives_oldest_timestamp_seconds"); n != 0 {
		t.Errorf("%d series say which archive is the oldest, and there is none", n)
	}
}
