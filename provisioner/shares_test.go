package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// named is a share among several.
type named struct {
	direct
	name string
	free uint64
	down error
}

func (n *named) Name() string     { return n.name }
func (n *named) ID() string       { return n.name }
func (n *named) Ready() error     { return n.down }
func (n *named) Room() share.Room { return share.Room{Size: 100, Free: n.free} }

func (n *named) Do(ctx context.Context, name string, work Work) error {
	if n.down != nil {
		return n.down
	}
	return n.direct.Do(ctx, name, work)
}

var errDown = errors.New("it is down")

// several is a cluster with the shares fast and bulk, on one server.
type several struct {
	fast, bulk *named
	seen       *seen
	all        []*Provisioner
}

func newSeveral(t *testing.T) *several {
	t.Helper()
	s := &several{seen: &seen{classes: map[string]*storage.StorageClass{}}}
	for i, site := range []**named{&s.fast, &s.bulk} {
		dirs, err := share.Open(t.TempDir())
		must(t, err)
		records, err := ledger.Open(dirs, fmt.Sprint("share-", i))
		must(t, err)
		name := []string{"fast", "bulk"}[i]
		*site = &named{direct: direct{share.Source{Server: "nas", Path: "/" + name}, Files{dirs, records}}, name: name, free: 50}
	}
	s.restart()
	return s
}

func (s *several) restart() {
	s.all = New(cluster, s.seen, s.fast, s.bulk).Provisioners()
	for _, p := range s.all {
		p.Start(context.Background())
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
	s.seen.classes[o.StorageClass.Name] = o.StorageClass
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
	s.seen.volumes = append(s.seen.volumes, pv)
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
			if p.site != nil {
				name = p.site.Name()
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
	s := newSeveral(t)
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
	only := New(cluster, s.seen, direct{s.fast.source, s.fast.files}).Provisioners()
	if len(only) != 1 || !only[0].ShouldProvision(t.Context(), s.claim("typo", "fats").PVC) {
		t.Error("the only Provisioner is responsible for all")
	}
	_, _, err = only[0].Provision(t.Context(), s.claim("typo", "fats"))
	refused(t, err, refusal.ReasonClass, true, "the only one has no name")
}

func TestOfSeveralSharesTheRoomiestIsTaken(t *testing.T) {
	s := newSeveral(t)
	s.fast.free, s.bulk.free = 10, 20
	if on, err := s.provision(t, s.claim("a", "fast,bulk")); err != nil || on != "bulk" {
		t.Error(on, err)
	}
	s.fast.free = 30
	if on, err := s.provision(t, s.claim("b", "fast,bulk")); err != nil || on != "fast" {
		t.Error(on, err)
	}
	s.fast.down = errDown
	if on, err := s.provision(t, s.claim("c", "fast,bulk")); err != nil || on != "bulk" {
		t.Error("one does not answer:", on, err)
	}
	s.bulk.down = errDown
	_, err := s.provision(t, s.claim("d", "fast,bulk"))
	refused(t, err, refusal.ReasonStorage, false, "it is down")
	_, err = s.provision(t, s.claim("e", "fast"))
	refused(t, err, refusal.ReasonStorage, false, "it is down")
}

// A volume that was begun on a share is completed there, however little room that
// has by now: elsewhere it would be made a second time.
func TestAVolumeIsCompletedWhereItWasBegun(t *testing.T) {
	for name, restart := range map[string]bool{"by the same process": false, "by the next one": true} {
		t.Run(name, func(t *testing.T) {
			s := newSeveral(t)
			o := s.claim("a", "fast,bulk")
			if restart {
				o.PVC.CreationTimestamp = metav1.Now()
			}
			s.fast.free = 90
			files := s.fast.files
			dirs, _ := files.Dirs.(*share.Share)
			cut := false
			s.fast.files.Dirs = &faulty{Share: dirs, step: func(method string, do func() error, _ func()) error {
				if cut = cut || method == "Create"; cut {
					return errCut
				}
				return do()
			}}
			s.restart()
			if _, err := s.provision(t, o); err == nil {
				t.Fatal("it was not cut off")
			}
			s.fast.files, s.fast.free = files, 1
			if restart {
				s.restart()
			}
			s.fast.down = errDown
			_, err := s.provision(t, o)
			refused(t, err, refusal.ReasonStorage, false, "it is down")
			s.fast.down = nil
			if on, err := s.provision(t, o); err != nil || on != "fast" {
				t.Error(on, err)
			}
			for _, other := range []*named{s.fast, s.bulk} {
				records, _ := other.files.Records.(*ledger.Ledger)
				for r, err := range records.Records() {
					if err != nil || r.State != ledger.Active {
						t.Errorf("left on %s: %+v, %v", other.name, r, err)
					}
				}
			}
		})
	}
}

func TestAKeptDirectoryIsTakenUpWhereItIs(t *testing.T) {
	s := newSeveral(t)
	s.fast.free = 90
	first := s.claim("a", "fast,bulk")
	first.StorageClass.Parameters["pathPattern"], first.StorageClass.Parameters["onDelete"] = "data", "retain"
	if on, err := s.provision(t, first); err != nil || on != "fast" {
		t.Fatal(on, err)
	}
	must(t, s.all[0].Delete(t.Context(), s.seen.volumes[0]))
	s.fast.free, s.seen.volumes = 1, nil
	again := first
	again.PVName = "pvc-2"
	s.fast.down = errDown
	if _, err := s.provision(t, again); !errors.Is(err, errDown) { // it would get an empty one on the other
		t.Error(err)
	}
	s.fast.down = nil
	if on, err := s.provision(t, again); err != nil || on != "fast" {
		t.Error(on, err)
	}
}

// The server and the path that a volume names say where it is, not the name of a
// mount.
func TestAVolumeIsReleasedOnItsShareWhereverThatIsMounted(t *testing.T) {
	s := newSeveral(t)
	for _, share := range []string{"fast", "bulk"} {
		_, err := s.provision(t, s.claim(share, share))
		must(t, err)
	}
	s.fast.name, s.bulk.name = "bulk", "quick"
	s.restart()
	for i, want := range []string{"bulk", "quick"} {
		pv := s.seen.volumes[i]
		if on := s.shareOf(t, pv); on != want {
			t.Errorf("%s is on %s", pv.Name, on)
		}
	}
	stranger := s.seen.volumes[0].DeepCopy()
	stranger.Name, stranger.Spec.NFS.Path = "stranger", "/elsewhere/x"
	if on := s.shareOf(t, stranger); on != "nobody's" {
		t.Error(on)
	}
	err := s.all[2].Delete(t.Context(), stranger)
	refused(t, err, refusal.ReasonVolume, true, "spec.nfs nas:/elsewhere/x is on none of the shares that this claimdir serves (nas:/fast, nas:/bulk)")
	s.seen.volumes = slices.Clone(s.seen.volumes[:2])
	for i, files := range []Files{s.fast.files, s.bulk.files} {
		pv := s.seen.volumes[i]
		must(t, s.all[i].Delete(t.Context(), pv))
		p, err := volpath.Parse(pv.Annotations[volume.AnnotationPath])
		must(t, err)
		if present, err := files.Dirs.Exists(p); present || err != nil {
			t.Error(pv.Name, present, err)
		}
	}
}

func TestWhatIsRememberedOfTriesIsBounded(t *testing.T) {
	var memory tried
	site := &named{name: "fast"}
	old := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))}}
	young := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}}
	if !memory.perhaps(young, "pv", site) {
		t.Error("before it leads it knows nothing")
	}
	memory.forget()
	if !memory.perhaps(old, "pv", site) || memory.perhaps(young, "pv", site) {
		t.Error("an earlier process may have begun the old one, and not the young one")
	}
	for i := range triedMost + 1 {
		memory.begin(fmt.Sprint("pv-", i), site)
	}
	if n := len(memory.sites); n > triedMost {
		t.Errorf("%d are remembered", n)
	}
	if !memory.perhaps(young, fmt.Sprint("pv-", triedMost), site) || memory.perhaps(old, fmt.Sprint("pv-", triedMost), &named{name: "other"}) {
		t.Error("what was begun last is known")
	}
	memory.succeeded(fmt.Sprint("pv-", triedMost))
	if memory.perhaps(young, fmt.Sprint("pv-", triedMost), site) {
		t.Error("what succeeded is not begun")
	}
}
