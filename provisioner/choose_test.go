package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// named is a share among several. Its keeper looks at it in the time of synctest.
type named struct {
	*access.Keeper

	dir, export string
	free        uint64
	end         context.CancelFunc

	mu   sync.Mutex
	down error
	call share.Call
}

func (n *named) start(t *testing.T, name string) {
	t.Helper()
	if n.end != nil {
		n.end()
	}
	n.Keeper = access.New(access.Config{
		Mount:   share.Mount{Name: name, Dir: n.dir, Source: share.Source{Server: "nas", Path: n.export}},
		Mounted: func() error { n.mu.Lock(); defer n.mu.Unlock(); return n.down },
		Known:   func() ([]volpath.Path, bool) { return nil, true },
		NewID:   "share-" + n.export[1:], Timeout: time.Minute, Slots: 8, Changed: func() {},
		Call: func(name string, do func() error) error {
			n.mu.Lock()
			call := n.call
			n.mu.Unlock()
			if call == nil {
				return do()
			}
			return call(name, do)
		},
	})
	ctx, end := context.WithCancel(t.Context())
	n.end = end
	go n.Run(ctx)
	must(t, n.WaitReady(ctx))
}

// set lets the share be down, or up again with nil, and waits until its keeper knows.
func (n *named) set(down error) {
	n.mu.Lock()
	n.down = down
	n.mu.Unlock()
	time.Sleep(time.Minute)
}

func (n *named) hook(call share.Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.call = call
}

// store is the share as somebody sees it who only looks.
func (n *named) store(t *testing.T) ledger.Store {
	t.Helper()
	dirs, err := share.Open(n.dir)
	must(t, err)
	records, err := ledger.Open(dirs, n.ID())
	must(t, err)
	return ledger.Store{Dirs: dirs, Records: records}
}

var errDown = errors.New("it is down")

// several is a cluster with the shares fast and bulk, on one server.
type several struct {
	fast, bulk *named
	seen       *sharetest.Seen
	all        []*Provisioner
}

// withSeveral runs a test in a time of its own.
func withSeveral(t *testing.T, test func(t *testing.T, s *several)) {
	t.Helper()
	fast, bulk := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &several{fast: &named{dir: fast, export: "/fast", free: 50}, bulk: &named{dir: bulk, export: "/bulk", free: 50}, seen: sharetest.NewSeen()}
		s.restart(t, "fast", "bulk")
		test(t, s)
	})
}

// restart puts a new process in the place of the one there is, which has the shares mounted
// under these names.
func (s *several) restart(t *testing.T, fast, bulk string) {
	t.Helper()
	s.fast.start(t, fast)
	s.bulk.start(t, bulk)
	pool := New(steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: s.seen}), s.seen, s.fast.Keeper, s.bulk.Keeper)
	pool.room = func(on *access.Keeper) share.Room {
		for _, n := range []*named{s.fast, s.bulk} {
			if n.Keeper == on {
				return share.Room{Size: 100, Free: n.free}
			}
		}
		panic("whose room?")
	}
	s.all = pool.Provisioners()
	for _, p := range s.all {
		p.Start(t.Context())
	}
}

// claim is a claim of a class with that parameter share, made long after the
// start.
func (s *several) claim(name, shares string) controller.ProvisionOptions {
	o := options("ns/"+name, "pvc-"+name, map[string]string{})
	o.StorageClass.Name = "class-" + shares
	if shares != "" {
		o.StorageClass.Parameters["share"] = shares
	}
	s.seen.Classes[o.StorageClass.Name] = o.StorageClass
	o.PVC.Spec.StorageClassName = &o.StorageClass.Name
	o.PVC.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Hour))
	return o
}

// provision lets whoever is responsible make the volume, and returns the share.
func (s *several) provision(t *testing.T, o controller.ProvisionOptions) (on string, err error) {
	t.Helper()
	var responsible []*Provisioner
	for _, p := range s.all {
		if p.ShouldProvision(t.Context(), o.PVC) {
			responsible = append(responsible, p)
		}
	}
	if len(responsible) != 1 {
		t.Fatalf("%d Provisioners are responsible for claim %s", len(responsible), o.PVC.Name)
	}
	pv, _, err := responsible[0].Provision(t.Context(), o)
	if err != nil {
		return "", err
	}
	s.seen.PVs = append(s.seen.PVs, pv)
	return s.shareOf(t, pv), nil
}

// shareOf is the share of a volume, which exactly one Provisioner owns.
func (s *several) shareOf(t *testing.T, pv *v1.PersistentVolume) string {
	t.Helper()
	var owners []string
	for _, p := range s.all {
		if p.Owns(pv) != p.ShouldDelete(t.Context(), pv) {
			t.Error("it owns what it should not delete")
		}
		if p.Owns(pv) {
			name := "nobody's"
			if p.share != nil {
				name = p.share.Name()
			}
			owners = append(owners, name)
		}
	}
	if len(owners) != 1 {
		t.Fatalf("%s is owned by %q", pv.Name, owners)
	}
	return owners[0]
}

func TestAClassPicksTheShare(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		for share, want := range map[string]string{"fast": "fast", "bulk": "bulk"} {
			if on, err := s.provision(t, s.claim("on-"+share, share)); err != nil || on != want {
				t.Errorf("%s: %s, %v", share, on, err)
			}
		}
		_, err := s.provision(t, s.claim("none", ""))
		refused(t, err, refusal.ReasonClass, true, `"share" is missing`, "allowed are fast, bulk")
		_, err = s.provision(t, s.claim("typo", "fats"))
		refused(t, err, refusal.ReasonClass, true, `no share "fats"; allowed are fast, bulk`)
		_, err = s.provision(t, s.claim("half", "fast,slow"))
		refused(t, err, refusal.ReasonClass, true, `no share "slow"`)
		_, err = s.provision(t, s.claim("space", "fast, bulk"))
		must(t, err)
	})
}

func TestTheOnlyShareHasNoName(t *testing.T) {
	w := newWorld(t)
	o := options("ns/data", "pvc-1", params("share", "fast"))
	w.Seen.Classes["nfs"] = o.StorageClass
	if !w.ShouldProvision(t.Context(), o.PVC) {
		t.Error("the only Provisioner is responsible for all")
	}
	_, _, err := w.Provision(t.Context(), o)
	refused(t, err, refusal.ReasonClass, true, `no share "fast"`, "only one share is mounted, and it has no name")
	w.Holds(t)
}

func TestOfSeveralSharesTheRoomiestIsTaken(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		s.fast.free, s.bulk.free = 10, 20
		if on, err := s.provision(t, s.claim("a", "fast,bulk")); err != nil || on != "bulk" {
			t.Error(on, err)
		}
		s.fast.free = 30
		if on, err := s.provision(t, s.claim("b", "fast,bulk")); err != nil || on != "fast" {
			t.Error(on, err)
		}
		s.fast.set(errDown)
		if on, err := s.provision(t, s.claim("c", "fast,bulk")); err != nil || on != "bulk" {
			t.Error("one does not answer:", on, err)
		}
		s.bulk.set(errDown)
		_, err := s.provision(t, s.claim("d", "fast,bulk"))
		refused(t, err, refusal.ReasonShare, false, "it is down")
		_, err = s.provision(t, s.claim("e", "fast"))
		refused(t, err, refusal.ReasonShare, false, "it is down")
	})
}

// A volume that was begun on a share is completed there, however little room that
// has by now: elsewhere it would be made a second time.
func TestAVolumeIsCompletedWhereItWasBegun(t *testing.T) {
	for name, restart := range map[string]bool{"by the same process": false, "by the next one": true} {
		t.Run(name, func(t *testing.T) {
			withSeveral(t, func(t *testing.T, s *several) {
				o := s.claim("a", "fast,bulk")
				if restart {
					o.PVC.CreationTimestamp = metav1.Now()
				}
				s.fast.free = 90
				cut := false
				s.fast.hook(func(name string, do func() error) error {
					if cut = cut || name == "make ns-a-pvc-a"; cut {
						return sharetest.ErrCut
					}
					return do()
				})
				if _, err := s.provision(t, o); err == nil || !cut {
					t.Fatal("it was not cut off")
				}
				s.fast.hook(nil)
				s.fast.free = 1
				if restart {
					s.restart(t, "fast", "bulk")
				}
				s.fast.set(errDown)
				_, err := s.provision(t, o)
				refused(t, err, refusal.ReasonShare, false, "it is down")
				s.fast.set(nil)
				if on, err := s.provision(t, o); err != nil || on != "fast" {
					t.Error(on, err)
				}
				for _, other := range []*named{s.fast, s.bulk} {
					for r, err := range other.store(t).Records.Records() {
						if err != nil || r.State != ledger.Active {
							t.Errorf("left on %s: %+v, %v", other.Name(), r, err)
						}
					}
				}
			})
		})
	}
}

func TestAKeptDirectoryIsTakenUpWhereItIs(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		s.fast.free = 90
		first := s.claim("a", "fast,bulk")
		first.StorageClass.Parameters["pathPattern"], first.StorageClass.Parameters["onDelete"] = "data", "retain"
		if on, err := s.provision(t, first); err != nil || on != "fast" {
			t.Fatal(on, err)
		}
		must(t, s.all[0].Delete(t.Context(), s.seen.PVs[0]))
		s.fast.free, s.seen.PVs = 1, nil
		again := first
		again.PVName = "pvc-2"
		s.fast.set(errDown)
		_, err := s.provision(t, again) // it would get an empty one on the other
		refused(t, err, refusal.ReasonShare, false, "it is down")
		s.fast.set(nil)
		if on, err := s.provision(t, again); err != nil || on != "fast" {
			t.Error(on, err)
		}
	})
}

// The server and the path that a volume names say where it is, not the name of a
// mount.
func TestAVolumeIsReleasedOnItsShareWhereverThatIsMounted(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		for _, share := range []string{"fast", "bulk"} {
			_, err := s.provision(t, s.claim(share, share))
			must(t, err)
		}
		s.restart(t, "bulk", "quick")
		for i, want := range []string{"bulk", "quick"} {
			pv := s.seen.PVs[i]
			if on := s.shareOf(t, pv); on != want {
				t.Errorf("%s is on %s", pv.Name, on)
			}
		}
		stranger := s.seen.PVs[0].DeepCopy()
		stranger.Name, stranger.Spec.NFS.Path = "stranger", "/elsewhere/x"
		if on := s.shareOf(t, stranger); on != "nobody's" {
			t.Error(on)
		}
		err := s.all[2].Delete(t.Context(), stranger)
		refused(t, err, refusal.ReasonVolume, true, "spec.nfs nas:/elsewhere/x is on none of the shares that this claimdir serves (nas:/fast, nas:/bulk)")
		s.seen.PVs = slices.Clone(s.seen.PVs[:2])
		for i, on := range []*named{s.fast, s.bulk} {
			pv := s.seen.PVs[i]
			must(t, s.all[i].Delete(t.Context(), pv))
			p, err := volpath.Parse(pv.Annotations[volume.AnnotationPath])
			must(t, err)
			if present, err := on.store(t).Dirs.Exists(p); present || err != nil {
				t.Error(pv.Name, present, err)
			}
		}
	})
}

func TestWhatIsRememberedOfTriesIsBounded(t *testing.T) {
	var memory startedOn
	on, elsewhere := access.New(access.Config{}), access.New(access.Config{})
	old := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))}}
	young := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}}
	if !memory.perhaps(young, "pv", on) {
		t.Error("before it leads it knows nothing")
	}
	memory.reset()
	if !memory.perhaps(old, "pv", on) || memory.perhaps(young, "pv", on) {
		t.Error("an earlier process may have begun the old one, and not the young one")
	}
	for i := range startedMost + 1 {
		memory.begin(fmt.Sprint("pv-", i), on)
	}
	if n := len(memory.shares); n > startedMost {
		t.Errorf("%d are remembered", n)
	}
	if !memory.perhaps(young, fmt.Sprint("pv-", startedMost), on) || memory.perhaps(old, fmt.Sprint("pv-", startedMost), elsewhere) {
		t.Error("what was begun last is known")
	}
	memory.succeeded(fmt.Sprint("pv-", startedMost))
	if memory.perhaps(young, fmt.Sprint("pv-", startedMost), on) {
		t.Error("what succeeded is not begun")
	}
}
