package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// watchdogGrace is how long after its lease ran out a leader may still live
// before Healthy complains.
const watchdogGrace = 20 * time.Second

// Lease describes the election of one of several replicas.
type Lease struct {
	Namespace string
	// Identity tells this replica from the others.
	Identity string
	// Duration is how long a lease that is not renewed holds the others off;
	// RenewDeadline how long the leader tries to renew before it gives up;
	// RetryPeriod how long between tries. Zero means 15 s, 10 s and 2 s.
	Duration, RenewDeadline, RetryPeriod time.Duration
}

// LeaseName is the Lease's name for a provisioner name. That may hold capitals
// and a '/', which a Lease's may not, so a hash keeps different names apart.
func LeaseName(provisioner string) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(provisioner))
	sum := sha256.Sum256([]byte(provisioner))
	return fmt.Sprintf("claimdir-%s-%s", strings.Trim(readable, "-."), hex.EncodeToString(sum[:4]))
}

func (c *Controller) newElector(onLead func()) (*leaderelection.LeaderElector, error) {
	lease := *c.config.Lease
	if lease.Duration == 0 {
		lease.Duration, lease.RenewDeadline, lease.RetryPeriod = 15*time.Second, 10*time.Second, 2*time.Second
	}
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: LeaseName(c.config.Name)},
			Client:     c.config.Clients.Lease.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: lease.Identity},
		},
		LeaseDuration:   lease.Duration,
		RenewDeadline:   lease.RenewDeadline,
		RetryPeriod:     lease.RetryPeriod,
		ReleaseOnCancel: true,
		WatchDog:        c.watchdog,
		Name:            c.config.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { onLead() },
			OnStoppedLeading: func() {}, // Run returns then, which is what we wait for
		},
	})
}
