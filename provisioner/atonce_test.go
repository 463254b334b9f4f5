package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

// rounds is how often a race is run.
func rounds(most int) int {
	if testing.Short() {
		most /= 20
	}
	return times(most, most/20)
}

// atOnce runs all of them at the same time.
func atOnce(all ...func()) {
	var ready, ended sync.WaitGroup
	ready.Add(len(all))
	for _, do := range all {
		ended.Go(func() {
			ready.Done()
			ready.Wait()
			do()
		})
	}
	ended.Wait()
}

// wants is one of two claims at once, and what it got.
type wants struct {
	of    *world
	claim string
	pv    string
	class map[string]string
	asks  string

	got *v1.PersistentVolume
	err error
}

func (x *wants) provision(t *testing.T) func() {
	return func() {
		o := options(x.claim, x.pv, x.class)
		if x.asks != "" {
			o = asks(o, x.asks)
		}
		x.got, _, x.err = x.of.Provision(t.Context(), o)
	}
}

// one returns the one of two that got it, and fails the test if both or none did.
func one(t *testing.T, a, b *wants) *wants {
	t.Helper()
	if (a.err == nil) == (b.err == nil) {
		t.Fatalf("%s: %v; %s: %v", a.pv, a.err, b.pv, b.err)
	}
	if a.err == nil {
		return a
	}
	return b
}

// A retained directory that two clusters want at the same moment is one's alone.
func TestOfTwoClustersOneGetsARetainedDirectory(t *testing.T) {
	here := newWorld(t)
	there := here.beside(t, "cluster-2")
	class := at("team/data", "onDelete", "retain", "onExisting", "adopt")
	pv := here.provision(t, options("ns/data", "pvc-0", class))
	here.Tree(t, "team/data/file")
	must(t, here.Delete(t.Context(), pv))
	for n := range rounds(2000) {
		a := &wants{of: here, claim: "ns/data", pv: fmt.Sprint("pvc-a", n), class: class}
		b := &wants{of: there, claim: "ns/data", pv: fmt.Sprint("pvc-b", n), class: class}
		atOnce(a.provision(t), b.provision(t))
		winner := one(t, a, b)
		for _, loser := range []*wants{a, b} { // an error of the server is retried, as the library does; what is staged goes then
			if _, taken := errors.AsType[*ledger.TakenError](loser.err); loser.err != nil && !taken {
				t.Logf("%s: %v", loser.pv, loser.err)
				if loser.provision(t)(); loser.err == nil {
					t.Errorf("%s got it, too", loser.pv)
				}
			}
		}
		here.Holds(t, "team", "team/data", "team/data/file", "team/data = "+winner.pv+" active")
		if t.Failed() {
			t.Fatalf("round %d", n)
		}
		must(t, winner.of.Delete(t.Context(), winner.got))
	}
}

// An archive that two claims want at the same moment is one's alone, and the other's path
// stays free.
func TestOfTwoClaimsOneGetsAnArchive(t *testing.T) {
	for name, cluster := range map[string]string{"of one process": "", "of two processes": sharetest.Cluster, "of two clusters": "cluster-2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here := newWorld(t)
			there := here
			if cluster != "" {
				there = here.beside(t, cluster)
			}
			archive := here.archived(t, "ns/data", "pvc-0")
			last := "pvc-0"
			for n := range rounds(500) {
				a := &wants{of: here, claim: "ns/one", pv: fmt.Sprint("pvc-a", n), class: at("a", "onExisting", "adopt"), asks: last}
				b := &wants{of: there, claim: "ns/two", pv: fmt.Sprint("pvc-b", n), class: at("b", "onExisting", "adopt"), asks: last}
				atOnce(a.provision(t), b.provision(t))
				if a.err != nil && b.err != nil { // each saw the other's, and gave it back
					here.Holds(t, archive, archive+"/file-of-pvc-0", archive+" = "+last+" archived")
					continue
				}
				winner := one(t, a, b)
				path := winner.pv[len("pvc-"):][:1]
				here.Holds(t, path, path+"/file-of-pvc-0", path+" = "+winner.pv+" active")
				if t.Failed() {
					t.Fatalf("round %d", n)
				}
				must(t, winner.of.Delete(t.Context(), winner.got))
				last = winner.pv
				archive = "archived-" + strings.ReplaceAll(winner.claim, "/", "-") + "-" + last
			}
		})
	}
}

// An archive that expires at the moment at which a claim wants it is in the trash or the
// claim's, whole.
func TestAnArchiveExpiresOrIsRestored(t *testing.T) {
	w := newWorld(t)
	other := w.beside(t, sharetest.Cluster)
	restored, expired := 0, 0
	archive, last := "", ""
	for n := range rounds(500) {
		if archive == "" {
			last = fmt.Sprint("pvc-", n)
			archive = w.archived(t, "ns/data", last)
		}
		x := &wants{of: other, claim: "ns/data", pv: fmt.Sprint("pvc-n", n), class: at("data"), asks: last}
		path := sharetest.PathOf(t, archive)
		var expiry error
		atOnce(x.provision(t), func() {
			expiry = w.Steps.On(t.Context(), w.Keeper, path, "expire", func(ctx context.Context, op steps.Op) error {
				return op.Expire(ctx, func(context.Context, ledger.Record) bool { return true })
			})
		})
		if expiry != nil {
			t.Logf("round %d: %v", n, expiry)
		}
		inTrash, err := filepath.Glob(w.Dir + "/.claimdir/trash/*/volume/file-of-*")
		must(t, err)
		atPath, err := filepath.Glob(w.Dir + "/data/file-of-*")
		must(t, err)
		_, err = os.Stat(w.Dir + "/" + archive)
		stays := err == nil
		switch {
		case x.err == nil && len(atPath) == 1 && len(inTrash) == 0 && !stays:
			restored++
			must(t, other.Delete(t.Context(), x.got))
			last = x.pv
			archive = "archived-ns-data-" + last
		case x.err != nil && len(atPath) == 0 && len(inTrash) == 1 && !stays:
			expired++
			w.EmptyTrash(t)
			w.Holds(t)
			archive = ""
		case x.err != nil && len(atPath) == 0 && len(inTrash) == 0 && stays: // neither: both see it the next time
		default:
			t.Fatalf("round %d: the claim: %v; at its path %q, in the trash %q, the archive stays: %v", n, x.err, atPath, inTrash, stays)
		}
		if t.Failed() {
			t.Fatalf("round %d", n)
		}
	}
	t.Logf("restored %d times, expired %d times", restored, expired)
	if restored == 0 && expired == 0 {
		t.Error("neither ever happened")
	}
}
