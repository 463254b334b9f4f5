//go:build vm

package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/vm/node"
)

func disturbances() []testCase {
	return []testCase{
		{"claimdir is rolled to the next version", testRolled},
		{"the NFS server restarts", testServerRestart},
	}
}

func rareDisturbances() []testCase {
	return []testCase{
		{"a release of nfs-subdir-external-provisioner is taken over while a pod writes, and back", testTakeover},
		{"the leader of two is killed", testLeaderKilled},
		{"claimdir is deleted while a pod writes", testDeleted},
		{"kubelet restarts", testKubeletRestart},
	}
}

// counter is a pod that writes numbers, one more each time.
type counter struct {
	*world
	file string // on the server
}

func (w *world) counter() *counter {
	w.T.Helper()
	w.Claim("counter")
	w.pod("counter", "counter", count)
	c := &counter{world: w, file: w.Bound("counter").Spec.NFS.Path + "/count"}
	w.phase("counter", v1.PodRunning)
	c.goesOn()
	return c
}

// goesOn waits until the pod has written more, and checks that it wrote every
// number once and was not started again.
func (c *counter) goesOn() {
	c.T.Helper()
	before := c.last()
	c.Eventually("the pod goes on writing", func() error {
		if now := c.last(); now < before+3 {
			return fmt.Errorf("it has written %d numbers, and %d before", now, before)
		}
		return nil
	})
	// The last line may be half written.
	c.wantServer("", "sed '$d' %s | awk '$1 != NR { print NR \": \" $0; exit }'", c.file)
	pod := c.phase("counter", v1.PodRunning)
	if n := pod.Status.ContainerStatuses[0].RestartCount; n > 0 {
		c.T.Errorf("the pod was started again %d times", n)
	}
}

func (c *counter) last() int {
	c.T.Helper()
	n, err := strconv.Atoi(c.server("wc -l <%s || echo 0", c.file))
	c.Must(err)
	return n
}

func testDeleted(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	c := w.counter()
	w.kubectl("", "delete", "deployment", "claimdir", "-n", "claimdir", "--cascade=foreground", "--timeout=2m")
	w.Claim("meanwhile")
	c.goesOn()
	w.run("reader", "counter", "head -n 1 /data/count") // what is Bound is mounted without claimdir
	if phase := w.claimPhase("meanwhile"); phase != v1.ClaimPending {
		t.Errorf("a claim is %s while nobody serves it", phase)
	}
	w.Must(n.Install(t.Context(), groups()[0].installation))
	w.Bound("meanwhile")
	c.goesOn()
}

func (w *world) claimPhase(name string) v1.PersistentVolumeClaimPhase {
	w.T.Helper()
	claim, err := w.node.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
	w.Must(err)
	return claim.Status.Phase
}

// testRolled: claims that come and go all the while are served by the old
// version or the new one, each once.
func testRolled(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	c := w.counter()
	next := groups()[0].installation
	next.Tag = newTag
	updated := make(chan error, 1)
	go func() { updated <- n.Install(t.Context(), next) }()
	claims := 0
	for under := true; under; {
		select {
		case err := <-updated:
			w.Must(err)
			under = false
		case <-time.After(time.Second):
			w.Claim(fmt.Sprint("data-", claims))
			claims++
		}
	}
	w.releaseAll("data", claims)
	w.wantServer(strconv.Itoa(claims), "ls -d %s/archived-%s-data-* | wc -l", rootExport, w.Name)
	w.wantServer("", "ls -d %s/%s-data-* 2>/dev/null || true", rootExport, w.Name)
	if log := w.kubectl("", "logs", "-n", "claimdir", "deployment/claimdir"); !strings.Contains(log, `version="`+newTag+`"`) {
		t.Errorf("%s does not run; the log: %s", newTag, log)
	}
	c.goesOn()
}

// releaseAll waits until n claims are Bound, deletes them and waits until their
// volumes are gone.
func (w *world) releaseAll(name string, n int) {
	w.T.Helper()
	var volumes []string
	for i := range n {
		volumes = append(volumes, w.Bound(fmt.Sprint(name, "-", i)).Name)
		w.DeleteClaim(fmt.Sprint(name, "-", i))
	}
	for _, volume := range volumes {
		w.VolumeGone(volume)
	}
}

// testLeaderKilled: kill -9 for the leader; the other one takes the lease when
// it has run out, and the share is as if nothing had happened.
func testLeaderKilled(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	w.kubectl("", "scale", "deployment", "claimdir", "-n", "claimdir", "--replicas=2")
	w.kubectl("", "rollout", "status", "deployment", "claimdir", "-n", "claimdir", "--timeout=3m")
	w.Claim("before")
	w.Bound("before")
	for i := range 5 { // some are under way at the kill
		w.Claim(fmt.Sprint("during-", i))
	}
	holder := w.leaseHolder()
	w.killLeader(holder)
	w.Claim("after")
	w.releaseAll("during", 5)
	w.Bound("after")
	if now := w.leaseHolder(); now == holder {
		t.Errorf("%s holds the lease that it held when it was killed", now)
	}
	w.wantServer("5", "ls -d %s/archived-%s-during-* | wc -l", rootExport, w.Name)
	w.wantServer("2", "ls -d %s/%s-* | wc -l", rootExport, w.Name)
	w.kubectl("", "scale", "deployment", "claimdir", "-n", "claimdir", "--replicas=1")
	w.kubectl("", "rollout", "status", "deployment", "claimdir", "-n", "claimdir", "--timeout=3m")
}

func (w *world) leaseHolder() string {
	w.T.Helper()
	leases, err := w.node.Admin.CoordinationV1().Leases("claimdir").List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	if len(leases.Items) != 1 || leases.Items[0].Spec.HolderIdentity == nil {
		w.T.Fatalf("there are %d leases, not one that somebody holds", len(leases.Items))
	}
	return *leases.Items[0].Spec.HolderIdentity
}

// killLeader kills the process in the pod whose name the lease's holder begins
// with.
func (w *world) killLeader(holder string) {
	w.T.Helper()
	pods, err := w.node.Admin.CoreV1().Pods("claimdir").List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	for _, pod := range pods.Items {
		if strings.HasPrefix(holder, pod.Name) {
			w.wantServer("killed", "for p in $(pidof claimdir); do if grep -q %s /proc/$p/cgroup; then kill -9 $p && echo killed; fi; done", pod.UID)
			return
		}
	}
	w.T.Fatalf("no pod holds the lease of %s", holder)
}

// testServerRestart: everybody waits, nobody is told lies, and all of it goes
// on by itself.
func testServerRestart(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	c := w.counter()
	w.Claim("released")
	released := w.Bound("released")
	restarts := w.claimdirRestarts()
	w.server("rpc.nfsd 0")
	w.Claim("meanwhile")
	w.DeleteClaim("released")
	before := c.last()
	time.Sleep(20 * time.Second)
	if now := c.last(); now > before+1 {
		t.Errorf("the pod wrote %d numbers without a server", now-before)
	}
	if phase := w.claimPhase("meanwhile"); phase != v1.ClaimPending {
		t.Errorf("a claim is %s while the server is away", phase)
	}
	w.server(". /job/nfs.sh; nfs_start")
	w.Bound("meanwhile")
	w.VolumeGone(released.Name)
	w.wantServer("there", "[ -d %s ] && echo there", w.archived(released, "released"))
	c.goesOn()
	if now := w.claimdirRestarts(); now != restarts {
		t.Errorf("claimdir was restarted: %s, before: %s", now, restarts)
	}
}

// claimdirRestarts says how often the pods of claimdir were started.
func (w *world) claimdirRestarts() string {
	w.T.Helper()
	return w.kubectl("", "get", "pods", "-n", "claimdir", "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}{"\n"}{end}`)
}

// testKubeletRestart: kubelet finds the mounts that it left.
func testKubeletRestart(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class()
	c := w.counter()
	w.server("/job/kubelet stop")
	c.goesOn()
	w.Claim("meanwhile")
	w.Bound("meanwhile") // claimdir needs no kubelet
	w.server("/job/kubelet start")
	if out := w.run("reader", "meanwhile", "echo x >/data/f; cat /data/f"); out != "x\n" {
		t.Errorf("the pod says %q", out)
	}
	c.goesOn()
	path := w.Bound("counter").Spec.NFS.Path
	w.wantServer("1", "grep -c ':%s ' /proc/mounts", path)
	w.deletePod("counter")
	w.wantServer("0", "grep -c ':%s ' /proc/mounts || true", path)
}
