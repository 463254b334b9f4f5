package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// TestClusterLost: 200 volumes with content, of all policies; the control plane
// goes with its etcd, a new one comes, and what claimdir recover prints brings
// every claim back to its own data.
func TestClusterLost(t *testing.T) {
	t.Parallel() // with a control plane of its own, and it waits for leases and claims
	const perPolicy, provisioner = 67, "test.claimdir/recover"
	share, policies := t.TempDir(), []string{"delete", "archive", "retain"}
	lost := begin(t)
	old := &world{Namespace: clustertest.New(t, lost.Admin, patience, 50*time.Millisecond, nil), bed: lost, provisioner: provisioner, share: share}
	old.process = old.start()
	content := map[string]string{} // of each claim's directory
	for _, policy := range policies {
		class := old.peerClass(provisioner, policy, "onDelete", policy)
		for i := range perPolicy {
			old.Claim(fmt.Sprintf("%s-%03d", policy, i), clustertest.OfClass(class))
		}
		for i := range perPolicy {
			claim := fmt.Sprintf("%s-%03d", policy, i)
			content[claim] = dirOf(old.Bound(claim))
			old.put(content[claim]+"/file", claim)
		}
	}
	// Two that are released and kept are taken up again, too.
	for _, claim := range []string{"retain-000", "retain-001"} {
		pv := old.Bound(claim).Name
		old.DeleteClaim(claim)
		old.VolumeGone(pv)
	}
	old.process.Kill()
	if err := lost.Close(); err != nil { // its etcd goes with it
		t.Fatal(err)
	}

	bed := begin(t)
	config := testbed.Config{Share: share, Provisioner: provisioner}
	manifests, err := bed.Run(t.Context(), config, "recover")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(manifests, "kind: PersistentVolume\n"); n != len(policies)*perPolicy {
		t.Fatalf("%d volumes are printed", n)
	}
	if _, err := bed.KubectlInput(t.Context(), manifests, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w := &world{Namespace: &clustertest.Namespace{T: t, Admin: bed.Admin, Name: old.Name, Patience: patience, Poll: 50 * time.Millisecond}, bed: bed, provisioner: provisioner, share: share}
	for claim, dir := range content {
		if got := dirOf(w.Bound(claim)); got != dir {
			t.Errorf("%s is bound to %s, and was to %s", claim, got, dir)
		}
		w.wantFile(dir+"/file", claim)
	}
	w.afterRecovery(content)
}

func begin(t *testing.T) *testbed.Bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bed.Close() }) // again, where the test has come so far
	withoutClass(t, bed)
	return bed
}

// afterRecovery: claimdir serves what came back as it serves all else.
func (w *world) afterRecovery(content map[string]string) {
	w.T.Helper()
	w.process = w.start()
	w.logged("Took over volumes that others made", fmt.Sprintf("volumes=%d", len(content)))
	for claim, left := range map[string]string{"delete-000": "", "archive-000": "archived-" + content["archive-000"], "retain-000": content["retain-000"]} {
		pv := w.Bound(claim)
		w.DeleteClaim(claim)
		w.VolumeGone(pv.Name)
		if left != "" {
			w.wantFile(left+"/file", claim)
		} else if _, err := os.Lstat(filepath.Join(w.share, content[claim])); !os.IsNotExist(err) {
			w.T.Errorf("the directory of %s is still there: %v", claim, err)
		}
	}
}
