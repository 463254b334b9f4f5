package cluster

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// backlog is enough claims that claimdir is stopped in their middle.
const backlog = 120

func (w *world) makeBacklog() {
	w.T.Helper()
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	for i := range backlog {
		w.Claim(fmt.Sprintf("claim-%03d", i))
	}
}

// someVolumes waits until claimdir has begun on the backlog.
func (w *world) someVolumes() {
	w.T.Helper()
	w.Eventually("some volumes are made", func() error {
		if len(w.volumes()) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
}

// volumes returns the paths of the world's volumes, as their PersistentVolumes
// tell.
func (w *world) volumes() map[string]bool {
	w.T.Helper()
	list, err := w.bed.Admin.CoreV1().PersistentVolumes().List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	paths := map[string]bool{}
	for _, pv := range list.Items {
		if pv.Spec.StorageClassName == w.Name {
			paths[strings.TrimPrefix(pv.Spec.NFS.Path, "/export/"+w.Name+"/")] = true
		}
	}
	return paths
}

// allBound waits for the whole backlog and looks for anything besides it.
func (w *world) allBound() {
	w.T.Helper()
	for i := range backlog {
		w.Bound(fmt.Sprintf("claim-%03d", i))
	}
	if entries, records := len(w.entries(w.Name)), len(w.records()); entries != backlog || records != backlog {
		w.T.Errorf("%d claims have %d directories and %d records", backlog, entries, records)
	}
}

func testStop(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.makeBacklog()
	w.process = w.start("WORKERS=2")
	w.someVolumes()
	if code := w.process.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if holder := w.leaseHolder(); holder != "" {
		t.Errorf("the lease is still held by %s", holder)
	}
	volumes, directories := w.volumes(), w.entries(w.Name)
	if len(volumes) == backlog {
		t.Fatalf("all %d volumes were made before the stop: it was not in the middle", backlog)
	}
	for _, directory := range directories {
		if !volumes[directory] {
			t.Errorf("directory %s has no volume", directory)
		}
	}
	if len(directories) != len(volumes) || len(w.records()) != len(volumes) {
		t.Errorf("%d volumes, %d directories, %d records", len(volumes), len(directories), len(w.records()))
	}
	t.Logf("stopped after %d of %d", len(volumes), backlog)
	w.process = w.start()
	w.allBound()
}

func testKill(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.makeBacklog()
	for range 3 { // wherever it happens to be
		w.process = w.start("WORKERS=2", "ENABLE_LEADER_ELECTION=false")
		before := len(w.volumes())
		w.Eventually("some more volumes are made", func() error {
			if now := len(w.volumes()); now < min(before+5, backlog) {
				return fmt.Errorf("%d of them", now)
			}
			return nil
		})
		w.process.Kill()
	}
	w.process = w.start("ENABLE_LEADER_ELECTION=false")
	w.allBound()
}

func testFailover(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	w.Claim("first")
	w.Bound("first")
	leader, standby := w.process, w.start()
	if strings.Contains(standby.Log(), `"Leading"`) {
		t.Fatal("both lead")
	}
	leader.Kill()
	begin := time.Now()
	w.process = standby
	w.Claim("second")
	w.Bound("second")
	t.Logf("the standby served %v after the leader was killed", time.Since(begin).Round(time.Second))

	// A stop hands over without waiting for the lease to run out.
	next := w.start()
	if code := standby.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	begin = time.Now()
	w.process = next
	w.logged("Leading")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("a stop handed over after %v", took)
	}
	w.Claim("third") // how fast it is bound depends on the controller manager, too
	w.Bound("third")
}

// testPausedLeader protects what is on the share from a leader that was paused (SIGSTOP,
// a suspended machine) for longer than its lease: when it wakes another leads, and it must
// end before it does anything more.
func testPausedLeader(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	leader := w.start()
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	w.Claim("first")
	w.Bound("first")
	standby := w.start()
	w.process = standby
	w.Must(leader.Pause())
	paused := time.Now()
	w.logged("Leading")
	<-time.After(time.Until(paused.Add(22 * time.Second)))
	before := leader.Log()

	w.Must(leader.Resume())
	resumed, took := time.Now(), make(chan time.Duration, 1)
	go func() {
		<-leader.Ended()
		took <- time.Since(resumed)
	}()
	const claims = 8
	for i := range claims { // work for both
		w.Claim(fmt.Sprint("woken-", i))
	}
	if code := leader.Wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if took := <-took; took > time.Second {
		t.Errorf("the old leader ended %v after it woke", took)
	}
	for i := range claims {
		w.Bound(fmt.Sprint("woken-", i))
	}
	if n := strings.Count(standby.Log(), "Created directory"); n != claims {
		t.Errorf("the new leader made %d directories of %d", n, claims)
	}
	woken := strings.TrimPrefix(leader.Log(), before)
	why := regexp.MustCompile(`(?m)^claimdir: the lease was lost: it was last renewed 2\S+s ago, more than the renew deadline of 10s: another replica may lead$`)
	if !why.MatchString(woken) || strings.Contains(woken, "Created directory") {
		t.Errorf("the old leader goes on, or does not say why it ends:\n%s", woken)
	}
}

// testOutage cuts the API server off in the middle of a backlog.
func testOutage(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.makeBacklog()
	w.process = w.start("WORKERS=2")
	w.someVolumes()
	bed.StopAPIServer()
	w.Must(bed.StartAPIServer(t.Context()))
	w.allBound()
	select {
	case <-w.process.Ended():
		t.Error("claimdir ended over a short outage")
	default:
	}
}

func (w *world) leaseHolder() string {
	w.T.Helper()
	leases, err := w.bed.Admin.CoordinationV1().Leases("claimdir").List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	for _, lease := range leases.Items {
		if strings.Contains(lease.Name, w.Name) {
			return *lease.Spec.HolderIdentity
		}
	}
	w.T.Error("there is no lease")
	return ""
}

func testJSONLogs(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "LOG_FORMAT=json")
	w.class()
	w.Claim("data")
	pv := w.Bound("data")
	w.logged(`"msg":"Created directory"`, `"PVC":{"name":"data","namespace":"`+w.Name+`"}`, `"path":"`+w.Name+"-data-"+pv.Name+`"`)
}

func testBadConfiguration(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	p, err := bed.Claimdir(testbed.Config{Share: "relative", Provisioner: "", Env: []string{"WORKERS=0", "LOG_FORMAT=xml"}})
	w.Must(err)
	if code := p.Wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"PROVISIONER_NAME", "--mount-path", "--workers 0", "--log-format"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("%q is missing in:\n%s", want, p.Log())
		}
	}
	missing, err := bed.Claimdir(testbed.Config{Share: w.share + "/nowhere", Provisioner: w.provisioner})
	w.Must(err)
	if code := missing.Wait(); code != 1 || !strings.Contains(missing.Log(), "nowhere") {
		t.Errorf("exit code %d, want 1; log:\n%s", code, missing.Log())
	}
}
