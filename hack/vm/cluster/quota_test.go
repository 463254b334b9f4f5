//go:build vm

package cluster

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/hack/vm/node"
)

const (
	// quotasEvery is how often the test's claimdir quota brings the limits up to date: docs/quota.md says 30s.
	quotasEvery = 5 * time.Second
	// quotasWithin is how long a pod may wait until an expanded claim's volume is larger.
	quotasWithin = 30 * time.Second
)

// sizesHeld is the case of an export on a file system with project quotas, and of what the server says past a limit.
func sizesHeld(export, full string) func(*testing.T, *node.Node) {
	return func(t *testing.T, n *node.Node) { testSizesHeld(t, n, export, full) }
}

// testSizesHeld: while claimdir quota runs on the NFS server, a running pod has what its claim asks for and no more, also after
// an expansion; df and kubelet show that; and it takes nothing from a pod of another namespace.
func testSizesHeld(t *testing.T, n *node.Node, export, full string) {
	w, other := newWorld(t, n, "restricted"), newWorld(t, n, "restricted")
	class := w.classObject()
	class.AllowVolumeExpansion = new(true)
	w.createClass(class)
	other.class()
	w.Claim("data", ofSize("16Mi"))
	other.Claim("data", ofSize("100Mi"))
	w.pod("writer", "data", sleep, asUser(1000))
	other.pod("writer", "data", sleep, asUser(2000))
	path := w.Bound("data").Spec.NFS.Path
	other.Bound("data")
	w.holdToSizes(export)
	before := w.phase("writer", v1.PodRunning)
	other.phase("writer", v1.PodRunning)

	w.dfShows("16Mi", patience)
	w.Must(w.fill("small", 4))
	if err := w.fill("large", 24); err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("a write past the size of the claim: %v, want %s", err, full)
	}
	if kibibytes, err := strconv.Atoi(w.server("du -sk %s/* | awk '{ n += $1 } END { print n }'", path)); err != nil || kibibytes > 16<<10 {
		t.Errorf("the server has %d KiB of the pod's files, %v", kibibytes, err)
	}
	w.Must(other.fill("large", 24))
	other.dfShows("100Mi", patience)
	w.kubeletShows("16Mi")

	w.expand("data", "64Mi")
	expanded := time.Now()
	w.dfShows("64Mi", quotasWithin)
	t.Logf("the running pod saw that %v later, with a pass each %v", time.Since(expanded).Round(100*time.Millisecond), quotasEvery)
	w.Must(w.fill("more", 24))
	w.wantServer(strconv.Itoa(24<<20), "stat -c %%s %s/more", path)
	w.kubeletShows("64Mi")
	after := w.phase("writer", v1.PodRunning)
	if restarts := after.Status.ContainerStatuses[0].RestartCount; after.UID != before.UID || restarts > 0 {
		t.Errorf("the pod was replaced, or started again %d times", restarts)
	}
	other.dfShows("100Mi", patience)
}

func ofSize(size string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.Resources.Requests[v1.ResourceStorage] = resource.MustParse(size)
	}
}

// holdToSizes runs claimdir quota on the NFS server until the test ends: the program of the installed image, with the rights
// that the unit in manifests/quota leaves it. The share must be in use.
func (w *world) holdToSizes(export string) {
	w.T.Helper()
	w.Eventually("the server has the program", func() error { // claimdir may be starting anew
		_, err := w.node.Run(w.T.Context(), "install /proc/$(pidof -s claimdir)/exe /usr/local/bin/claimdir")
		return err
	})
	const rights = "--bounding-set=-all,+sys_admin,+sys_resource,+fowner,+dac_override,+dac_read_search --no-new-privs"
	var said string
	ended := make(chan error, 1)
	ctx := context.Background() // that of the test ends ahead of its cleanup
	go func() {
		var err error
		said, err = w.node.Run(ctx, fmt.Sprintf("echo $$ >/run/quota.pid; exec setpriv %s /usr/local/bin/claimdir quota --share=%s --every=%v 2>&1",
			rights, export, quotasEvery))
		ended <- err
	}()
	w.T.Cleanup(func() {
		if _, err := w.node.Run(ctx, "kill $(cat /run/quota.pid)"); err != nil {
			w.T.Errorf("stop claimdir quota: %v", err)
		}
		select {
		case err := <-ended:
			w.T.Logf("claimdir quota says:\n%s", said)
			if err != nil {
				w.T.Errorf("claimdir quota: %v", err)
			}
		case <-time.After(time.Minute):
			w.T.Error("a minute after its signal claimdir quota has not ended")
		}
	})
}

// inPod runs a shell command in the pod writer.
func (w *world) inPod(command string) (string, error) {
	return w.exec("writer", command)
}

// fill lets the pod writer write a file of so many MiB.
func (w *world) fill(file string, mebibytes int) error {
	_, err := w.inPod(fmt.Sprintf("dd if=/dev/zero of=/data/%s bs=1M count=%d conv=fsync", file, mebibytes))
	return err
}

// dfShows waits until df in the pod writer shows its volume with this size.
func (w *world) dfShows(size string, patience time.Duration) {
	w.T.Helper()
	wait, want := *w.Namespace, resource.MustParse(size)
	wait.Patience = patience
	wait.Eventually("df in the pod shows "+size, func() error {
		out, err := w.inPod("df -Pk /data")
		if err != nil {
			return err
		}
		if fields := strings.Fields(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]); len(fields) < 2 || fields[1] != fmt.Sprint(want.Value()>>10) {
			return fmt.Errorf("it shows %s", out)
		}
		return nil
	})
}

// kubeletShows waits until kubelet's figures have the claim data with this size.
func (w *world) kubeletShows(size string) {
	w.T.Helper()
	want := resource.MustParse(size)
	line := regexp.MustCompile(`(?m)^kubelet_volume_stats_capacity_bytes\{namespace="` + w.Name + `",persistentvolumeclaim="data"\} (\S+)$`)
	w.Eventually("kubelet's volume stats show "+size, func() error {
		metrics, err := w.node.Admin.CoreV1().RESTClient().Get().
			AbsPath("/api/v1/nodes", node.Name, "proxy/metrics").DoRaw(w.T.Context())
		if err != nil {
			return err
		}
		found := line.FindSubmatch(metrics)
		if found == nil {
			return fmt.Errorf("they do not have the claim")
		}
		if got, err := strconv.ParseFloat(string(found[1]), 64); err != nil || int64(got) != want.Value() {
			return fmt.Errorf("they show %s bytes", found[1])
		}
		return nil
	})
}
