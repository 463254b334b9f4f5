package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

func TestLeaseName(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"a/b-c", "a-b/c", "A/b", "a/b", "nfs", "a/b_.c", "a..b", "x.y/" + strings.Repeat("z", 63),
		strings.Repeat("d.", 126) + "d/" + strings.Repeat("n", 63),
	} {
		lease := LeaseName(name)
		if problems := validation.IsDNS1123Subdomain(lease); len(problems) > 0 {
			t.Errorf("%s: %s: %v", name, lease, problems)
		}
		if other, taken := seen[lease]; taken {
			t.Errorf("%s and %s are both %s", name, other, lease)
		}
		seen[lease] = name
	}
	if name := LeaseName("example.com/NFS"); !strings.HasPrefix(name, "claimdir-example-com-nfs-") {
		t.Error("unreadable:", name)
	}
}

// elect makes w one of several replicas.
func (w *world) elect(identity string) *world {
	w.config.Leadership = NewLeadership(&Lease{
		Namespace: "claimdir", Identity: identity,
		Duration: 6 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: 200 * time.Millisecond,
	})
	return w
}

// rival returns another replica on the same cluster.
func (w *world) rival() *world {
	r := newWorld(w.t)
	r.main, r.events, r.lease = w.main, w.events, w.lease
	r.config.Clients = w.config.Clients
	r.config.Informers = newInformers(w.main)
	return r.elect("rival")
}

func holder(lease *fake.Clientset) string {
	object, err := lease.Tracker().Get(coordinationv1.SchemeGroupVersion.WithResource("leases"), "claimdir", LeaseName(provisionerName))
	if err != nil {
		return "no lease"
	}
	return ptr.Deref(object.(*coordinationv1.Lease).Spec.HolderIdentity, "")
}

func TestStandbyWaitsAndTakesOver(t *testing.T) {
	w := newWorld(t, newClass("nfs"), newClaim("first", "nfs")).elect("one")
	standby := w.rival()
	build(w, standby)
	w.start()
	w.eventually("the first volume is saved", func() bool { return w.saved("pvc-first") != nil })
	if leads, _ := w.metric("claimdir_leader"); leads != 1 {
		t.Error("leader gauge of the leader:", leads)
	}

	standby.start() // its caches are full when this returns
	w.add(newClaim("second", "nfs"))
	w.eventually("the second volume is saved", func() bool { return w.saved("pvc-second") != nil })
	if n := standby.provisioner.provisions(""); n > 0 {
		t.Errorf("the standby made %d volumes", n)
	}
	if leads, series := standby.metric("claimdir_leader"); leads != 0 || series != 1 {
		t.Error("leader gauge of the standby:", leads)
	}
	if err := errors.Join(w.controller.Healthy(), standby.controller.Healthy()); err != nil {
		t.Error(err)
	}

	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if leads, _ := w.metric("claimdir_leader"); leads != 0 {
		t.Error("leader gauge of the stopped leader:", leads)
	}
	w.add(newClaim("third", "nfs"))
	w.eventually("the standby has taken over", func() bool { return standby.provisioner.provisions("pvc-third") == 1 })
	if got := holder(w.lease); got != "rival" {
		t.Error("holder:", got)
	}
	if n := w.provisioner.provisions("pvc-third"); n > 0 {
		t.Error("the stopped leader goes on")
	}
}

func TestStopReleasesTheLease(t *testing.T) {
	w := newWorld(t).elect("one").start()
	w.eventually("leads", func() bool { return holder(w.lease) == "one" })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if got := holder(w.lease); got != "" {
		t.Errorf("holder after the stop: %q", got)
	}
}

func TestStopBeforeTheLeaseIsWon(t *testing.T) {
	w := newWorld(t).elect("one")
	standby := w.rival()
	build(w, standby)
	w.start()
	w.eventually("leads", func() bool { return holder(w.lease) == "one" })
	standby.start()
	if err := standby.stop(); err != nil {
		t.Error(err)
	}
	if got := holder(w.lease); got != "one" {
		t.Errorf("holder: %q", got)
	}
}

// newLoser returns a leader with one stuck call and one claim that waits.
func newLoser(t *testing.T) (w *world, lose, release func()) {
	t.Helper()
	w = newWorld(t, newClass("nfs")).elect("one")
	var lost atomic.Bool
	rival := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "claimdir", Name: LeaseName(provisionerName)},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("rival"), LeaseDurationSeconds: new(int32(60)),
			AcquireTime: new(metav1.NowMicro()), RenewTime: new(metav1.NowMicro()),
		},
	}
	w.lease.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return lost.Load(), nil, apierrors.NewConflict(coordinationv1.Resource("leases"), rival.Name, errors.New("changed"))
	})
	w.lease.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return lost.Load(), rival, nil })
	stuck := make(chan struct{})
	w.provisioner.onProvision = func(context.Context, controller.ProvisionOptions) error { <-stuck; return nil }
	w.config.Workers = 1
	w.start()
	w.add(newClaim("stuck", "nfs"), newClaim("next", "nfs"))
	w.eventually("a call is stuck", func() bool { return w.provisioner.provisions("") == 1 })
	return w, func() { lost.Store(true) }, sync.OnceFunc(func() { close(stuck) })
}

func TestLostLeaseWhileLeading(t *testing.T) {
	w, lose, release := newLoser(t)
	defer release()
	lose()
	if err := w.wait(); !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	w.add(newClaim("late", "nfs"))
	release()
	w.throughout(500*time.Millisecond, "no operation begins", func() bool { return w.provisioner.provisions("") == 1 })
}

func TestLostLeaseWhileDraining(t *testing.T) {
	w, lose, release := newLoser(t)
	defer release()
	w.cancel()
	lose()
	if err := w.wait(); !errors.Is(err, ErrLeaseLost) || !strings.Contains(err.Error(), "provision pvc-") {
		t.Error(err)
	}
}

// The API server does not answer any more. Whoever leads must know that it
// does not before another replica may.
func TestLeaseIsLostBeforeItRunsOut(t *testing.T) {
	w := newWorld(t).elect("one")
	var silent atomic.Bool
	w.config.Clients.Lease = newLeaseServer(t, func(r *http.Request) {
		if silent.Load() {
			<-r.Context().Done()
		}
	})
	w.start()
	w.eventually("leads", func() bool { leads, _ := w.metric("claimdir_leader"); return leads == 1 })
	silent.Store(true)
	began := time.Now()
	if err := w.wait(); !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	if took := time.Since(began); took >= w.config.Leadership.lease.Duration {
		t.Errorf("the lease lasts %v, giving up took %v", w.config.Leadership.lease.Duration, took)
	}
}

func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := fake.NewSimpleClientset()
		stuck, unstick := context.WithCancel(t.Context())
		defer unstick()
		lease.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			<-stuck.Done()
			return true, nil, fmt.Errorf("late")
		})
		c := &Controller{
			config:   Config{Informers: newInformers(lease), Leadership: NewLeadership(&Lease{Namespace: v1.NamespaceDefault, Identity: "one"}), Clients: Clients{Lease: lease}},
			watchdog: leaderelection.NewLeaderHealthzAdaptor(watchdogGrace),
		}
		if err := c.Healthy(); err != nil {
			t.Error("before the election:", err)
		}
		elector, err := c.newElector(func() {})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); elector.Run(t.Context()) }()
		time.Sleep(30 * time.Second) // of the bubble: 15 s of lease and most of the grace
		if err := c.Healthy(); err != nil {
			t.Error("within the grace:", err)
		}
		time.Sleep(10 * time.Second)
		if c.Healthy() == nil {
			t.Error("healthy although the lease ran out long ago")
		}
		unstick()
		<-ended
	})
}
