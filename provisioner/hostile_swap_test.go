package provisioner

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/refusal"
)

// swapped is the volume beside whose provision and release something is
// exchanged. Its last element is one that all directories have to which the
// links lead.
const swapped = "team/volumes"

func TestHostileALinkSwappedInBesideAnOperationLeadsNowhereElse(t *testing.T) {
	for place, name := range map[string]string{"the leaf": swapped, "a parent": "team", "inside the volume": swapped + "/tree"} {
		for _, policy := range []string{"delete", "archive", "retain"} {
			t.Run(place+" "+policy, func(t *testing.T) {
				s := newSite(t)
				own := []string{"team", "stock", "archived-ns-data-" + andMore}
				before := s.outside(t, own...)
				stop, swapper := make(chan struct{}), sync.WaitGroup{}
				swapper.Go(func() { s.swap(t, name, stop) })
				s.race(t, policy, name == swapped+"/tree")
				close(stop)
				swapper.Wait()
				before.same(t, s.outside(t, own...))
			})
		}
	}
}

// race provisions and releases for a second, and on until operations were seen
// to end and, where a link can make them, to be refused.
func (s *site) race(t *testing.T, policy string, inside bool) {
	t.Helper()
	start, limit, patience := time.Now(), time.Duration(times(1000, 500))*time.Millisecond, time.Duration(times(20, 90))*time.Second
	made, released, refusals := 0, 0, 0
	var last error
	count := func(err error) bool {
		var refusing *refusal.Refusal
		if err != nil && !errors.As(err, &refusing) {
			t.Errorf("no refusal: %v", err)
		}
		if err != nil {
			refusals, last = refusals+1, err
		}
		return err == nil
	}
	for n := 0; time.Since(start) < limit || released == 0 || refusals == 0 && !inside; n++ {
		if time.Since(start) > patience {
			t.Fatalf("%d volumes, %d releases and %d refusals in %v prove nothing; the last: %v", made, released, refusals, patience, last)
		}
		// The one that adopts also takes what the swapper puts back.
		class := at(swapped, "onDelete", policy, "mode", "0751", "onExisting", []string{"refuse", "adopt"}[n%2])
		pv, _, err := s.Provision(t.Context(), options("ns/data", fmt.Sprint("pvc-", n), class))
		if !count(err) {
			continue
		}
		made++
		pv.CreationTimestamp = metav1.Now()
		for began := time.Now(); !count(s.Delete(t.Context(), pv)); {
			if time.Since(began) > time.Second { // the swapper has left a link for good; an administrator removes it
				_, _ = syscall.Unlink(s.Dir+"/"+swapped), syscall.Unlink(s.Dir+"/team")
			}
			if time.Since(start) > patience {
				t.Fatalf("%d volumes, %d releases and %d refusals in %v prove nothing; the last: %v", made, released, refusals, patience, last)
			}
		}
		released++
	}
	t.Logf("%d volumes, %d releases, %d refusals", made, released, refusals)
}

// swap exchanges what is at name on the share for links, and back, until stop.
// Operations beside it make, move and remove things there too, so errors mean
// nothing. It works by rename, with one exclusive exchange where there is such
// a thing, and fills the directory while it lies aside: it must not itself
// write through its links.
func (s *site) swap(t *testing.T, name string, stop <-chan struct{}) {
	t.Helper()
	at, aside, link := s.Dir+"/"+name, s.Dir+"/stock/aside", s.Dir+"/stock/link"
	_ = os.Mkdir(s.Dir+"/stock", 0o755)
	up := strings.Repeat("../", strings.Count(name, "/"))
	targets := []string{
		s.top + "/" + fullCanary, s.top + "/" + emptyCanary, s.top + "/" + bareCanary, up + "../" + fullCanary,
		s.Dir + "/rival", up + "rival", up + "rival/volumes", up + "stranger", s.Dir + "/.claimdir", up + ".claimdir", up + ".claimdir/records",
		"..", "../..", s.top, s.Dir, ".", "nowhere",
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		start := time.Now()
		target := targets[i%len(targets)]
		_ = os.RemoveAll(link)
		_ = os.Symlink(target, link)
		for range times(100, 2) { // there and back
			_ = unix.Renameat2(unix.AT_FDCWD, at, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
		}
		s.swapByHand(at, aside, target, i%2 == 0)
		// The directory stays as long: where every step goes to a server no
		// operation would ever get through otherwise.
		time.Sleep(time.Since(start))
	}
}

func (s *site) swapByHand(at, aside, target string, fill bool) {
	_ = os.RemoveAll(aside) // what could not come back, be it a link
	_ = os.Rename(at, aside)
	if info, err := os.Lstat(aside); fill && (err != nil || info.IsDir()) {
		_ = os.MkdirAll(aside+"/deep/deeper", 0o755)
		_ = os.WriteFile(aside+"/deep/file", nil, 0o600)
	}
	_ = os.Symlink(target, at)
	_ = syscall.Unlink(at) // never what is a directory
	_ = os.Rename(aside, at)
}
