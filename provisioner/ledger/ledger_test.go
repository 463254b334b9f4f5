package ledger

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// open returns a ledger on a new share and the share's directory.
func open(t *testing.T) (*Ledger, string) {
	t.Helper()
	dir := t.TempDir()
	return reopen(t, dir), dir
}

func reopen(t *testing.T, dir string) *Ledger {
	t.Helper()
	s, err := share.Open(dir)
	must(t, err)
	l, err := Open(s, "id-of-"+strings.ReplaceAll(t.Name(), "/", "-"))
	must(t, err)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.Parse(s)
	must(t, err)
	return p
}

// of is the record of volume pv of a claim "namespace/name".
func of(claim, pv string) Record {
	namespace, name, _ := strings.Cut(claim, "/")
	return Record{State: Creating, PV: pv, Claim: Claim{Namespace: namespace, Name: name, UID: "uid-" + pv}, Cluster: "c1", Policy: "archive", ReclaimPolicy: "Delete"}
}

func otherCluster(r Record) Record {
	r.Cluster = "c2"
	return r
}

// stands fails the test if the record of path is not pv's in the given state;
// an empty pv means that there is none.
func stands(t *testing.T, l *Ledger, path, pv string, state State) {
	t.Helper()
	r, found, err := l.Lookup(pathOf(t, path))
	if err != nil || found != (pv != "") || r.PV != pv || r.State != state {
		t.Errorf("record of %s: %+v, %v, %v; want %q %q", path, r, found, err, pv, state)
	}
}

// A path that holds a record is asked for by another volume.
func TestTakeOfAPathWithARecord(t *testing.T) {
	const pv1, pv2 = "pvc-1", "pvc-2"
	for name, tt := range map[string]struct {
		state  State
		asking Record
		taken  bool
		now    State // of the record that stands, if not taken
	}{
		"a repeat finds its creating record":                           {Creating, of("ns/data", pv1), false, Creating},
		"a repeat finds its active record":                             {Active, of("ns/data", pv1), false, Active},
		"a volume takes up what it left itself":                        {Retained, of("ns/data", pv1), false, Active},
		"a new claim of the name takes over a creating path":           {Creating, of("ns/data", pv2), false, Creating},
		"a new claim of the name takes up a retained path":             {Retained, of("ns/data", pv2), false, Active},
		"a new claim of the name does not get an active path":          {Active, of("ns/data", pv2), true, ""},
		"another name does not get a creating path":                    {Creating, of("ns/other", pv2), true, ""},
		"another name does not get a retained path":                    {Retained, of("ns/other", pv2), true, ""},
		"another namespace does not get a creating path":               {Creating, of("other/data", pv2), true, ""},
		"another namespace does not get a retained path":               {Retained, of("other/data", pv2), true, ""},
		"names that only join to the same text do not get it":          {Retained, of("n/s-data", pv2), true, ""},
		"another cluster does not get a creating path":                 {Creating, otherCluster(of("ns/data", pv2)), true, ""},
		"another cluster does not get a retained path":                 {Retained, otherCluster(of("ns/data", pv2)), true, ""},
		"another cluster does not get it with the same volume name":    {Retained, otherCluster(of("ns/data", pv1)), true, ""},
		"another cluster does not repeat it with the same volume name": {Active, otherCluster(of("ns/data", pv1)), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := open(t)
			p := pathOf(t, "team/data")
			first, err := l.Take(p, of("ns/data", pv1), false)
			must(t, err)
			first.State = tt.state
			put(t, l, p, first)
			before := content(t, dir, p)

			got, err := l.Take(p, tt.asking, false)
			if tt.taken {
				var taken *TakenError
				if !errors.As(err, &taken) || taken.Owner.PV != pv1 || taken.Path != p {
					t.Errorf("error %v, want a TakenError about %s", err, pv1)
				}
				if after := content(t, dir, p); after != before {
					t.Errorf("the record was touched:\n%s%s", before, after)
				}
				return
			}
			if err != nil || got.State != tt.now || got.PV != tt.asking.PV || got.Path != "team/data" {
				t.Errorf("%+v, %v", got, err)
			}
			if tt.state == Retained && !got.Adopted {
				t.Error("a directory that was kept is not marked as one that was there before")
			}
			stands(t, l, "team/data", tt.asking.PV, tt.now)
		})
	}
}

// A rebuilt cluster has another id. Only a class that adopts says that the
// same names mean the same claim there.
func TestAdoptionTakesUpWhatAnotherClusterRetained(t *testing.T) {
	l, _ := open(t)
	p := pathOf(t, "team/data")
	left := of("ns/data", "pvc-1")
	identity := &share.Identity{Number: 7}
	left.State, left.Directory = Retained, identity
	put(t, l, p, left)
	for _, asking := range []Record{otherCluster(of("ns/other", "pvc-2")), otherCluster(of("other/data", "pvc-2"))} {
		if _, err := l.Take(p, asking, true); err == nil {
			t.Errorf("%s got it", asking.Claim)
		}
	}
	got, err := l.Take(p, otherCluster(of("ns/data", "pvc-2")), true)
	if err != nil || got.State != Active || !got.Adopted || got.Cluster != otherCluster(left).Cluster || got.Directory.Match(identity) != share.Same {
		t.Errorf("%+v, %v", got, err)
	}
	stands(t, l, "team/data", "pvc-2", Active)
}

func TestTakeOverKeepsThatADirectoryWasThereBefore(t *testing.T) {
	l, _ := open(t)
	r := of("ns/data", "pvc-1")
	r.Adopted = true
	_, err := l.Take(pathOf(t, "data"), r, false)
	must(t, err)
	if got, err := l.Take(pathOf(t, "data"), of("ns/data", "pvc-2"), false); err != nil || !got.Adopted || got.State != Creating {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNesting(t *testing.T) {
	for name, tt := range map[string]struct {
		asked        string
		above, below bool // is refused
	}{
		"right inside":              {"a/b/c", true, false},
		"deep inside":               {"a/b/c/d/e", true, false},
		"beside with a longer name": {"a/bc", false, false},
		"beside with a dash":        {"a/b-c", false, false},
		"right above":               {"a", false, true},
		"elsewhere":                 {"b", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, state := range []State{Creating, Active, Retained} {
				l, _ := open(t)
				owner := of("ns/data", "pvc-1")
				owner, err := l.Take(pathOf(t, "a/b"), owner, false)
				must(t, err)
				owner.State = state
				put(t, l, pathOf(t, "a/b"), owner)
				asking := of("ns/data", "pvc-2") // even the same claim
				check := func(what string, err error, want bool) {
					t.Helper()
					var taken *TakenError
					if got := errors.As(err, &taken); got != want || !got && err != nil {
						t.Errorf("%s, %s: %v, want refused %v", state, what, err, want)
					}
				}
				check("check above", l.CheckAbove(pathOf(t, tt.asked), asking), tt.above)
				check("check below", l.CheckBelow(pathOf(t, tt.asked), asking), tt.below)
				_, err = l.Take(pathOf(t, tt.asked), asking, false)
				check("take", err, tt.above)
			}
		})
	}
}

func TestOfManyTakesOneGetsThePath(t *testing.T) {
	one, dir := open(t)
	other := reopen(t, dir) // another process
	var won atomic.Int32
	var winner atomic.Value
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			l := []*Ledger{one, other}[i%2]
			pv := "pvc-" + string(rune('A'+i))
			var taken *TakenError
			switch _, err := l.Take(pathOf(t, "data"), of("ns/"+pv, pv), false); {
			case err == nil:
				won.Add(1)
				winner.Store(pv)
			case !errors.As(err, &taken):
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d volumes got the path", won.Load())
	}
	pv, _ := winner.Load().(string)
	stands(t, one, "data", pv, Creating)
}

func TestTakenErrorNamesClaimsOfTheSameNamespaceOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		asked  string
		asking Record
		has    []string
		not    []string
	}{
		"same namespace":                   {"ns/secret-claim", of("ns/mine", "pvc-2"), []string{"pvc-1", "ns/secret-claim", "(being created)", "let the pods share that claim"}, nil},
		"foreign namespace":                {"ns/secret-claim", of("other/mine", "pvc-2"), []string{"pvc-1", "another namespace"}, []string{"claim ns/"}},
		"foreign cluster":                  {"ns/secret-claim", otherCluster(of("ns/mine", "pvc-2")), []string{"pvc-1", "cluster"}, []string{"claim ns/"}},
		"inside, same namespace":           {"ns/secret-claim/x", of("ns/mine", "pvc-2"), []string{"one inside the other", `"ns/secret-claim"`}, nil},
		"above one of a foreign namespace": {"ns", of("other/mine", "pvc-2"), []string{`"ns" would lie above`, "pvc-1"}, []string{"secret-claim"}},
		"above one of the same namespace":  {"ns", of("ns/mine", "pvc-2"), []string{"one inside the other", "ns/secret-claim"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := open(t)
			_, err := l.Take(pathOf(t, "ns/secret-claim"), of("ns/secret-claim", "pvc-1"), false)
			must(t, err)
			_, err = l.Take(pathOf(t, tt.asked), tt.asking, false)
			if err == nil {
				err = l.CheckBelow(pathOf(t, tt.asked), tt.asking)
			}
			if err == nil {
				t.Fatal("not refused")
			}
			for _, word := range tt.has {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			for _, word := range tt.not {
				if strings.Contains(err.Error(), word) {
					t.Errorf("%q gives away %q", err, word)
				}
			}
		})
	}
}

func TestArchive(t *testing.T) {
	l, _ := open(t)
	p, archive := pathOf(t, "team/data"), volpath.Archive("ns", "data", "pvc-1", 1)
	r, err := l.Take(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	id := &share.Identity{Number: 7}
	must(t, l.Activate(p, r, id))
	must(t, l.Archive(archive, r, id))
	must(t, l.Archive(archive, r, id)) // a repeat
	a, found, err := l.Lookup(archive)
	if err != nil || !found || a.State != Archived || a.Origin != "team/data" || a.Released == nil || a.Claim != r.Claim || !a.Created.Equal(r.Created) || a.Directory.Match(id) != share.Same {
		t.Errorf("%+v, %v, %v", a, found, err)
	}
	stands(t, l, "team/data", "pvc-1", Active)
	var taken *TakenError
	if err := l.Archive(archive, of("ns/data", "pvc-2"), nil); !errors.As(err, &taken) {
		t.Errorf("another volume's archive: %v", err)
	}
	must(t, l.Remove(p, r))
	must(t, l.Remove(p, r)) // a repeat
	stands(t, l, "team/data", "", "")
}

func TestRetainSaysWhen(t *testing.T) {
	l, _ := open(t)
	p := pathOf(t, "data")
	r, err := l.Take(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	must(t, l.Retain(p, r, nil))
	got, _, err := l.Lookup(p)
	if err != nil || got.State != Retained || got.Released == nil || got.Released.Before(got.Created) {
		t.Errorf("%+v, %v", got, err)
	}
}

// content is the text of the only record of a path.
func content(t *testing.T, dir string, p volpath.Path) string {
	t.Helper()
	names := recordsAt(t, dir, p)
	if len(names) != 1 {
		t.Fatalf("the records of %s are %q", p, names)
	}
	data, err := os.ReadFile(dir + "/.claimdir/" + directoryOf(p) + "/" + names[0])
	must(t, err)
	return string(data)
}

// recordsAt lists the directory of a path's records; it is nil where there is none.
func recordsAt(t *testing.T, dir string, p volpath.Path) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir + "/.claimdir/" + directoryOf(p))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// put makes r the record of path, whatever the one says that it has.
func put(t *testing.T, l *Ledger, p volpath.Path, r Record) {
	t.Helper()
	r.Path = p.String()
	if err := l.place(p, r); !errors.Is(err, fs.ErrExist) {
		must(t, err)
		return
	}
	must(t, l.write(p, r))
}

// writeRecord writes the file of r's record by hand.
func writeRecord(t *testing.T, dir string, p volpath.Path, r Record, text string) {
	t.Helper()
	in := dir + "/.claimdir/" + directoryOf(p)
	must(t, os.MkdirAll(in, 0o700))
	must(t, os.WriteFile(in+"/"+fileOf(r), []byte(text), 0o600))
}

func TestOpenReadOnlyWritesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := share.Open(dir)
	must(t, err)
	if _, err := OpenReadOnly(s); !errors.Is(err, ErrNoRecords) {
		t.Error(err)
	}
	must(t, s.MakeMeta()) // a start that was cut off
	if _, err := OpenReadOnly(s); !errors.Is(err, ErrNoRecords) {
		t.Error(err)
	}
	_, err = Open(s, "share-1")
	must(t, err)
	must(t, os.Chmod(dir+"/.claimdir", 0o500))
	l, err := OpenReadOnly(s)
	must(t, err)
	if id, err := l.Identity(); err != nil || id.ID != "share-1" {
		t.Error(id, err)
	}
	must(t, os.Chmod(dir+"/.claimdir", 0o700))
	must(t, os.WriteFile(dir+"/.claimdir/share.json", []byte(`{"layout":99,"id":"x"}`), 0o600))
	if _, err := OpenReadOnly(s); !errors.Is(err, share.ErrNotRecognised) {
		t.Error(err)
	}
	s, err = share.Open(dir)
	must(t, err)
	if _, err := OpenReadOnly(s); err == nil || !strings.Contains(err.Error(), "layout 99") {
		t.Error(err)
	}
}

// What is done for a volume that has lost its path, or late, hits no other volume's record,
// and gives it none.
func TestNothingIsDoneToTheRecordOfAnother(t *testing.T) {
	for name, act := range map[string]func(l *Ledger, p volpath.Path, r Record) error{
		"activate": func(l *Ledger, p volpath.Path, r Record) error { return l.Activate(p, r, nil) },
		"retain":   func(l *Ledger, p volpath.Path, r Record) error { return l.Retain(p, r, nil) },
		"update":   func(l *Ledger, p volpath.Path, r Record) error { return l.Update(p, r) },
		"ours":     func(l *Ledger, p volpath.Path, r Record) error { return l.Ours(p, r) },
		"remove":   func(l *Ledger, p volpath.Path, r Record) error { return errors.Join(l.Remove(p, r), ErrLost) },
		"discard":  func(l *Ledger, p volpath.Path, r Record) error { return errors.Join(l.Discard(p, r, "x-1"), ErrLost) },
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := open(t)
			p := pathOf(t, "team/data")
			for _, lost := range []Record{of("ns/data", "pvc-1"), otherCluster(of("ns/data", "pvc-2"))} {
				if err := act(l, p, lost); !errors.Is(err, ErrLost) {
					t.Errorf("a path without a record: %v", err)
				}
				if names := recordsAt(t, dir, p); names != nil {
					t.Errorf("it has the record %q", names)
				}
			}
			owner, err := l.Take(p, of("ns/data", "pvc-2"), false)
			must(t, err)
			must(t, l.Activate(p, owner, nil))
			before := content(t, dir, p)
			for _, lost := range []Record{of("ns/data", "pvc-1"), otherCluster(of("ns/data", "pvc-2"))} {
				if err := act(l, p, lost); !errors.Is(err, ErrLost) {
					t.Errorf("the path of another: %v", err)
				}
				if after := content(t, dir, p); after != before {
					t.Errorf("the record of another became\n%s", after)
				}
			}
		})
	}
}

func TestDiscardMovesTheRecordIntoTheTrash(t *testing.T) {
	l, dir := open(t)
	p, own := pathOf(t, "team/data"), volpath.Trash("pvc-1", "c1", 1)
	r, err := l.Take(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	must(t, os.MkdirAll(dir+"/.claimdir/trash/"+own+"/volume", 0o700))
	must(t, l.Discard(p, r, own))
	must(t, l.Discard(p, r, own)) // a repeat
	stands(t, l, "team/data", "", "")
	if names := recordsAt(t, dir, p); names != nil {
		t.Errorf("%q is left", names)
	}
	if got, found, err := l.Discarded(own); err != nil || !found || got.PV != "pvc-1" || got.Path != "team/data" {
		t.Errorf("%+v, %v", got, found)
	}
	if names, err := l.ListTrash(); err != nil || !slices.Equal(names, []string{own}) {
		t.Error(names, err)
	}
	must(t, os.Remove(dir+"/.claimdir/trash/"+own+"/volume"))
	must(t, l.RemoveDiscarded(own))
	must(t, l.RemoveDiscarded(own)) // a repeat
	if names, err := l.ListTrash(); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
	if _, found, err := l.Discarded(own); err != nil || found {
		t.Error("its record is still there")
	}
	// What was set aside went meanwhile: the record goes all the same.
	r, err = l.Take(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	must(t, l.Discard(p, r, volpath.Trash("pvc-1", "c1", 2)))
	stands(t, l, "team/data", "", "")
}

// An older copy of the records, put beside them, is shown, and hides nobody's own.
func TestRecordsOfTwoOwnersAreAllShown(t *testing.T) {
	l, dir := open(t)
	p := pathOf(t, "data")
	one, err := l.Take(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	two := of("ns/other", "pvc-2")
	two.Path = "data"
	text, err := encode(two)
	must(t, err)
	writeRecord(t, dir, p, two, string(text))
	all, err := l.LookupAll(p)
	if err != nil || len(all) != 2 || all[0].PV != "pvc-1" || all[1].PV != "pvc-2" {
		t.Errorf("%+v, %v", all, err)
	}
	for _, pv := range []string{"pvc-1", "pvc-2"} {
		if r, found, err := l.Own(p, pv, "c1"); err != nil || !found || r.PV != pv {
			t.Error(r, found, err)
		}
		if _, found, err := l.Own(p, pv, "c2"); err != nil || found {
			t.Errorf("another cluster owns it: %v", err)
		}
	}
	must(t, l.Remove(p, one))
	stands(t, l, "data", "pvc-2", Creating)
}
