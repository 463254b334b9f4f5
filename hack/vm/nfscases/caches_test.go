//go:build vm

package nfscases

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"

	"claimdir/provisioner/ledger"
)

// What another node makes is seen at once where nothing was, although this
// client has just looked: that is what lookupcache=positive in the manifests
// is for.
func TestWhatAnotherClientMakesIsSeenAtOnce(t *testing.T) {
	e := export(t, "no_root_squash")
	here, there := open(t, e.mount()), e.mountOther()
	for _, name := range []string{"one", "two", "three"} {
		p := pathOf(t, "team-"+name)
		if present, err := here.Exists(p); present || err != nil {
			t.Fatalf("exists: %v, %v", present, err)
		}
		must(t, os.Mkdir(there+"/team-"+name, 0o755))
		if present, err := here.Exists(p); !present || err != nil {
			t.Errorf("%s was made by another client: exists %v, %v", p, present, err)
		}
	}
}

// A directory that went behind this client's back may still be in its cache; to
// make it anew works all the same.
func TestWhatSomebodyElseRemovedIsMadeAnew(t *testing.T) {
	e := export(t, "no_root_squash")
	here := open(t, e.mount())
	p := pathOf(t, "team/data")
	for range 3 {
		create(t, here, p, 0o777)
		wantExists(t, e.onServer("team", "data"), true)
		must(t, os.RemoveAll(e.onServer("team")))
	}
	create(t, here, p, 0o777)
	wantExists(t, e.onServer("team", "data"), true)
}

// Two clusters ask for one path at the same moment, over and over: NFSv3 has no
// exclusive create that a retransmission cannot break, but link(2) is one.
func TestOneOfTwoClientsGetsAPath(t *testing.T) {
	e := export(t, "no_root_squash")
	var ledgers []*ledger.Ledger
	for _, dir := range []string{e.mount(), e.mountOther()} {
		l, err := ledger.Open(open(t, dir), "id")
		must(t, err)
		ledgers = append(ledgers, l)
	}
	for round := range 25 {
		p := pathOf(t, "data-"+string(rune('a'+round)))
		errs := make([]error, len(ledgers))
		var both sync.WaitGroup
		for i, l := range ledgers {
			both.Go(func() {
				_, errs[i] = l.Take(p, ledger.Record{
					State: ledger.Creating, PV: "pvc-1", Cluster: "cluster-" + string(rune('a'+i)),
					Claim: ledger.Claim{Namespace: "ns", Name: "data"}, Policy: "delete",
				}, false)
			})
		}
		both.Wait()
		var taken *ledger.TakenError
		if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs...), &taken) {
			t.Fatalf("round %d: %v", round, errs)
		}
	}
}

// The kernel's own exclusive create holds between two clients as well.
func TestExclusiveCreate(t *testing.T) {
	e := export(t, "no_root_squash")
	dirs := []string{e.mount(), e.mountOther()}
	for round := range 25 {
		errs := make([]error, len(dirs))
		var both sync.WaitGroup
		for i, dir := range dirs {
			both.Go(func() {
				file, err := os.OpenFile(dir+"/f-"+string(rune('a'+round)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
				if errs[i] = err; err == nil {
					errs[i] = file.Close()
				}
			})
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), fs.ErrExist) {
			t.Fatalf("round %d: %v", round, errs)
		}
	}
}
