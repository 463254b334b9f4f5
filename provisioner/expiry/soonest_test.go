package expiry

import (
	"fmt"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
)

// found is what Found says, as "path held" for each, with the counts.
func (w *world) listed(t *testing.T) (paths []string, ending, forever int) {
	t.Helper()
	found, looked := w.Found()
	if !looked || time.Since(found.At) > time.Minute {
		t.Errorf("looked %v at %v", looked, found.At)
	}
	for _, a := range found.Soonest {
		path := a.Path
		if a.Held {
			path += " held"
		}
		if a.Namespace != "ns" || a.Claim != "data" || a.Until.IsZero() {
			t.Errorf("%+v", a)
		}
		paths = append(paths, path)
	}
	return paths, found.Ending, found.Forever
}

func (w *world) wantListed(t *testing.T, ending, forever int, paths ...string) {
	t.Helper()
	got, gotEnding, gotForever := w.listed(t)
	if fmt.Sprint(got, gotEnding, gotForever) != fmt.Sprint(paths, ending, forever) {
		t.Errorf("got %q of %d and %d, want %q of %d and %d", got, gotEnding, gotForever, paths, ending, forever)
	}
}

func TestWhatEndsSoonestIsKnown(t *testing.T) {
	w := newWorld(t)
	if _, looked := w.Found(); looked {
		t.Error("it knows before it looks")
	}
	later, soon := w.ending(t, "pvc-1", -2*time.Hour), w.ending(t, "pvc-2", -time.Hour)
	w.ending(t, "pvc-3", 0)
	w.ending(t, "pvc-4", -time.Minute, func(r *ledger.Record) { r.Cluster = "another" })
	held := w.ending(t, "pvc-5", 48*time.Hour) // found late
	over := w.ending(t, "pvc-6", time.Second)
	must(t, w.expire(t.Context()))
	w.wantListed(t, 4, 2, held+" held", over, soon, later)
	must(t, w.expire(t.Context())) // reads nothing anew
	w.wantListed(t, 3, 2, held+" held", soon, later)
	sooner := w.ending(t, "pvc-7", -time.Minute)
	must(t, w.expire(t.Context()))
	w.wantListed(t, 4, 2, held+" held", sooner, soon, later)
	w.since = time.Time{}
	must(t, w.expire(t.Context())) // reads all
	w.wantListed(t, 4, 2, held+" held", sooner, soon, later)
}

// However many there are, few are kept, and these are the first.
func TestFewOfManyArchivesAreKept(t *testing.T) {
	e := &Expirer{now: time.Now}
	begin := time.Now()
	end := func(i int) *time.Time { return new(begin.Add(time.Duration(i/100) * time.Minute)) } // a hundred at a time
	const many = 20_000
	c, file := e.newCheck(true), func(i int) string { return fmt.Sprintf("%06d", i) }
	for i := range many {
		n := i * 7919 % many
		c.read(file(n), ledger.Record{Path: file(n), Until: end(n)}, true)
		if len(c.archives) > 4*Shown {
			t.Fatalf("%d are kept", len(c.archives))
		}
	}
	e.end(c)
	want := func(from int, total int) {
		t.Helper()
		found, _ := e.Found()
		if len(found.Soonest) != Shown || found.Ending != total {
			t.Fatalf("%d of %d", len(found.Soonest), found.Ending)
		}
		for i, a := range found.Soonest {
			if a.Path != file(from+i) {
				t.Fatalf("number %d is %s, want %s", i, a.Path, file(from+i))
			}
		}
	}
	want(0, many)
	// The first forty go, and one that is new ends after those that are known.
	c = e.newCheck(false)
	for i := 40; i < many; i++ {
		c.list(file(i), end(i))
	}
	c.read(file(many), ledger.Record{Path: file(many), Until: end(5000)}, true)
	e.end(c)
	want(40, many-40+1)
}
