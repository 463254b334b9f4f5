package control

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/util"

	"claimdir/provisioner/cluster"
)

const (
	// absentLook is the interval between two looks for claims whose volumes are absent.
	absentLook = 10 * time.Second
	// absentGrace is how long a claim's volume must have been absent before an event says so. The
	// claim may have been created first, as by hand or when a cluster is restored.
	absentGrace = time.Minute
	// absentMost is how many such events one look publishes, and how many of them in one
	// namespace: a tenant may create any number of such claims, and must not crowd out the events
	// of others.
	absentMost, absentMostOfOne = 100, 10
)

// absentVolumes tells claims of our classes that they ask for a PersistentVolume that does not
// exist. The library leaves claims with spec.volumeName alone, and Kubernetes waits without an
// event.
type absentVolumes struct {
	claims  func() []*v1.PersistentVolumeClaim // those that name a volume and are not bound to it
	volumes cache.Store
	known   func(*v1.PersistentVolumeClaim) bool // its class exists and is ours
	tell    func(claim *v1.PersistentVolumeClaim, err error)
	waiting map[types.UID]absence // the claims of the last look
}

// absence is how long the volume of a claim has been absent, and when the claim was told last.
type absence struct{ since, told time.Time }

// run looks until ctx is done.
func (a *absentVolumes) run(ctx context.Context) {
	for {
		a.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(absentLook):
		}
	}
}

// look tells the claims whose volumes have been absent for absentGrace: at once, and again at each
// resync, as with other refusals.
func (a *absentVolumes) look(now time.Time) {
	still, told, toldIn := map[types.UID]absence{}, 0, map[string]int{}
	for _, claim := range a.claims() {
		if !a.waits(claim) {
			continue
		}
		absent, before := a.waiting[claim.UID]
		if !before {
			absent.since = now
		}
		due := now.Sub(absent.since) >= absentGrace && (absent.told.IsZero() || now.Sub(absent.told) >= cluster.Resync)
		if due && told < absentMost && toldIn[claim.Namespace] < absentMostOfOne {
			absent.told = now
			told++
			toldIn[claim.Namespace]++
			a.tell(claim, briefError{fmt.Errorf("spec.volumeName asks for volume %q, which does not exist; create that PersistentVolume, or delete the claim and create it again without spec.volumeName: then claimdir makes a volume",
				claim.Spec.VolumeName)})
		}
		still[claim.UID] = absent
	}
	a.waiting = still
}

// waits reports whether a claim of our classes asks for a volume that does not exist.
func (a *absentVolumes) waits(claim *v1.PersistentVolumeClaim) bool {
	if claim.DeletionTimestamp != nil || util.GetPersistentVolumeClaimClass(claim) == "" || !a.known(claim) {
		return false
	}
	_, exists, err := a.volumes.GetByKey(claim.Spec.VolumeName)
	return err == nil && !exists
}

// tellAbsence counts and publishes the refusal of a claim whose volume is absent, and logs it once.
func (g *guard) tellAbsence(ctx context.Context) func(*v1.PersistentVolumeClaim, error) {
	return func(claim *v1.PersistentVolumeClaim, err error) {
		class := util.GetPersistentVolumeClaimClass(claim)
		g.metrics.failures.WithLabelValues(opProvision, class, reasonAbsent).Inc()
		g.remember(opProvision, claim, class, reasonAbsent, err)
		logger := klog.LoggerWithValues(klog.FromContext(ctx), "PVC", klog.KObj(claim), "StorageClass", class)
		g.tell(klog.NewContext(ctx, logger), opProvision, claim, reasonAbsent, err)
	}
}
