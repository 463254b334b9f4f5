package archives

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// now is when the tests are.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func daysAgo(days int) *time.Time { return new(now.AddDate(0, 0, -days)) }

// kept is an archive of the tests: its directory and its record.
type kept struct {
	claim, pv    string
	since, until *time.Time
	change       func(*ledger.Record)
}

func (k kept) path() string { return "archived-" + strings.ReplaceAll(k.claim, "/", "-") + "-" + k.pv }

// newShare is a share in a directory of its own, as the controller leaves it.
func newShare(t *testing.T, name string, archives ...kept) Share {
	t.Helper()
	dirs, err := share.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	records, err := ledger.Open(dirs, "id of "+name)
	if err != nil {
		t.Fatal(err)
	}
	s := Share{Name: name, Store: ledger.Store{Dirs: dirs, Records: records}}
	for _, k := range archives {
		namespace, claim, _ := strings.Cut(k.claim, "/")
		r := ledger.Record{
			Layout: ledger.Layout, State: ledger.Archived, Path: k.path(), PV: k.pv, Claim: ledger.Claim{Namespace: namespace, Name: claim, UID: "u"},
			Cluster: "here", Class: "nfs", Size: "1Gi", AccessModes: []string{"ReadWriteMany"}, Origin: k.claim, Released: k.since, Until: k.until,
		}
		if k.change != nil {
			k.change(&r)
		}
		data, err := json.Marshal(r) // the ledger would say that it was released now
		if err != nil {
			t.Fatal(err)
		}
		path, err := volpath.ParseRecorded(k.path())
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, ledger.File(path, r), string(data))
		write(t, s, k.path()+"/file", k.pv)
	}
	return s
}

func dirOf(s Share) string { return s.Store.Dirs.Dir() }

// write makes a file, and the directory for it.
func write(t *testing.T, s Share, name, text string) {
	t.Helper()
	at := dirOf(s) + "/" + name
	err := errors.Join(os.MkdirAll(at[:strings.LastIndexByte(at, '/')], 0o777), os.WriteFile(at, []byte(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

func findAll(t *testing.T, shares ...Share) []Archive {
	t.Helper()
	found := Find(shares)
	if len(found.Unread) > 0 {
		t.Fatal(found.Unread)
	}
	return found.Archives
}

// names are the volumes of archives, or the paths where there is none.
func names(archives []Archive) string {
	var all []string
	for _, a := range archives {
		if a.Recorded() {
			all = append(all, a.Volume)
		} else {
			all = append(all, a.Path)
		}
	}
	return strings.Join(all, " ")
}
