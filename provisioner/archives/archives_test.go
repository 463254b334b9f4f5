package archives

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

func TestArchivesAreFound(t *testing.T) {
	remove := func(name string) func(*testing.T, Share) {
		return func(t *testing.T, s Share) {
			if err := os.RemoveAll(dirOf(s) + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := []kept{{claim: "a/data", pv: "pvc-1", since: daysAgo(1)}}
	for name, tt := range map[string]struct {
		archives []kept
		prepare  func(*testing.T, Share)
		want     string
		unread   string // in the one error
	}{
		"none": {},
		"by claim, and then from the earliest on": {archives: []kept{
			{claim: "b/data", pv: "pvc-1", since: daysAgo(9)}, {claim: "a/logs", pv: "pvc-2", since: daysAgo(8)},
			{claim: "a/data", pv: "pvc-3", since: daysAgo(1)}, {claim: "a/data", pv: "pvc-4", since: daysAgo(2)}, {claim: "a/data", pv: "pvc-5"},
		}, want: "pvc-5 pvc-4 pvc-3 pvc-2 pvc-1"},
		"volumes are none": {archives: []kept{{claim: "a/data", pv: "pvc-1", change: func(r *ledger.Record) { r.State = ledger.Retained }}}},
		"one whose directory is not there yet, or no more": {archives: one, prepare: remove("archived-a-data-pvc-1")},
		"a file is none": {archives: one, prepare: func(t *testing.T, s Share) {
			remove("archived-a-data-pvc-1")(t, s)
			write(t, s, "archived-a-data-pvc-1", "")
		}},
		"a peer's comes last": {archives: one, want: "pvc-1 archived-Z-x", prepare: func(t *testing.T, s Share) {
			write(t, s, "archived-Z-x/file", "")
			write(t, s, "archived-file", "")
			write(t, s, "volume/archived-y/file", "")
		}},
		"a peer's whose name no path can have": {want: "archived-\x1b[2J", prepare: func(t *testing.T, s Share) { write(t, s, "archived-\x1b[2J/file", "") }},
		"a damaged record": {archives: append([]kept{{claim: "b/c", pv: "pvc-2"}}, one...), want: "pvc-2", unread: "damaged record", prepare: func(t *testing.T, s Share) {
			write(t, s, ".claimdir/records/archived-a-data-pvc-1/"+volpath.Own("pvc-1", "here")+".json", "{")
		}},
		"without records none is called a peer's": {archives: one, unread: "list .claimdir/records", prepare: remove(".claimdir/records")},
		"the records cannot be read":              {archives: one, unread: ".claimdir", prepare: remove(".claimdir")},
		"the share cannot be looked at":           {archives: one, unread: "reach the share", prepare: remove("")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShare(t, "", tt.archives...)
			if tt.prepare != nil {
				tt.prepare(t, s)
			}
			found := Find([]Share{s})
			if got := names(found.Archives); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if err := errors.Join(found.Unread...); (err == nil) != (tt.unread == "") || err != nil && !strings.Contains(err.Error(), tt.unread) {
				t.Errorf("unread: %v; want %q", found.Unread, tt.unread)
			}
		})
	}
}

// One share that is in trouble hides no other one's.
func TestArchivesOfSeveralShares(t *testing.T) {
	bulk := newShare(t, "bulk", kept{claim: "b/data", pv: "pvc-1", since: daysAgo(1)}, kept{claim: "a/data", pv: "pvc-2", since: daysAgo(1)})
	fast := newShare(t, "fast", kept{claim: "a/data", pv: "pvc-3", since: daysAgo(2)})
	write(t, fast, "archived-peer/file", "")
	write(t, fast, ".claimdir/records/bad/x.json", "{")
	gone := newShare(t, "gone")
	if err := os.RemoveAll(dirOf(gone)); err != nil {
		t.Fatal(err)
	}
	found := Find([]Share{bulk, fast, gone})
	if got := names(found.Archives); got != "pvc-3 pvc-2 pvc-1 archived-peer" {
		t.Errorf("found %q", got)
	}
	err := errors.Join(found.Unread...)
	for _, want := range []string{`share "fast": damaged record in .claimdir/records/bad/x.json`, `share "gone": list .claimdir/records: reach the share`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
	var out bytes.Buffer
	if err := WriteTable(&out, found.Archives, Found{}, now, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CLAIM   VOLUME  SHARE  SIZE", "a/data  pvc-3   fast   1Gi", "-       -       fast   -"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestTable(t *testing.T) {
	s := newShare(t, "",
		kept{claim: "a/data", pv: "pvc-1", since: daysAgo(45)},
		kept{claim: "a/data", pv: "pvc-2", since: daysAgo(30), until: daysAgo(0)},
		kept{claim: "a/data", pv: "pvc-3", since: daysAgo(1), until: daysAgo(-29), change: func(r *ledger.Record) { r.Size = "" }})
	write(t, s, "archived-\x1b[2J\n/file", "")
	var out bytes.Buffer
	if err := WriteTable(&out, findAll(t, s), Found{}, now, 0); err != nil {
		t.Fatal(err)
	}
	const want = `CLAIM   VOLUME  SIZE  SINCE             UNTIL                 PATH
a/data  pvc-1   1Gi   2026-01-15 (45d)  for ever              archived-a-data-pvc-1
a/data  pvc-2   1Gi   2026-01-30 (30d)  2026-03-01 (expired)  archived-a-data-pvc-2
a/data  pvc-3   -     2026-02-28 (24h)  2026-03-30 (in 29d)   archived-a-data-pvc-3
-       -       -     -                 -                     archived-?[2J?
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	out.Reset()
	if err := WriteTable(&out, nil, Found{Clusters: []string{"a", "b"}}, now, 0); err != nil || out.Len() > 0 {
		t.Errorf("%v; no archives are %q", err, &out)
	}
}

// Whose an archive is, is told where it is not plain.
func TestArchivesOfSeveralClusters(t *testing.T) {
	elsewhere := func(r *ledger.Record) { r.Cluster = "elsewhere" }
	volumes := newShare(t, "", kept{claim: "a/data", pv: "pvc-1", since: daysAgo(1)}, kept{claim: "b/data", pv: "pvc-2", change: func(r *ledger.Record) {
		r.State, r.Cluster = ledger.Active, "elsewhere"
	}})
	if found := Find([]Share{volumes}); !slices.Equal(found.Clusters, []string{"elsewhere", "here"}) || len(found.Archives) != 1 {
		t.Errorf("%+v", found)
	}
	both := newShare(t, "", kept{claim: "a/data", pv: "pvc-1", since: daysAgo(2)}, kept{claim: "a/data", pv: "pvc-2", since: daysAgo(1), change: elsewhere})
	all := findAll(t, both)
	var out bytes.Buffer
	if err := WriteTable(&out, all, Found{Clusters: []string{"here", "elsewhere"}}, now, 0); err != nil || !strings.Contains(out.String(), "VOLUME  CLUSTER    SIZE") || !strings.Contains(out.String(), "pvc-2   elsewhere  1Gi") {
		t.Errorf("%v\n%s", err, &out)
	}
	if selected, err := (Selection{Names: []string{"a"}, Cluster: "here"}).Select(all, now); err != nil || names(selected) != "pvc-1" {
		t.Errorf("%v, selected %q", err, names(selected))
	}
}

// Of which namespace an archive is, is told where the name does not say it: its claims do not get
// those of an earlier namespace.
func TestArchivesOfANamespaceThatWasMadeAnew(t *testing.T) {
	uid := func(uid string, state ledger.State) func(*ledger.Record) {
		return func(r *ledger.Record) { r.Claim.NamespaceUID, r.State = uid, state }
	}
	elsewhere := func(r *ledger.Record) { r.Claim.NamespaceUID, r.Cluster = "b-9", "elsewhere" }
	s := newShare(t, "", kept{claim: "a/data", pv: "pvc-1", since: daysAgo(1), change: uid("a-1", ledger.Archived)},
		kept{claim: "a/new", pv: "pvc-2", change: uid("a-2", ledger.Active)}, kept{claim: "a/old", pv: "pvc-3", since: daysAgo(3)},
		kept{claim: "b/data", pv: "pvc-4", since: daysAgo(1), change: uid("b-1", ledger.Archived)}, kept{claim: "b/data", pv: "pvc-5", since: daysAgo(1), change: elsewhere})
	found := Find([]Share{s})
	if !slices.Equal(found.Remade, []string{"a"}) {
		t.Errorf("made anew are %q", found.Remade)
	}
	found.Clusters = nil
	for name, archives := range map[string][]Archive{"a": found.Archives[:2], "b": found.Archives[2:]} {
		var out bytes.Buffer
		err := WriteTable(&out, archives, found, now, 0)
		if shown := strings.Contains(out.String(), "NAMESPACE UID  SIZE") && strings.Contains(out.String(), "pvc-1   a-1            1Gi"); err != nil || shown != (name == "a") {
			t.Errorf("%v\n%s", err, &out)
		}
	}
	var out bytes.Buffer
	if err := WriteJSON(&out, found.Archives); err != nil || !strings.Contains(out.String(), `"namespaceUID": "a-1"`) {
		t.Errorf("%v\n%s", err, &out)
	}
}

// The keys are what scripts rely on.
func TestJSON(t *testing.T) {
	s := newShare(t, "fast", kept{claim: "a/data", pv: "pvc-1", since: daysAgo(1), until: daysAgo(-1)})
	write(t, s, "archived-peer/file", "")
	for _, tt := range []struct {
		archives []Archive
		want     string
	}{
		{nil, `[]`},
		{findAll(t, s), `[{"namespace":"a","claim":"data","volume":"pvc-1","share":"fast","cluster":"here","class":"nfs","size":"1Gi","since":"2026-02-28T12:00:00Z",` +
			`"until":"2026-03-02T12:00:00Z","path":"archived-a-data-pvc-1","origin":"a/data"},{"share":"fast","path":"archived-peer"}]`},
	} {
		var out, compact bytes.Buffer
		if err := WriteJSON(&out, tt.archives); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&compact, out.Bytes()); err != nil || strings.TrimSpace(compact.String()) != tt.want {
			t.Errorf("%v, got\n%swant\n%s", err, &compact, tt.want)
		}
	}
}
