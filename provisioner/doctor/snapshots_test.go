package doctor

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

func TestSnapshots(t *testing.T) {
	one, other := &share.Identity{Number: 1}, &share.Identity{Number: 2}
	made := func(content, cluster string, tree *share.Identity, change ...func(*ledger.Snapshot)) Snapshot {
		s := ledger.Snapshot{Content: content, Name: "now", Record: ledger.Record{Cluster: cluster, Directory: one, Claim: ledger.Claim{Namespace: "team", Name: "data"}}}
		for _, c := range change {
			c(&s)
		}
		return Snapshot{s, tree}
	}
	kept := func(ago time.Duration) func(*ledger.Snapshot) {
		return func(s *ledger.Snapshot) { s.Released, s.Until = new(time.Now()), new(time.Now().Add(-ago)) }
	}
	overdue := made("overdue", "here", one, kept(30*time.Hour))
	site := &Site{ID: "share-1", Dirs: tree{}}
	for _, s := range []Snapshot{
		made("whole", "here", one),
		made("missing", "here", nil),
		made("exchanged", "here", other),
		made("elsewhere", "there", nil),
		made("begun", "here", nil, func(s *ledger.Snapshot) { s.Directory = nil }),
		made("kept", "here", one, kept(time.Hour)),
		overdue,
		made("kept-missing", "here", nil, kept(-time.Hour)),
	} {
		site.AddSnapshot(s)
	}
	c := Cluster{ID: "here", Contents: []Content{
		{"whole", "share-1/whole"}, {"lost", "share-1/lost"}, {"other-share", "share-2/whole"}, {"making", ""},
	}}
	listed := func(report Report) (found []string) {
		for _, f := range report.Findings {
			if f.Kind == KindSnapshot && f.Remedy != "" {
				found = append(found, f.Object+": "+f.Problem)
			}
		}
		return found
	}
	found := func() []string { return listed(Diagnose(c, site)) }
	at := func(content string) string { return ledger.SnapshotPath(ledger.SnapshotOwn(content, "here")) }
	want := []string{
		at("exchanged") + ": what is there is another directory than the data of snapshot exchanged of claim team/data",
		at("kept-missing") + ": the data of snapshot kept-missing of claim team/data is missing",
		at("missing") + ": the data of snapshot missing of claim team/data is missing",
		at("overdue") + ": snapshot overdue of claim team/data should have expired at " + overdue.Until.Format(time.RFC3339),
		"lost: the VolumeSnapshotContent names snapshot share-1/lost, which is not on the share",
	}
	if got := found(); !slices.Equal(got, want) {
		t.Errorf("found\n%q\nwant\n%q", got, want)
	}
	if got := listed(Orphans(c, site)); !slices.Equal(got, want) {
		t.Errorf("orphans are\n%q\nwant\n%q", got, want)
	}
	// What cannot be read may be what a content names.
	site.DamagedSnapshots = []error{fmt.Errorf("record of snapshot x: %w", ledger.ErrDamaged), errors.New("input/output error")}
	if got := found(); len(got) != len(want)+1 || slices.Contains(got, want[4]) {
		t.Errorf("with damaged records found\n%q", got)
	}
}
