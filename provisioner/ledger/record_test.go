package ledger

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/share"
)

// A record that is not understood stops every act on its path and stays as it
// is: it may be all that says whose the data is.
func TestRecordThatIsNotUnderstood(t *testing.T) {
	const good = `{"layout":1,"state":"active","path":"team/data","pv":"pvc-1","claim":{"namespace":"ns","name":"data","uid":"u"},"cluster":"c1"}`
	for name, tt := range map[string]struct {
		text    string
		damaged bool
		says    string
	}{
		"empty":                 {"", true, "damaged record of team/data"},
		"cut off":               {good[:60], true, "damaged"},
		"followed by more":      {good + good, true, "damaged"},
		"no JSON":               {"hello", true, "damaged"},
		"null":                  {"null", true, "damaged"},
		"another path":          {strings.Replace(good, "team/data", "team/other", 1), true, `"team/other"`},
		"no volume":             {strings.Replace(good, "pvc-1", "", 1), true, `volume ""`},
		"an unknown state":      {strings.Replace(good, "active", "molten", 1), true, `unknown state "molten"`},
		"no layout":             {strings.Replace(good, `"layout":1,`, "", 1), true, "layout 0"},
		"a newer layout":        {strings.Replace(good, `"layout":1`, `"layout":3`, 1), false, "run a newer one"},
		"another volume":        {strings.Replace(good, "pvc-1", "pvc-9", 1), true, `belongs to volume "pvc-9"`},
		"another cluster":       {strings.Replace(good, "c1", "c9", 1), true, `belongs to volume "pvc-1"`},
		"a field of wrong type": {strings.Replace(good, `"pvc-1"`, `["pvc-1"]`, 1), true, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := open(t)
			p := pathOf(t, "team/data")
			r := of("ns/data", "pvc-1")
			writeRecord(t, dir, p, r, tt.text)
			_, found, lookup := l.Lookup(p)
			_, ownFound, own := l.Own(p, r.PV, r.Cluster)
			_, take := l.Take(p, r, false)
			_, inside := l.Take(pathOf(t, "team/data/inside"), r, false)
			for act, err := range map[string]error{"lookup": lookup, "own": own, "take": take, "take inside": inside} {
				if err == nil || errors.Is(err, ErrDamaged) != tt.damaged || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%s: %v, want damaged %v and %q", act, err, tt.damaged, tt.says)
				}
			}
			if found || ownFound {
				t.Error("found what is not understood")
			}
			if got := content(t, dir, p); got != tt.text {
				t.Errorf("the record was touched: %s", got)
			}
		})
	}
}

func TestOnlyRecordsBelowStopAnAdoption(t *testing.T) {
	l, dir := open(t)
	write := func(key string) {
		must(t, os.Mkdir(dir+"/.claimdir/records/"+key, 0o700))
		must(t, os.WriteFile(dir+"/.claimdir/records/"+key+"/pvc-1@x.json", []byte("{"), 0o600))
	}
	write("some")
	write("teams")
	write("team-a")
	must(t, os.WriteFile(dir+"/.claimdir/records/.nfs000000000000a1b200000001", nil, 0o600))
	must(t, os.Mkdir(dir+"/.claimdir/records/team%2Fempty", 0o700))
	must(t, os.WriteFile(dir+"/.claimdir/records/team%2Fempty/.nfs000000000000a1b200000001", []byte("{"), 0o600)) // a record that was exchanged while it was read
	must(t, os.WriteFile(dir+"/.claimdir/records/team%2Fempty/pvc-1@x.json.new", []byte("{"), 0o600))
	must(t, l.CheckBelow(pathOf(t, "team"), of("ns/data", "pvc-1")))
	write("team%2Fsome")
	if err := l.CheckBelow(pathOf(t, "team"), of("ns/data", "pvc-1")); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "team%2Fsome/pvc-1@x.json") {
		t.Error(err)
	}
}

// A hashed key shows the beginning of its path only.
func TestAVolumeFarBelowIsFoundByItsHashedKey(t *testing.T) {
	l, _ := open(t)
	above := strings.Repeat("a", 150) + "/" + strings.Repeat("b", 150)
	deep := pathOf(t, above+"/c")
	if !strings.HasSuffix(key(deep), hashedMark) {
		t.Fatalf("%s is not hashed", key(deep))
	}
	_, err := l.Take(deep, of("ns/data", "pvc-1"), false)
	must(t, err)
	for path, want := range map[string]bool{above: true, above[:150]: true, above[:149]: false, above[:200]: false} {
		_, taken := errors.AsType[*TakenError](l.CheckBelow(pathOf(t, path), of("ns/other", "pvc-2")))
		if taken != want {
			t.Errorf("%s: taken %v, want %v", path, taken, want)
		}
	}
}

func TestRecordsListsAllAndNamesTheDamaged(t *testing.T) {
	l, dir := open(t)
	for _, path := range []string{".nfs-of-mine", "a/b", "c", "d"} {
		_, err := l.Take(pathOf(t, path), of("ns/data", "pvc-"+path), false)
		must(t, err)
	}
	must(t, os.WriteFile(dir+"/.claimdir/records/a%2Fb/.nfs000000000000a1b200000001", []byte("{"), 0o600))
	must(t, os.WriteFile(dir+"/.claimdir/records/f", []byte("{"), 0o600))
	must(t, os.Rename(dir+"/.claimdir/records/d", dir+"/.claimdir/records/e")) // records at another path
	named := map[string]bool{"records/e/": true, "records/f": true}
	var got []string
	for r, err := range l.Records() {
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			for name := range named {
				if strings.Contains(err.Error(), name) {
					delete(named, name)
				}
			}
			continue
		}
		got = append(got, r.Path)
	}
	if len(named) > 0 {
		t.Errorf("not named: %v", named)
	}
	if !slices.Equal(got, []string{".nfs-of-mine", "a/b", "c"}) {
		t.Error(got)
	}
}

// The golden file is what people read and what a recovery starts from: change
// it only together with Layout.
func TestRecordAsText(t *testing.T) {
	golden, err := os.ReadFile("testdata/record.json")
	must(t, err)
	uid, gid := uint32(1000), uint32(0)
	released := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	archive := volpathArchive(t)
	r := Record{
		Layout: Layout, State: Archived, Path: archive, PV: "pvc-1", Claim: Claim{"ns", "data", "u-1", "n-1"}, Cluster: "c-1", Class: "nfs",
		Policy: "archive", ReclaimPolicy: "Delete", Adopted: true, Size: "1Gi", AccessModes: []string{"ReadWriteMany"}, MountOptions: []string{"nfsvers=4.2"},
		Mode: "02770", UID: &uid, GID: &gid, Directory: &share.Identity{Number: 42}, Origin: "team/data", Created: released.Add(-time.Hour), Released: &released,
	}
	data, err := encode(r)
	must(t, err)
	if string(data) != string(golden) {
		t.Errorf("written:\n%s\nwant:\n%s", data, golden)
	}
	var back Record
	must(t, json.Unmarshal(golden, &back))
	if !reflect.DeepEqual(back, r) {
		t.Errorf("read %+v, want %+v", back, r)
	}
}

func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := reopen(t, dir).Identity()
	must(t, err)
	s, err := share.Open(dir)
	must(t, err)
	l, err := Open(s, "another id")
	must(t, err)
	again, err := l.Identity()
	if err != nil || again != first || first.ID == "" || first.Layout != Layout || first.Created.IsZero() {
		t.Errorf("%+v, then %+v, %v", first, again, err)
	}
}

func TestShareThatIsNotUnderstoodIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, says string }{
		"a newer layout": {`{"layout":3,"id":"x"}`, "layout 3 and this claimdir knows 2: run a newer one"},
		"no JSON":        {"{", "damaged"},
		"nothing in it":  {"{}", "layout 0"},
		"no id":          {`{"layout":1}`, `id ""`},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := open(t)
			name := dir + "/.claimdir/share.json"
			must(t, os.WriteFile(name, []byte(tt.text), 0o600))
			s, err := share.Open(dir)
			must(t, err)
			if _, err := Open(s, "id"); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if data, err := os.ReadFile(name); err != nil || string(data) != tt.text {
				t.Errorf("touched: %q, %v", data, err)
			}
		})
	}
}
