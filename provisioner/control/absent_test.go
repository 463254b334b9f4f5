package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster"
)

// absentWorld is what an absentVolumes looks at, and whom it told.
type absentWorld struct {
	absentVolumes
	asking cache.Store
	now    time.Time
	told   []string
}

func newAbsentWorld() *absentWorld {
	w := &absentWorld{now: time.Unix(0, 0), asking: cache.NewStore(cache.MetaNamespaceKeyFunc)}
	w.absentVolumes = absentVolumes{
		claims: func() (claims []*v1.PersistentVolumeClaim) {
			for _, object := range w.asking.List() {
				if claim := object.(*v1.PersistentVolumeClaim); claim.Spec.VolumeName != "" { // as cluster.Informers.Waiting
					claims = append(claims, claim)
				}
			}
			return claims
		},
		volumes: cache.NewStore(cache.MetaNamespaceKeyFunc),
		known: func(claim *v1.PersistentVolumeClaim) bool {
			return claim.Spec.StorageClassName != nil && *claim.Spec.StorageClassName == "nfs"
		},
		tell: func(claim *v1.PersistentVolumeClaim, _ error) {
			w.told = append(w.told, claim.Namespace+"/"+claim.Name)
		},
	}
	return w
}

// asks adds a claim that names a volume.
func (w *absentWorld) asks(t *testing.T, namespace, name, volume string, change ...func(*v1.PersistentVolumeClaim)) {
	t.Helper()
	claim := newClaim(name, "nfs")
	claim.Namespace, claim.UID, claim.Spec.VolumeName = namespace, types.UID(namespace+"/"+name), volume
	for _, c := range change {
		c(claim)
	}
	if err := w.asking.Add(claim); err != nil {
		t.Fatal(err)
	}
}

// after lets time pass, looks, and returns whom that told.
func (w *absentWorld) after(d time.Duration) []string {
	w.now, w.told = w.now.Add(d), nil
	w.look(w.now)
	slices.Sort(w.told)
	return w.told
}

func TestClaimsThatAskForAnAbsentVolume(t *testing.T) {
	w := newAbsentWorld()
	if err := w.volumes.Add(&v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "there"}}); err != nil {
		t.Fatal(err)
	}
	w.asks(t, "team", "absent", "gone")
	w.asks(t, "team", "soon", "late")
	w.asks(t, "team", "present", "there")
	w.asks(t, "team", "ordinary", "")
	w.asks(t, "team", "foreign", "gone", func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("other") })
	w.asks(t, "team", "bound", "gone", func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil })
	w.asks(t, "team", "deleted", "gone", func(c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = new(metav1.Now()) })
	if got := slices.Concat(w.after(0), w.after(absentGrace/2)); len(got) > 0 {
		t.Errorf("told too early: %q", got)
	}
	if err := w.volumes.Add(&v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "late"}}); err != nil {
		t.Fatal(err)
	}
	if got := w.after(absentGrace / 2); !slices.Equal(got, []string{"team/absent"}) {
		t.Errorf("told %q", got)
	}
	if got := slices.Concat(w.after(absentGrace), w.after(absentGrace)); len(got) > 0 {
		t.Errorf("told again: %q", got)
	}
	if got := w.after(cluster.Resync); !slices.Equal(got, []string{"team/absent"}) {
		t.Errorf("at the resync: told %q", got)
	}
	if len(w.waiting) != 1 {
		t.Errorf("remembered: %v", w.waiting)
	}
	for _, object := range w.asking.List() {
		if err := w.asking.Delete(object); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.after(cluster.Resync); len(got) > 0 || len(w.waiting) > 0 {
		t.Errorf("told %q, remembered %v", got, w.waiting)
	}
}

// A tenant with many such claims does not crowd out another's events, and all are told in the end.
func TestManyClaimsThatAskForAbsentVolumes(t *testing.T) {
	w := newAbsentWorld()
	for i := range 3 * absentMostOfOne {
		w.asks(t, "many", fmt.Sprint(i), "gone")
	}
	w.asks(t, "team", "data", "gone")
	w.after(0)
	told := map[string]int{}
	for range 3 {
		got := w.after(absentGrace)
		if len(got) > absentMostOfOne+1 {
			t.Errorf("told %d at once", len(got))
		}
		for _, claim := range got {
			told[claim]++
		}
	}
	if len(told) != 3*absentMostOfOne+1 || told["team/data"] != 1 {
		t.Errorf("told %v", told)
	}
	for i := range 2 * absentMost {
		w.asks(t, fmt.Sprint("namespace-", i), "data", "gone")
	}
	w.after(0)
	if got := w.after(absentGrace); len(got) != absentMost {
		t.Errorf("told %d at once", len(got))
	}
}

func TestWhatAClaimIsToldOfAnAbsentVolume(t *testing.T) {
	claim := newClaim("a", "nfs")
	claim.Spec.VolumeName = "gone"
	w := newWorld(t, newClass("nfs"), claim)
	build(w)
	w.start()
	claims := w.config.Informers.ClaimInformer().GetStore()
	w.eventually("the claim is cached", func() bool { return len(claims.List()) == 1 })
	running := w.controller.absent // which looks by the clock
	absent := absentVolumes{claims: running.claims, volumes: running.volumes, known: running.known, tell: running.tell}
	for _, later := range []time.Duration{0, absentGrace} {
		absent.look(time.Now().Add(later))
	}
	w.eventually("there is an event", func() bool { return len(w.told(eventProvisionFailed, "a")) == 1 })
	if text := w.told(eventProvisionFailed, "a")[0]; !strings.Contains(text, `spec.volumeName asks for volume "gone", which does not exist; create that PersistentVolume, or delete the claim and create it again without spec.volumeName`) {
		t.Error(text)
	}
	if n, _ := w.metric("claimdir_refusals_total", "operation", opProvision, "class", "nfs", "reason", "claim"); n != 1 {
		t.Errorf("%v refusals", n)
	}
	if w.provisioner.provisions("") != 0 {
		t.Error("it was provisioned")
	}
}
