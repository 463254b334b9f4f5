package cluster

import (
	"context"
	"testing"
	"time"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

// TestSnapshots has a control plane of its own: the CRDs of VolumeSnapshots come late there, and the snapshot-controller runs,
// which no other case needs.
func TestSnapshots(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{Progress: t.Output(), ControlPlane: controlplane.Options{AuditPolicy: controlplane.AuditMetadata}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	withoutClass(t, bed)
	t.Run("late", func(t *testing.T) { testSnapshotsLate(t, bed) })
	if t.Failed() {
		return
	}
	t.Run("case", func(t *testing.T) {
		for _, c := range snapshotCases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.test(t, bed)
			})
		}
	})
	t.Run("RBAC grants what is used and no more", func(t *testing.T) { testSnapshotRBAC(t, bed) })
}

var snapshotCases = []testCase{
	{"a snapshot is ready, and says what the API promises", testSnapshot},
	{"a snapshot is deleted as its class says", testSnapshotDeleted},
	{"a snapshot that names no class gets the default one", testSnapshotDefaultClass},
	{"what is not ours or not allowed is left alone or refused", testSnapshotRefused},
	{"a hostile VolumeSnapshotContent gets nothing", testSnapshotHostile},
	{"kill -9 while snapshots are made", testSnapshotKilled},
	{"a claim is restored from a snapshot", testSnapshotRestored},
	{"a snapshot is deleted while a claim is restored from it", testSnapshotDeletedWhileRestored},
	{"the cluster is lost, and its snapshots are recovered", testSnapshotRecovered},
	{"many snapshots at once", testSnapshotMany},
	{"with components/hardening claimdir may only touch its own snapshots", testSnapshotHardened},
}
