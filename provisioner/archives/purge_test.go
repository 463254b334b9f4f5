package archives

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

func TestSelect(t *testing.T) {
	s := newShare(t, "",
		kept{claim: "a/data", pv: "pvc-1", since: daysAgo(40)},
		kept{claim: "a/data", pv: "pvc-2", since: daysAgo(20), until: daysAgo(1)},
		kept{claim: "a/logs", pv: "pvc-3", since: daysAgo(10), until: daysAgo(-1)},
		kept{claim: "b/data", pv: "pvc-4", until: daysAgo(0)},
		kept{claim: "pvc-1/x", pv: "pvc-5", since: daysAgo(30)},
	)
	write(t, s, "archived-a-data-peer/file", "")
	all := findAll(t, s)
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	for name, tt := range map[string]struct {
		Selection
		want    string
		wantErr []string
	}{
		"all that have a record":       {want: "pvc-1 pvc-2 pvc-3 pvc-4 pvc-5"},
		"a claim":                      {Selection: Selection{Names: []string{"a/data"}}, want: "pvc-1 pvc-2"},
		"a namespace":                  {Selection: Selection{Names: []string{"a"}}, want: "pvc-1 pvc-2 pvc-3"},
		"volumes":                      {Selection: Selection{Names: []string{"pvc-4", "pvc-2"}}, want: "pvc-2 pvc-4"},
		"of each kind, none twice":     {Selection: Selection{Names: []string{"b", "a/logs", "pvc-3"}}, want: "pvc-3 pvc-4"},
		"expired, to the second":       {Selection: Selection{Expired: true}, want: "pvc-2 pvc-4"},
		"older than, to the second":    {Selection: Selection{OlderThan: days(20)}, want: "pvc-1 pvc-5"},
		"expired and older than":       {Selection: Selection{Expired: true, OlderThan: days(19)}, want: "pvc-2"},
		"a claim, older than":          {Selection: Selection{Names: []string{"a/data"}, OlderThan: days(30)}, want: "pvc-1"},
		"a claim, none of it so old":   {Selection: Selection{Names: []string{"a/data"}, OlderThan: days(300)}},
		"a namespace that is a volume": {Selection: Selection{Names: []string{"pvc-1"}}, wantErr: []string{`"pvc-1" is both a namespace and a volume`}},
		"what there is not, each": {Selection: Selection{Names: []string{"a/data", "a/dat", "c", "a/"}},
			wantErr: []string{`there is no archive of claim "a/dat"`, `no archive of a namespace or volume "c"`, `no archive of claim "a/"`}},
		"a directory without a record": {Selection: Selection{Names: []string{"archived-a-data-peer"}}, wantErr: []string{"there is no archive of"}},
		"nothing":                      {Selection: Selection{Names: []string{""}}, wantErr: []string{"there is no archive of"}},
	} {
		t.Run(name, func(t *testing.T) {
			selected, err := tt.Select(all, now)
			if got := names(selected); got != tt.want || (err == nil) != (tt.wantErr == nil) {
				t.Errorf("selected %q, want %q; %v", got, tt.want, err)
			}
			for _, want := range tt.wantErr {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not said: %v", want, err)
				}
			}
		})
	}
}

// reopened is the share as a command opens it, without its trash: an older
// claimdir made none.
func reopened(t *testing.T, s Share) Share {
	t.Helper()
	if err := os.RemoveAll(dirOf(s) + "/.claimdir/trash"); err != nil {
		t.Fatal(err)
	}
	dirs, err := share.Open(dirOf(s))
	if err != nil {
		t.Fatal(err)
	}
	records, err := ledger.OpenReadOnly(dirs)
	if err != nil {
		t.Fatal(err)
	}
	return Share{Name: s.Name, Store: ledger.Store{Dirs: dirs, Records: records}}
}

func TestDiscardMovesDirectoryAndRecord(t *testing.T) {
	s := reopened(t, newShare(t, "", kept{claim: "a/data", pv: "pvc-1"}, kept{claim: "a/data", pv: "pvc-2"}))
	all := findAll(t, s)
	if err := Discard(t.Context(), all[0], Cluster{}); err != nil {
		t.Fatal(err)
	}
	if left := findAll(t, s); names(left) != "pvc-2" {
		t.Errorf("left are %s", names(left))
	}
	for name, want := range map[string]string{"volume/file": "pvc-1", "record.json": `"archived"`} {
		if got, err := os.ReadFile(dirOf(s) + "/.claimdir/trash/" + volpath.Trash("pvc-1", "here", 1) + "/" + name); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s in the trash: %q, %v", name, got, err)
		}
	}
}

func TestDiscardOfWhatIsGone(t *testing.T) {
	for name, change := range map[string]func(*testing.T, Share, Archive){
		"discarded already": func(t *testing.T, _ Share, a Archive) {
			if err := Discard(t.Context(), a, Cluster{}); err != nil {
				t.Fatal(err)
			}
		},
		"its directory moved away": func(t *testing.T, s Share, a Archive) {
			if err := os.Rename(dirOf(s)+"/"+a.Path, dirOf(s)+"/restored"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShare(t, "", kept{claim: "a/data", pv: "pvc-1"})
			a := findAll(t, s)[0]
			change(t, s, a)
			if err := Discard(t.Context(), a, Cluster{}); !errors.Is(err, steps.ErrNoArchive) {
				t.Error(err)
			}
		})
	}
}

func TestDiscardTouchesNothingWithoutARecord(t *testing.T) {
	s := newShare(t, "")
	write(t, s, "archived-peer/file", "precious")
	if err := Discard(t.Context(), findAll(t, s)[0], Cluster{}); !errors.Is(err, steps.ErrNoArchive) {
		t.Error(err)
	}
	if _, err := os.Stat(dirOf(s) + "/archived-peer/file"); err != nil {
		t.Error(err)
	}
}
