package recovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// share1 is a share with records; a path that missing names has no directory.
type share1 struct {
	records []ledger.Record
	damaged error
	missing string
}

func (s share1) Records() iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		if s.damaged != nil && !yield(ledger.Record{}, s.damaged) {
			return
		}
		for _, r := range s.records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s share1) Exists(p volpath.Path) (bool, error) { return p.String() != s.missing, nil }

func record(claim, pv, path string, change ...func(*ledger.Record)) ledger.Record {
	namespace, name, _ := strings.Cut(claim, "/")
	r := ledger.Record{
		State: ledger.Active, Path: path, PV: pv, Claim: ledger.Claim{Namespace: namespace, Name: name, UID: "u"}, Cluster: "lost",
		Class: "nfs", Policy: "archive", ReclaimPolicy: "Delete", Size: "1Gi", AccessModes: []string{"ReadWriteMany"},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// asked are the options of a cluster that was asked and has nothing.
var asked = Options{Provisioner: "example.com/nfs"}

func state(s ledger.State) func(*ledger.Record) { return func(r *ledger.Record) { r.State = s } }

// of says of which namespace of its name a record's claim is.
func of(namespaceUID string) func(*ledger.Record) {
	return func(r *ledger.Record) { r.Claim.NamespaceUID = namespaceUID }
}

func TestManifestsAreTheGoldenFile(t *testing.T) {
	s := share1{records: []ledger.Record{
		record("team-b/data", "pvc-3", "team-b/data", state(ledger.Retained)),
		record("team-a/data", "pvc-1", "team-a/data", func(r *ledger.Record) { r.MountOptions = []string{"hard", "nfsvers=4.2"} }),
		record("team-a/peers", "pvc-2", "team-a-peers-pvc-2", func(r *ledger.Record) { r.Policy, r.ReclaimPolicy = "", "" }),
		record("default/web", "pvc-4", "web", func(r *ledger.Record) { r.Policy, r.Class = "delete", "" }),
		record("team-a/old", "pvc-5", "archived-team-a-old-pvc-5", state(ledger.Archived)),
		record("team-a/half", "pvc-6", "half", state(ledger.Creating)),
	}}
	var out bytes.Buffer
	left, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/export"}, s, s}}, asked)
	if err != nil || len(left.Problems) > 0 {
		t.Fatal(left, err)
	}
	const golden = "testdata/manifests.yaml"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || out.String() != string(want) {
		t.Errorf("%v: changed; if that is wanted, run make update:\n%s", err, out.String())
	}
}

func TestWhatIsLeftOutIsSaid(t *testing.T) {
	later := func(r *ledger.Record) { r.Created = r.Created.Add(time.Hour) }
	for name, tt := range map[string]struct {
		share share1
		want  string // in the one line
		kept  string // the path that is printed
	}{
		"a missing directory": {
			share1{records: []ledger.Record{record("a/b", "pvc-1", "gone"), record("a/c", "pvc-2", "kept")}, missing: "gone"},
			`left out path "gone" of claim a/b (active, volume pvc-1): its directory is missing; restore its data from a backup, or remove the file .claimdir/records/gone/pvc-1@`, "kept",
		},
		"a damaged record": {
			share1{records: []ledger.Record{record("a/c", "pvc-2", "kept")}, damaged: errors.New("damaged record in x.json")},
			"damaged record in x.json", "kept",
		},
		"a retained directory of a claim that has another": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "old", state(ledger.Retained), later), record("a/c", "pvc-2", "kept")}},
			`left out path "old" of claim a/c (retained, volume pvc-1): a claim and a volume can have one directory only, and "kept" was printed`, "kept",
		},
		"the earlier of two": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "old"), record("a/c", "pvc-2", "kept", later)}},
			`"old"`, "kept",
		},
		"two records of one volume": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "kept"), record("a/d", "pvc-1", "old")}},
			`"old" of claim a/d`, "kept",
		},
		"a retained directory of an earlier namespace": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "old", state(ledger.Retained), of("n-1"), later), record("a/d", "pvc-2", "kept", of("n-2"))}},
			`left out path "old" of claim a/c (retained, volume pvc-1): it is of an earlier namespace of that name`, "kept",
		},
		"the earlier of two that namespaces of one name retained": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "old", state(ledger.Retained), of("n-1")), record("a/d", "pvc-2", "kept", state(ledger.Retained), of("n-2"), later)}},
			`"old" of claim a/c (retained, volume pvc-1): it is of an earlier namespace`, "kept",
		},
		"a size that is none": {
			share1{records: []ledger.Record{record("a/c", "pvc-1", "kept"), record("a/d", "pvc-2", "old", func(r *ledger.Record) { r.Size = "much" })}},
			`the size "much" in its record is no quantity`, "kept",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			left, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/"}, tt.share, tt.share}}, asked)
			if err != nil || len(left.Problems) != 1 || !strings.Contains(left.Problems[0].Error(), tt.want) {
				t.Errorf("left out %v, %v; want %q", left, err, tt.want)
			}
			if n := strings.Count(out.String(), "kind: PersistentVolume\n"); n != 1 || !strings.Contains(out.String(), "path: /"+tt.kept+"\n") {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
}

// Only what is known to be of an earlier namespace is left out, and nothing that is in use.
func TestNamespacesThatAreNotKnownToBeEarlier(t *testing.T) {
	other := func(r *ledger.Record) { r.Cluster = "other" }
	s := share1{records: []ledger.Record{
		record("a/b", "pvc-1", "1", of("n-1")), record("a/c", "pvc-2", "2", of("n-2")), record("a/d", "pvc-3", "3", state(ledger.Retained)),
		record("a/e", "pvc-4", "4", state(ledger.Retained), of("n-3"), other), record("b/b", "pvc-5", "5", state(ledger.Retained), of("n-4")),
	}}
	left, err := Print(io.Discard, []Share{{"", share.Source{Server: "nas", Path: "/"}, s, s}}, asked)
	if err != nil || len(left.Problems) > 0 {
		t.Errorf("left out %v, %v", left, err)
	}
}

// A claim that has a directory on two shares gets the one that was in use.
func TestSeveralSharesArePrintedAsOne(t *testing.T) {
	fast := share1{records: []ledger.Record{record("a/c", "pvc-1", "old", state(ledger.Retained)), record("a/d", "pvc-2", "d")}}
	bulk := share1{records: []ledger.Record{record("a/c", "pvc-3", "kept")}}
	var out bytes.Buffer
	left, err := Print(&out, []Share{{"fast", share.Source{Server: "ssd", Path: "/fast"}, fast, fast}, {"bulk", share.Source{Server: "nas", Path: "/bulk"}, bulk, bulk}}, asked)
	leftOut := left.Problems
	if err != nil || len(leftOut) != 1 || !strings.Contains(leftOut[0].Error(), `share "fast": left out path "old"`) || !strings.Contains(leftOut[0].Error(), `"kept" on share "bulk" was printed`) {
		t.Errorf("left out %v, %v", leftOut, err)
	}
	for _, line := range []string{"# 2 volumes of ssd:/fast, nas:/bulk, from", "path: /fast/d\n    server: ssd\n", "path: /bulk/kept\n    server: nas\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, &out)
		}
	}
	if n := strings.Count(out.String(), "kind: Namespace\n"); n != 1 {
		t.Errorf("%d namespaces", n)
	}
}

// The figure is in the test's log: go test -v -run Large. It is processor time, which a busy machine stretches less than it stretches
// the time on the clock.
func TestALargeShareIsPrintedInSeconds(t *testing.T) {
	const volumes = 10_000
	dirs, err := share.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(dirs, "share")
	if err != nil {
		t.Fatal(err)
	}
	for i := range volumes {
		path := fmt.Sprintf("team-%d-claim-%d-pvc-%d", i%100, i, i)
		r := record(fmt.Sprintf("team-%d/claim-%d", i%100, i), fmt.Sprint("pvc-", i), path)
		r.Layout = ledger.Layout
		data, err := json.Marshal(r) // by the ledger, which syncs each, it would take minutes
		if err == nil {
			err = errors.Join(os.Mkdir(dirs.Dir()+"/"+path, 0o777), os.Mkdir(dirs.Dir()+"/.claimdir/records/"+path, 0o700),
				os.WriteFile(dirs.Dir()+"/.claimdir/records/"+path+"/"+volpath.Own(r.PV, r.Cluster)+".json", data, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	begin := processorTime(t)
	left, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/export"}, l, dirs}}, asked)
	took := processorTime(t) - begin
	if n := strings.Count(out.String(), "kind: PersistentVolume\n"); err != nil || len(left.Problems) > 0 || n != volumes {
		t.Fatal(n, left, err)
	}
	t.Logf("%d records printed in %v, %d bytes", volumes, took.Round(time.Millisecond), out.Len())
	if took > time.Minute {
		t.Error("too slow")
	}
}

// processorTime is what this process has used of the processors, for itself and in the kernel.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
