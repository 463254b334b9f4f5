package cluster

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
)

// TestTwoClusters runs two clusters on one export, with the same namespace, claims and class, as a
// cluster and the one that is built to replace it. Each path, archive and retained directory goes
// to one of them. The other cluster's claim waits, and nothing of the winner's is changed.
func TestTwoClusters(t *testing.T) {
	t.Parallel() // with a control plane of its own, and it waits for leases and claims
	const rounds = 25
	c := newTwoClusters(t)
	for _, w := range c {
		w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", "retain", "onExisting", "adopt")
		w.start()
	}
	names := make([]string, rounds)
	for i := range names {
		names[i] = fmt.Sprintf("data-%02d", i)
	}

	owners := c.race(names) // paths that nobody has
	for _, name := range names {
		c[0].put("team/"+name+"/file", name)
	}
	for turn := range 3 { // retained directories, which the classes of both clusters adopt
		for i, name := range names {
			c.release(name, owners[i])
		}
		before := owners
		owners = c.race(names)
		moved := 0
		for i, name := range names {
			c[0].wantFile("team/"+name+"/file", name)
			if owners[i] != before[i] {
				moved++
			}
		}
		t.Logf("turn %d: %d of %d directories went to the other cluster", turn, moved, rounds)
	}
	// A claim that waits gets the directory when the other cluster has released it.
	pv := c[owners[0]].Bound(names[0])
	c[owners[0]].DeleteClaim(names[0])
	c[owners[0]].VolumeGone(pv.Name)
	c[1-owners[0]].Bound(names[0])
	c[0].wantFile("team/"+names[0]+"/file", names[0])
	for i, name := range names[1:] {
		c[owners[i+1]].Bound(name)
		c[0].wantFile("team/"+name+"/file", name)
	}
}

// twoClusters are worlds of two clusters with one share.
type twoClusters [2]*world

func newTwoClusters(t *testing.T) (c twoClusters) {
	t.Helper()
	share := t.TempDir()
	for i := range c {
		bed := begin(t)
		namespace := &clustertest.Namespace{T: t, Admin: bed.Admin, Name: "team", Patience: patience, Poll: 50 * time.Millisecond}
		_, err := bed.Admin.CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace.Name}}, metav1.CreateOptions{})
		namespace.Must(err)
		c[i] = &world{Namespace: namespace, bed: bed, provisioner: "test.claimdir/clusters", share: share}
	}
	return c
}

// race makes claims of each name in both clusters at once, and returns which cluster got it. The
// other one's claim must have been refused, and must stay refused.
func (c twoClusters) race(names []string) (owners []int) {
	c[0].T.Helper()
	for _, name := range names {
		for _, w := range c {
			w.Claim(name)
		}
	}
	for _, name := range names {
		var bound []int
		c[0].Eventually("a cluster gets "+name+", and the other is refused", func() error {
			bound = nil
			refused := 0
			for i, w := range c {
				claim, err := w.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
				w.Must(err)
				if claim.Status.Phase == v1.ClaimBound {
					bound = append(bound, i)
				} else if len(w.Warnings(w.Name, name)) > 0 {
					refused++
				}
			}
			if len(bound)+refused < len(c) {
				return fmt.Errorf("Bound in %v, refused in %d", bound, refused)
			}
			return nil
		})
		if len(bound) != 1 {
			c[0].T.Fatalf("%s is Bound in the clusters %v", name, bound)
		}
		owners = append(owners, bound[0])
	}
	return owners
}

// release deletes the claims of a name in both clusters, the waiting one first, and waits until
// the owner's volume is released.
func (c twoClusters) release(name string, owner int) {
	c[0].T.Helper()
	pv := c[owner].Bound(name)
	for _, w := range []*world{c[1-owner], c[owner]} {
		w.DeleteClaim(name)
		w.Eventually("claim "+name+" is gone", func() error {
			_, err := w.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
			return clustertest.NotFound(err)
		})
	}
	c[owner].VolumeGone(pv.Name)
}
