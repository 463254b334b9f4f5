package usage

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
)

func TestMetricsOfNamespacesAndVolumes(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 600<<10)
	w.volume("more", "", 100<<10)
	w.round(0)
	w.volume("late", "", 100<<10)
	_, err := w.read(t.Context(), true)
	must(t, err)
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.Collectors() {
		must(t, registry.Register(c))
	}
	gathered, err := registry.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, family := range gathered {
		for _, m := range family.GetMetric() {
			key := family.GetName()
			for _, label := range m.GetLabel() {
				key += " " + label.GetValue()
			}
			got[key] = m.GetGauge().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"claimdir_namespace_requested_bytes team ":           3 << 20,
		"claimdir_namespace_used_files team ":                2,
		"claimdir_namespace_usage_timestamp_seconds team ":   0,
		"claimdir_volume_requested_bytes team data ":         1 << 20,
		"claimdir_volume_used_files team data ":              1,
		"claimdir_volume_usage_timestamp_seconds team data ": float64(w.clock.Unix()),
		"claimdir_volume_usage_timestamp_seconds team late ": 0,
		"claimdir_volume_used_bytes team late ":              0,
	} {
		if value, has := got[key]; !has || value != want {
			t.Errorf("%s: %v (%v), want %v", key, value, has, want)
		}
	}
	if used := got["claimdir_namespace_used_bytes team "]; used < 700<<10 || used > 800<<10 {
		t.Errorf("the namespace uses %v", used)
	}
}

// Two volumes of claims of one name make one series: two would fail the whole scrape.
func TestTwoVolumesOfOneClaimNameAreOneSeries(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.round(0)
	twice := w.known["data"]
	twice.PV, twice.claim.UID = "pvc-lost", "uid-lost"
	w.known["elsewhere"] = twice
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.Collectors() {
		must(t, registry.Register(c))
	}
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}

func TestTheReportIsSortedBySize(t *testing.T) {
	w := newWorld(t)
	w.volume("small", "", 100<<10)
	w.volume("large", "", 900<<10)
	w.round(0)
	w.volume("new", "", 0)
	report := Find([]Share{{Store: w.Store(t)}}, Of{}, w.clock)
	var order []string
	for _, d := range report.Directories {
		order = append(order, d.Claim)
	}
	if want := []string{"large", "small", "", "new"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	total := report.Shares[0]
	if total.Volumes != 3 || total.Unmeasured != 1 || total.Requested != 3<<20 || total.Used < 1000<<10 || total.Size == 0 || total.Free == 0 {
		t.Errorf("%+v", total)
	}
	find := func(namespace, claim string) Report {
		return Find([]Share{{Store: w.Store(t)}}, Of{namespace, claim}, w.clock)
	}
	if of := find("team", "small"); len(of.Directories) != 1 || len(of.Shares) > 0 || *of.Directories[0].Percent < 9 || *of.Directories[0].Percent > 13 {
		t.Errorf("%+v", of)
	}
	if of := find("team", ""); len(of.Directories) != 3 {
		t.Errorf("%+v", of)
	}
	if of := find("nobody", ""); len(of.Directories) > 0 {
		t.Errorf("%+v", of)
	}
	var text bytes.Buffer
	must(t, WriteJSON(&text, report))
	var keys struct {
		Directories []map[string]any
		Shares      []map[string]any
	}
	must(t, json.Unmarshal(text.Bytes(), &keys))
	if keys.Directories[0]["claim"] != "large" || keys.Shares[0]["volumes"] != 3. {
		t.Errorf("%s", &text)
	}
}

// A snapshot holds what was copied; one that is not whole is none yet.
func TestSnapshotsAreReported(t *testing.T) {
	w := newWorld(t)
	records := w.Store(t).Records
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, name := range []string{"whole", "begun"} {
		r := ledger.Snapshot{Content: "snapcontent-" + name, Name: name, Record: ledger.Record{
			PV: "pvc-1", Cluster: sharetest.Cluster, Path: "data", Size: "1Ki", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"}, CopyOf: &ledger.Copy{Began: &began},
		}}
		must(t, records.BeginSnapshot(r))
		if name == "whole" {
			r.Directory, r.CopyOf = &share.Identity{Number: 1}, &ledger.Copy{Began: &began, Ended: &began, Bytes: 2 << 10, Files: 3}
			must(t, records.UpdateSnapshot(r))
		}
	}
	found := Find([]Share{{Store: w.Store(t)}}, Of{"team", "data"}, w.clock)
	if len(found.Directories) != 1 || len(found.Unread) > 0 {
		t.Fatalf("%+v", found)
	}
	d := found.Directories[0]
	if d.Kind != Snapshot || d.Used.Bytes != 2<<10 || d.Used.Files != 3 || *d.Percent != 200 || !d.Measured.Equal(began) || !strings.HasPrefix(d.Path, ".claimdir/snapshots/snapcontent-whole@") {
		t.Errorf("%+v", d)
	}
	if other := Find([]Share{{Store: w.Store(t)}}, Of{"team", "other"}, w.clock); len(other.Directories) > 0 {
		t.Errorf("%+v", other)
	}
}

func TestTheTablesSayWhatIsSpecial(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	directory := func(claim string, u *share.Usage) Directory {
		d := Directory{Kind: Volume, Namespace: "team", Claim: claim, Volume: "pvc-" + claim, Path: "team/" + claim, Requested: 10 << 30}
		if u != nil {
			d.measured(ledger.Usage{Usage: *u, Began: now.Add(-2 * time.Hour)})
		}
		return d
	}
	r := Report{
		Shares: []Total{{Size: 100 << 30, Free: 60 << 30, Requested: 30 << 30, Used: 12 << 30, Volumes: 4, Unmeasured: 1}},
		Directories: []Directory{
			directory("big", &share.Usage{Bytes: 12 << 30, Files: 1234, Directories: 5}),
			directory("closed", &share.Usage{Bytes: 1 << 20, Files: 3, Directories: 2, Unreadable: 2}),
			directory("held", &share.Usage{Bytes: 5 << 20, Limit: 10 << 30}),
			directory("endless", &share.Usage{Bytes: 1 << 30, Files: 9000000, Directories: 2}),
			directory("new", nil),
			{Kind: Trash, Path: ".claimdir/trash"},
		},
	}
	r.Directories[3].AtLeast = true
	var text bytes.Buffer
	must(t, WriteTable(&text, r, now, 0))
	want := []string{
		"SHARE  SIZE     FREE    VOLUMES  REQUESTED  USED    MEASURED",
		"-      100.0Gi  60.0Gi  4        30.0Gi     12.0Gi  3 of 4",
		"",
		"CLAIM         KIND    USED     REQUESTED  PERCENT  FILES    MEASURED                 PATH",
		"team/big      volume  12.0Gi   10.0Gi     120%     1234     120m ago                 team/big",
		"team/closed   volume  >=1.0Mi  10.0Gi     0%       3        120m ago, 2 unreadable   team/closed",
		"team/held     volume  5.0Mi    10.0Gi     0%       -        enforced by the server   team/held",
		"team/endless  volume  >=1.0Gi  10.0Gi     10%      9000000  120m ago, took too long  team/endless",
		"team/new      volume  -        10.0Gi     -        -        never                    team/new",
		"-             trash   -        -          -        -        never                    .claimdir/trash",
		"",
	}
	if got := text.String(); got != strings.Join(want, "\n") {
		t.Errorf("%s", got)
	}
}

func TestDirectoriesOfSeveralClustersAreToldApart(t *testing.T) {
	r := Report{Directories: []Directory{
		{Kind: Volume, Namespace: "team", Claim: "data", Cluster: "cluster-a", Path: "a"}, {Kind: Volume, Namespace: "team", Claim: "data", Cluster: "cluster-b", Path: "b"},
	}}
	var text bytes.Buffer
	must(t, WriteTable(&text, r, time.Now(), 0))
	for _, want := range []string{"CLAIM      KIND    CLUSTER    USED", "team/data  volume  cluster-a  -", "team/data  volume  cluster-b  -"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it has no %q:\n%s", want, &text)
		}
	}
}

// The server does not say how many files there are, so no figure does.
func TestFilesThatNobodyCountsAreInNoMetric(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.round(0)
	held := w.known["data"]
	held.Limit = 1 << 20
	w.known["data"] = held
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.Collectors() {
		must(t, registry.Register(c))
	}
	gathered, err := registry.Gather()
	must(t, err)
	for _, family := range gathered {
		if strings.HasSuffix(family.GetName(), "_used_files") {
			t.Errorf("there is %v", family)
		}
	}
}

// What is half written, damaged or absent counts as never measured.
func TestDamagedFiguresAreNone(t *testing.T) {
	w := newWorld(t)
	w.volume("data", "", 0)
	w.round(0)
	path := sharetest.PathOf(t, "data")
	must(t, w.Store(t).Dirs.WriteFile("usage", "data.json", []byte("{")))
	if _, found, err := w.Store(t).Records.Usage(path, ledger.Record{PV: "pvc-data", Cluster: sharetest.Cluster}); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	w.Restart(t)
	w.start()
	w.round(time.Minute)
	if u, _ := w.usage("data"); !u.Began.Equal(w.clock) {
		t.Errorf("%+v", u)
	}
}
