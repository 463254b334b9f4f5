package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
)

const oursName = "example.com/nfs"

// copyWorld is a share and a cluster in which claims may be copies of others.
type copyWorld struct {
	*world
	*copyCluster

	ended chan struct{} // of the jobs
}

// copyCluster is what the API server and the caches say; both are the same.
type copyCluster struct {
	mu     sync.Mutex
	claims map[string]*v1.PersistentVolumeClaim // by name
	pvs    map[string]*v1.PersistentVolume
	silent error // what the API server answers instead
	told   []string
	asked  chan string // has the name of each claim for which the library shall ask again
}

func newCopyWorld(t *testing.T) *copyWorld {
	t.Helper()
	return copyWorldIn(t, t.TempDir())
}

func copyWorldIn(t *testing.T, dir string) *copyWorld {
	t.Helper()
	w := &copyWorld{worldOn(sharetest.NewWorldIn(t, dir)), &copyCluster{claims: map[string]*v1.PersistentVolumeClaim{}, pvs: map[string]*v1.PersistentVolume{}, asked: make(chan string, 100)}, make(chan struct{})}
	w.Seen.Namespaces["ns"] = "ns-uid"
	w.serve(t)
	return w
}

// serve lets the Provisioner make copies.
func (w *copyWorld) serve(t *testing.T) {
	t.Helper()
	jobs := copies.New(copies.Config{AtOnce: 2, Workers: 2})
	w.Copies = &Copies{
		Jobs: jobs, Names: pvs.Names{oursName}, Objects: w.copyCluster, Live: w.copyCluster,
		Tell: func(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, strings.Join([]string{claim.Name, kind, reason, text}, " "))
		},
		Retry: func(claim *v1.PersistentVolumeClaim) { w.asked <- claim.Name },
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); <-w.ended })
	go func() { jobs.Run(ctx); close(w.ended) }()
}

func (c *copyCluster) CopiesOf(namespace, name string) []*v1.PersistentVolumeClaim {
	return c.unbound(namespace, func(claim *v1.PersistentVolumeClaim) bool {
		source := pvs.DataSource(claim)
		return pvs.IsClaim(source) && source.Name == name
	})
}

func (c *copyCluster) RestoresOf(namespace, name string) []*v1.PersistentVolumeClaim {
	return c.unbound(namespace, func(claim *v1.PersistentVolumeClaim) bool {
		source := pvs.DataSource(claim)
		return pvs.IsSnapshot(source) && source.Name == name
	})
}

func (c *copyCluster) CopiesOfArchive(namespace, pv, name string) []*v1.PersistentVolumeClaim {
	return c.unbound(namespace, func(claim *v1.PersistentVolumeClaim) bool {
		archive := pvs.ArchiveToCopy(claim)
		return archive == pv || archive == pvs.Latest && claim.Name == name
	})
}

func (c *copyCluster) unbound(namespace string, is func(claim *v1.PersistentVolumeClaim) bool) (found []*v1.PersistentVolumeClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range c.claims {
		if claim.Spec.VolumeName == "" && claim.Namespace == namespace && is(claim) {
			found = append(found, claim)
		}
	}
	return found
}

func (c *copyCluster) UnboundClaim(namespace, name string) (*v1.PersistentVolumeClaim, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	claim := c.claims[name]
	return claim, claim != nil && claim.Namespace == namespace && claim.Spec.VolumeName == ""
}

func (c *copyCluster) Released() (found []*v1.PersistentVolume) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pv := range c.pvs {
		if pv.Status.Phase == v1.VolumeReleased {
			found = append(found, pv)
		}
	}
	return found
}

func (c *copyCluster) Claim(_ context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if claim := c.claims[name]; claim != nil && claim.Namespace == namespace {
		return claim, c.silent
	}
	return nil, c.silent
}

func (c *copyCluster) Volume(_ context.Context, name string) (*v1.PersistentVolume, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pvs[name], c.silent
}

func (c *copyCluster) Gone(_ context.Context, r ledger.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if claim := c.claims[r.Claim.Name]; claim != nil && string(claim.UID) == r.Claim.UID || c.pvs[r.PV] != nil {
		return errors.New("it may be needed")
	}
	return c.silent
}

// change changes the cluster while jobs run.
func (c *copyCluster) change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// at is when things happen: minutes after the beginning.
func minute(n int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC))
}

// hasBound makes the claim "source" with its volume pvc-0, and files.
func (w *copyWorld) hasBound(t *testing.T) {
	t.Helper()
	o := options("ns/source", "pvc-0", at("source"))
	pv := w.provision(t, o)
	w.Tree(t, "source/file", "source/sub/file")
	pv.Annotations["pv.kubernetes.io/provisioned-by"] = oursName
	pv.Status.Phase, pv.CreationTimestamp = v1.VolumeBound, minute(1)
	o.PVC.Spec.VolumeName, o.PVC.Status.Phase, o.PVC.CreationTimestamp = pv.Name, v1.ClaimBound, minute(1)
	w.change(func() { w.claims["source"], w.pvs["pvc-0"] = o.PVC, pv })
}

// wants makes a claim that is to be a copy of "source".
func (w *copyWorld) wants(t *testing.T, name, pv string, class ...string) controller.ProvisionOptions {
	t.Helper()
	o := options("ns/"+name, pv, at("team/"+name, class...))
	o.StorageClass.Provisioner = oursName
	o.PVC.Spec.StorageClassName = &o.StorageClass.Name
	o.PVC.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "source"}
	o.PVC.CreationTimestamp = minute(10)
	w.Seen.Classes[o.StorageClass.Name] = o.StorageClass
	w.change(func() { w.claims[name] = o.PVC })
	return o
}

// made asks for the volume as often as the library does, and returns it or what it was refused for.
func (w *copyWorld) made(t *testing.T, o controller.ProvisionOptions) (*v1.PersistentVolume, error) {
	t.Helper()
	for {
		pv, _, err := w.Provision(t.Context(), o)
		if _, ignored := errors.AsType[*controller.IgnoredError](err); !ignored {
			return pv, err
		}
		select {
		case <-w.asked:
		case <-time.After(time.Minute):
			t.Fatal("nobody asks for the claim again")
		}
	}
}

// events are what was told so far.
func (w *copyWorld) events() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

// room lets the share have so much.
func (w *copyWorld) hasRoom(free uint64) {
	w.room = func(*access.Keeper) share.Room { return share.Room{Size: 1 << 40, Free: free} }
}

func gib(n string) v1.ResourceList { return v1.ResourceList{v1.ResourceStorage: resource.MustParse(n)} }
