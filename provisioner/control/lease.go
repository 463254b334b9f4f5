package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

// watchdogGrace is how long a leader may outlive its expired lease before Healthy returns an error.
const watchdogGrace = 20 * time.Second

// leaseNameReadable is how many characters of the provisioner's name the Lease's name contains. A
// Lease's name may have 253 characters.
const leaseNameReadable = 200

// Lease describes the election of one of several replicas.
type Lease struct {
	Namespace string
	// Identity is the unique name of this replica.
	Identity string
	// Duration is how long the other replicas wait for a lease that is not renewed. RenewDeadline
	// is the age of the lease at which the leader gives up. RetryPeriod is the wait between
	// attempts to renew it. Zero means 15 s, 10 s and 2 s.
	Duration, RenewDeadline, RetryPeriod time.Duration
}

// LeaseName returns the Lease's name for a provisioner name. A provisioner name may have characters
// that a Lease's name may not, and be too long. LeaseName replaces such characters by '-', cuts the
// name, and appends a hash that keeps different names apart.
func LeaseName(provisioner string) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(provisioner))
	readable = readable[:min(len(readable), leaseNameReadable)]
	sum := sha256.Sum256([]byte(provisioner))
	return fmt.Sprintf("claimdir-%s-%s", strings.Trim(readable, "-"), hex.EncodeToString(sum[:4]))
}

// newElector does not let the elector release the lease: the elector would also do so after it has
// lost the lease, before it reports the loss, or while an operation hangs. See releaseLease.
func (c *Controller) newElector(onLead func()) (*leaderelection.LeaderElector, error) {
	lease := c.config.Leadership.lease
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          agedLock{c.leaseLock(), c.config.Leadership},
		LeaseDuration: lease.Duration,
		RenewDeadline: lease.RenewDeadline,
		RetryPeriod:   lease.RetryPeriod,
		Name:          c.config.Informers.Names()[0],
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { onLead() },
			OnStoppedLeading: func() {}, // Run of the elector returns then, and c.Run waits for that
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the lease: %w", err)
	}
	c.watchdog.SetLeaderElection(elector)
	return elector, nil
}

func (c *Controller) leaseLock() *resourcelock.LeaseLock {
	lease := c.config.Leadership.lease
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: LeaseName(c.config.Informers.Names()[0])},
		Client:     c.config.Clients.Lease.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: lease.Identity},
	}
}

// releaseLease releases the lease if this replica holds it, so that another replica need not wait
// until it expires. The elector must have ended. It retries conflicts, because the last renewal of
// the elector may still arrive.
func (c *Controller) releaseLease(ctx context.Context) error {
	lock := c.leaseLock()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		record, _, err := lock.Get(ctx)
		if err != nil || record.HolderIdentity != lock.Identity() {
			return err
		}
		klog.FromContext(ctx).Info("Releasing the lease")
		now := metav1.Now()
		return lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaseDurationSeconds: 1, // 0 is not valid
			AcquireTime:          now,
			RenewTime:            now,
			LeaderTransitions:    record.LeaderTransitions,
		})
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}
