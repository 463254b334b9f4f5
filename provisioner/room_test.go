package provisioner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
)

// withRoom makes the share one of that size, with that much free, in GiB.
func (w *world) withRoom(size, free float64) {
	w.room = func(*access.Keeper) share.Room {
		return share.Room{Size: uint64(size * (1 << 30)), Free: uint64(free * (1 << 30))}
	}
}

// stopClock returns the time of the world from now on.
func (w *world) stopClock() *time.Time {
	now := time.Now()
	w.now = func() time.Time { return now }
	return &now
}

// hasClass gives the cluster the class that the volumes have.
func (w *world) hasClass(params map[string]string) {
	w.Seen.Classes["nfs"] = &storage.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs", UID: "class"}, Parameters: params}
}

func TestAClaimWaitsUntilEnoughIsFree(t *testing.T) {
	for minFree, figure := range map[string]string{"10Gi": "10.0Gi", "5%": "5.0Gi"} {
		w := newWorld(t)
		w.withRoom(100, 3.5)
		o := options("ns/data", "pvc-1", at("data", "minFree", minFree))
		_, _, err := w.Provision(t.Context(), o)
		refused(t, err, refusal.ReasonRoom, false, "the share has 3.5Gi free, and StorageClass nfs asks that "+figure+" stay free (minFree)")
		w.Holds(t)
		w.withRoom(100, 10)
		w.provision(t, o)
		w.Holds(t, "data", "data = pvc-1 active")
		w.withRoom(100, 0)
		w.provision(t, o) // what is made is not held back
	}
}

// Some servers say nothing in answer to statfs.
func TestAShareThatDoesNotSayItsSizeHasNoRoomToPromise(t *testing.T) {
	w := newWorld(t)
	w.withRoom(0, 0)
	for _, asks := range [][2]string{{"minFree", "1Gi"}, {"minFree", "5%"}, {"overcommit", "1.5"}} {
		_, _, err := w.Provision(t.Context(), options("ns/data", "pvc-1", at("data", asks[0], asks[1])))
		refused(t, err, refusal.ReasonRoom, false, "the share does not say how large it is, so claimdir cannot do what StorageClass nfs asks (minFree, overcommit)")
	}
	w.provision(t, options("ns/data", "pvc-1", at("data")))
}

// What is on the share already takes no room.
func TestAnExistingDirectoryNeedsNoRoom(t *testing.T) {
	w := newWorld(t)
	w.withRoom(100, 1)
	w.Tree(t, "data/file")
	w.provision(t, options("ns/data", "pvc-1", at("data", "minFree", "10Gi", "onExisting", "adopt", "overcommit", "0.001")))
	w.Holds(t, "data", "data/file", "data = pvc-1 active")
}

func TestAShareIsNotOvercommitted(t *testing.T) {
	w := newWorld(t)
	w.withRoom(5, 5)
	now := w.stopClock()
	try := func(i int) error {
		name := fmt.Sprint("data-", i)
		pv, _, err := w.Provision(t.Context(), options("ns/"+name, "pvc-"+name, at(name, "overcommit", "1.5"))) // 1Gi
		if err == nil {
			w.Seen.PVs = append(w.Seen.PVs, pv) // the cache may show it only later
		}
		return err
	}
	for i := range 7 {
		must(t, try(i))
		if i == 3 { // the cache shows the first four
			*now = now.Add(time.Minute)
		}
	}
	refused(t, try(7), refusal.ReasonRoom, false,
		"the volumes of the share request 7.0Gi, and with 1.0Gi more they would be above 7.5Gi, 1.5 times its size (overcommit of StorageClass nfs)")
	refused(t, try(7), refusal.ReasonRoom, false, "request 7.0Gi") // asking takes nothing
	must(t, try(6))                                                // what is made stays
	*now = now.Add(time.Minute)
	w.Seen.PVs = w.Seen.PVs[1:7] // one was released
	must(t, try(7))
	refused(t, try(8), refusal.ReasonRoom, false, "request 7.0Gi")
}

// A volume that was not made takes no room.
func TestRoomIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.withRoom(1, 1)
	failed := errors.New("input/output error")
	w.Hook(func(name string, call func() error) error {
		if strings.HasPrefix(name, "make ") {
			return failed
		}
		return call()
	})
	if _, _, err := w.Provision(t.Context(), options("ns/a", "pvc-a", at("a", "overcommit", "1"))); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	w.Hook(nil)
	w.provision(t, options("ns/b", "pvc-b", at("b", "overcommit", "1")))
}

// Of several shares a volume gets one where it fits.
func TestTheShareWithRoomIsChosen(t *testing.T) {
	withSeveral(t, func(t *testing.T, s *several) {
		s.fast.free, s.bulk.free = 90, 20
		o := s.claim("a", "fast,bulk")
		o.StorageClass.Parameters["minFree"] = "30"
		if on, err := s.provision(t, o); err != nil || on != "fast" {
			t.Errorf("%s, %v", on, err)
		}
		s.fast.free, s.bulk.free = 29, 28
		o = s.claim("b", "fast,bulk")
		o.StorageClass.Parameters["minFree"] = "30"
		_, err := s.provision(t, o)
		refused(t, err, refusal.ReasonRoom, false, `share "bulk" has 28 free`)
		s.bulk.free = 30
		if on, err := s.provision(t, o); err != nil || on != "bulk" {
			t.Errorf("%s, %v", on, err)
		}
	})
}

func TestAnExpansionNeedsRoom(t *testing.T) {
	w := newWorld(t)
	w.withRoom(2, 2)
	w.hasClass(at("data", "overcommit", "2"))
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "overcommit", "2")))
	pv.Spec.StorageClassName = "nfs"
	w.Seen.PVs = []*v1.PersistentVolume{pv}
	w.now = func() time.Time { return time.Now().Add(time.Hour) }
	must(t, w.HasRoom(w.Keeper, pv, 3<<30))
	refused(t, w.HasRoom(w.Keeper, pv, 3<<30+1), refusal.ReasonRoom, false, "the volumes of the share request 1.0Gi, and with 3.0Gi more they would be above 4.0Gi")
	delete(w.Seen.Classes, "nfs")
	must(t, w.HasRoom(w.Keeper, pv, 1<<40)) // nobody asks for room any more
}

// Room that was promised to a volume whose PersistentVolume came and went between two looks at the cache, or to the copy for a claim
// that went, is free again; that for a claim that still waits is not.
func TestPromisedRoomEnds(t *testing.T) {
	w := newWorld(t)
	w.withRoom(2, 2)
	now := w.stopClock()
	ask := func(name string) error {
		_, _, err := w.Provision(t.Context(), options("ns/"+name, "pvc-"+name, at(name, "overcommit", "1"))) // 1Gi
		return err
	}
	must(t, ask("gone"))
	must(t, ask("waits"))
	w.Seen.Unbound = []*v1.PersistentVolumeClaim{options("ns/waits", "pvc-waits", nil).PVC}
	refused(t, ask("c"), refusal.ReasonRoom, false, "request 2.0Gi")
	*now = now.Add(promisedFor)
	must(t, ask("c"))
	*now = now.Add(promisedFor)
	w.Seen.Unbound = append(w.Seen.Unbound, options("ns/c", "pvc-c", nil).PVC)
	refused(t, ask("d"), refusal.ReasonRoom, false, "request 2.0Gi")
	w.Seen.Unbound[0].UID = "a-namesake"
	*now = now.Add(sumFor)
	must(t, ask("d"))
}

// Expansions that come together do not pass one after the other on the sum that was there before.
func TestExpansionsThatComeTogetherNeedRoomTogether(t *testing.T) {
	w := newWorld(t)
	w.withRoom(8, 8)
	now := w.stopClock()
	w.hasClass(at("data", "overcommit", "1"))
	for _, name := range []string{"a", "b", "c"} {
		pv := w.provision(t, options("ns/"+name, "pvc-"+name, at(name, "overcommit", "1")))
		pv.Spec.StorageClassName = "nfs"
		w.Seen.PVs = append(w.Seen.PVs, pv)
	}
	*now = now.Add(time.Minute)
	a, b, c := w.Seen.PVs[0], w.Seen.PVs[1], w.Seen.PVs[2]
	must(t, w.HasRoom(w.Keeper, a, 3<<30))
	must(t, w.HasRoom(w.Keeper, a, 3<<30)) // a repeat is no second request
	refused(t, w.HasRoom(w.Keeper, b, 3<<30), refusal.ReasonRoom, false, "request 6.0Gi, and with 3.0Gi more")
	*now = now.Add(2 * sumFor)
	refused(t, w.HasRoom(w.Keeper, b, 3<<30), refusal.ReasonRoom, false, "request 6.0Gi") // the cache does not show it yet
	a.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse("4Gi")}
	*now = now.Add(2 * sumFor)
	refused(t, w.HasRoom(w.Keeper, b, 3<<30), refusal.ReasonRoom, false, "request 6.0Gi")
	must(t, w.HasRoom(w.Keeper, b, 2<<30))
	*now = now.Add(promisedFor) // it was not expanded: the claim requests less again
	must(t, w.HasRoom(w.Keeper, c, 2<<30))
}

// An expansion right after the volume was made counts the volume, which the cache does not show yet.
func TestAnExpansionCountsAVolumeThatIsNew(t *testing.T) {
	w := newWorld(t)
	w.withRoom(8, 8)
	now := w.stopClock()
	w.hasClass(at("data", "overcommit", "1"))
	other := w.provision(t, options("ns/other", "pvc-other", at("other", "overcommit", "1")))
	w.Seen.PVs = append(w.Seen.PVs, other)
	*now = now.Add(2 * sumFor)
	pv := w.provision(t, options("ns/data", "pvc-data", at("data", "overcommit", "1")))
	pv.Spec.StorageClassName = "nfs"
	refused(t, w.HasRoom(w.Keeper, pv, 7<<30), refusal.ReasonRoom, false, "request 2.0Gi, and with 7.0Gi more")
	must(t, w.HasRoom(w.Keeper, pv, 6<<30))
	must(t, w.HasRoom(w.Keeper, pv, 6<<30))
}
