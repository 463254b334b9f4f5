package provisioner

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

// things are what a tenant who may write to a directory can put where claimdir
// makes or looks for one. Links are relative to the root of the share.
func (s *site) things() map[string]func(name string) error {
	link := func(target string) func(string) error {
		return func(name string) error { return os.Symlink(target, name) }
	}
	return map[string]func(string) error{
		"a file":                  func(name string) error { return os.WriteFile(name, []byte("x"), 0o600) },
		"a pipe":                  func(name string) error { return syscall.Mkfifo(name, 0o666) },
		"a socket":                func(name string) error { return unix.Mknod(name, unix.S_IFSOCK|0o666, 0) },
		"a link out":              link(s.top + "/" + fullCanary),
		"a link out, relative":    link("../" + fullCanary),
		"a link to what is empty": link(s.top + "/" + emptyCanary + "/volumes"),
		"a link to another":       link("rival"),
		"a link to its volume":    link("rival/volumes"),
		"a link to the records":   link(".claimdir"),
		"a link up":               link(".."),
		"a link to the share":     link("."),
		"a link to nothing":       link("nowhere"),
		"a link to itself":        link("team"),
		"a second name of a file": func(name string) error { return os.Link(s.Dir+"/rival/volumes/file", name) },
	}
}

// each runs a case for each thing on a new site.
func each(t *testing.T, run func(t *testing.T, s *site, place func(name string) error)) {
	t.Helper()
	for thing := range (&site{world: &world{World: &sharetest.World{}}}).things() {
		t.Run(thing, func(t *testing.T) {
			s := newSite(t)
			run(t, s, s.things()[thing])
		})
	}
}

func TestHostileNothingIsMadeBelowWhatIsNoDirectory(t *testing.T) {
	each(t, func(t *testing.T, s *site, place func(string) error) {
		must(t, place(s.Dir+"/team"))
		before := s.outside(t)
		for _, path := range []string{"team", "team/volumes", "team/new", "team/volumes/tree", "team/new/deep"} {
			for _, existing := range []string{"refuse", "adopt"} {
				_, _, err := s.Provision(t.Context(), options("ns/data", "pvc-1", at(path, "onExisting", existing)))
				refused(t, err, refusal.ReasonStorage, false, "symbolic links are not followed")
			}
		}
		before.same(t, s.outside(t))
	})
}

func TestHostileNothingIsReleasedBelowWhatIsNoDirectory(t *testing.T) {
	for i, policy := range []string{"delete", "archive", "retain"} {
		for j, path := range []string{"team/volumes", "team/volumes/tree", "team"} {
			if brief() && i != j {
				continue
			}
			const swapped = "team"
			t.Run(policy+" "+path, func(t *testing.T) {
				each(t, func(t *testing.T, s *site, place func(string) error) {
					pv := s.provision(t, options("ns/data", "pvc-1", at(path, "onDelete", policy)))
					s.Tree(t, path+"/file")
					must(t, os.Rename(s.Dir+"/"+swapped, s.Dir+"/aside"))
					must(t, place(s.Dir+"/"+swapped))
					before := s.outside(t)
					for range 2 {
						refused(t, s.Delete(t.Context(), pv), refusal.ReasonStorage, false, "symbolic links are not followed")
					}
					before.same(t, s.outside(t))
					must(t, os.Remove(s.Dir+"/"+swapped))
					must(t, os.Rename(s.Dir+"/aside", s.Dir+"/"+swapped))
					must(t, s.Delete(t.Context(), pv)) // a retry finds what came back
				})
			})
		}
	}
}

// An archive's name can be foretold. Only one who may write to the root of the
// share can take it.
func TestHostileAnArchiveGoesNeitherOverNorThroughWhatIsInItsPlace(t *testing.T) {
	const name = "archived-ns-data-pvc-1"
	each(t, func(t *testing.T, s *site, place func(string) error) {
		pv := s.provision(t, options("ns/data", "pvc-1", at("team/data")))
		s.Tree(t, "team/data/file")
		must(t, place(s.Dir+"/"+name))
		before := s.outside(t)
		for range 2 {
			refused(t, s.Delete(t.Context(), pv), refusal.ReasonStorage, false, name, "symbolic links are not followed")
		}
		before.same(t, s.outside(t))
		must(t, os.Remove(s.Dir+"/"+name))
		must(t, s.Delete(t.Context(), pv))
	})
	for what, make := range map[string]func(name string) error{
		"an empty directory": func(name string) error { return os.Mkdir(name, 0o710) },
		"a closed directory": func(name string) error { return os.Mkdir(name, 0) },
		"a full directory": func(name string) error {
			return errors.Join(os.Mkdir(name, 0o755), os.WriteFile(name+"/file", nil, 0o600))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t)
			pv := s.provision(t, options("ns/data", "pvc-1", at("team/data")))
			s.Tree(t, "team/data/file")
			must(t, make(s.Dir+"/"+name))
			before, inside := s.outside(t, "team/data", name+"-2"), s.inside(t, "team/data")
			must(t, s.Delete(t.Context(), pv))
			before.same(t, s.outside(t, "team/data", name+"-2"))
			inside.same(t, s.inside(t, name+"-2"))
		})
	}
}

func TestHostileWhatComesAndGoesInAnArchivesPlaceIsNeitherReplacedNorFollowed(t *testing.T) {
	s := newSite(t)
	var release, stopped atomic.Int64
	var tenant sync.WaitGroup
	tenant.Go(func() {
		for i := 0; stopped.Load() == 0; i++ {
			name := fmt.Sprintf("%s/archived-ns-data-pvc-%d", s.Dir, release.Load())
			if os.Symlink([]string{s.top + "/" + fullCanary, "rival", ".claimdir", "stranger"}[i%4], name) == nil {
				_ = syscall.Unlink(name)
			}
			if os.Mkdir(name, 0o755) == nil {
				_ = syscall.Rmdir(name)
			}
		}
	})
	before, refusals := s.outside(t, "team", "archived-"+andMore), 0
	for n := range times(200, 20) {
		pv := s.provision(t, options("ns/data", fmt.Sprint("pvc-", n), at("team/data")))
		s.Tree(t, "team/data/file")
		release.Store(int64(n))
		for err := s.Delete(t.Context(), pv); err != nil; err = s.Delete(t.Context(), pv) {
			refused(t, err, refusal.ReasonStorage, false, "archived-ns-data")
			refusals++
		}
	}
	stopped.Store(1)
	tenant.Wait()
	before.same(t, s.outside(t, "team", "archived-"+andMore))
	archives := 0
	for name := range s.outside(t) {
		if strings.HasPrefix(name, "share/archived-") && strings.HasSuffix(name, "/file") {
			archives++
		}
	}
	if archives != times(200, 20) {
		t.Errorf("%d archives hold their file", archives)
	}
	t.Logf("%d archives, %d refusals", archives, refusals)
}
