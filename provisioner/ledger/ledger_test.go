package ledger

import (
	"errors"
	"os"
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
	l, err := Open(s, "id-of-"+t.Name())
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
func TestClaimOfAPathWithARecord(t *testing.T) {
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
			first, err := l.Claim(p, of("ns/data", pv1), false)
			must(t, err)
			first.State = tt.state
			must(t, l.replace(p, first))
			before := content(t, dir, p)

			got, err := l.Claim(p, tt.asking, false)
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
	left.State = Retained
	must(t, l.replace(p, left))
	for _, asking := range []Record{otherCluster(of("ns/other", "pvc-2")), otherCluster(of("other/data", "pvc-2"))} {
		if _, err := l.Claim(p, asking, true); err == nil {
			t.Errorf("%s got it", asking.Claim)
		}
	}
	got, err := l.Claim(p, otherCluster(of("ns/data", "pvc-2")), true)
	if err != nil || got.State != Active || !got.Adopted || got.Cluster != otherCluster(left).Cluster {
		t.Errorf("%+v, %v", got, err)
	}
	stands(t, l, "team/data", "pvc-2", Active)
}

func TestTakeOverKeepsThatADirectoryWasThereBefore(t *testing.T) {
	l, _ := open(t)
	r := of("ns/data", "pvc-1")
	r.Adopted = true
	_, err := l.Claim(pathOf(t, "data"), r, false)
	must(t, err)
	if got, err := l.Claim(pathOf(t, "data"), of("ns/data", "pvc-2"), false); err != nil || !got.Adopted || got.State != Creating {
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
				owner, err := l.Claim(pathOf(t, "a/b"), owner, false)
				must(t, err)
				owner.State = state
				must(t, l.replace(pathOf(t, "a/b"), owner))
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
				_, err = l.Claim(pathOf(t, tt.asked), asking, false)
				check("claim", err, tt.above)
			}
		})
	}
}

func TestOfManyClaimsOneGetsThePath(t *testing.T) {
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
			switch _, err := l.Claim(pathOf(t, "data"), of("ns/"+pv, pv), false); {
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
		"same namespace":                   {"ns/secret-claim", of("ns/mine", "pvc-2"), []string{"pvc-1", "ns/secret-claim", "(creating)"}, nil},
		"foreign namespace":                {"ns/secret-claim", of("other/mine", "pvc-2"), []string{"pvc-1", "another namespace"}, []string{"claim ns/"}},
		"foreign cluster":                  {"ns/secret-claim", otherCluster(of("ns/mine", "pvc-2")), []string{"pvc-1", "cluster"}, []string{"claim ns/"}},
		"inside, same namespace":           {"ns/secret-claim/x", of("ns/mine", "pvc-2"), []string{"one inside the other", `"ns/secret-claim"`}, nil},
		"above one of a foreign namespace": {"ns", of("other/mine", "pvc-2"), []string{`"ns" would lie above`, "pvc-1"}, []string{"secret-claim"}},
		"above one of the same namespace":  {"ns", of("ns/mine", "pvc-2"), []string{"one inside the other", "ns/secret-claim"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := open(t)
			_, err := l.Claim(pathOf(t, "ns/secret-claim"), of("ns/secret-claim", "pvc-1"), false)
			must(t, err)
			_, err = l.Claim(pathOf(t, tt.asked), tt.asking, false)
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
	r, err := l.Claim(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	must(t, l.Activate(p, r))
	must(t, l.Archive(archive, r))
	must(t, l.Archive(archive, r)) // a repeat
	a, found, err := l.Lookup(archive)
	if err != nil || !found || a.State != Archived || a.Origin != "team/data" || a.Released == nil || a.Claim != r.Claim || !a.Created.Equal(r.Created) {
		t.Errorf("%+v, %v, %v", a, found, err)
	}
	stands(t, l, "team/data", "pvc-1", Active)
	var taken *TakenError
	if err := l.Archive(archive, of("ns/data", "pvc-2")); !errors.As(err, &taken) {
		t.Errorf("another volume's archive: %v", err)
	}
	must(t, l.Forget(p))
	must(t, l.Forget(p)) // a repeat
	stands(t, l, "team/data", "", "")
}

func TestRetainSaysWhen(t *testing.T) {
	l, _ := open(t)
	p := pathOf(t, "data")
	r, err := l.Claim(p, of("ns/data", "pvc-1"), false)
	must(t, err)
	must(t, l.Retain(p, r))
	got, _, err := l.Lookup(p)
	if err != nil || got.State != Retained || got.Released == nil || got.Released.Before(got.Created) {
		t.Errorf("%+v, %v", got, err)
	}
}

func content(t *testing.T, dir string, p volpath.Path) string {
	t.Helper()
	data, err := os.ReadFile(dir + "/.claimdir/" + file(p))
	must(t, err)
	return string(data)
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

func TestForgetIf(t *testing.T) {
	l, dir := open(t)
	p, r := pathOf(t, "team/data"), of("ns/data", "pvc-1")
	forget := func(r Record, want bool) {
		t.Helper()
		if forgotten, err := l.ForgetIf(p, r); forgotten != want || err != nil {
			t.Errorf("%v, %v, want %v", forgotten, err, want)
		}
	}
	forget(r, true) // there is none
	r, err := l.Claim(p, r, false)
	must(t, err)
	must(t, l.Activate(p, r))
	forget(r, false) // it was Creating when r was read
	other := r
	other.State, other.PV = Active, "pvc-2"
	forget(other, false)
	must(t, os.WriteFile(dir+"/.claimdir/"+file(p), []byte("{"), 0o600))
	forget(r, false)
	if content(t, dir, p) != "{" {
		t.Error("a damaged record was touched")
	}
	must(t, l.Activate(p, r))
	r.State = Active
	forget(r, true)
	if _, found, err := l.Lookup(p); found || err != nil {
		t.Error(found, err)
	}
}
