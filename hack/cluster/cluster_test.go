package cluster

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{
		Progress:     t.Output(),
		ControlPlane: controlplane.Options{AuditPolicy: controlplane.AuditMetadata},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})

	withoutClass(t, bed)
	t.Run("case", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.test(t, bed)
			})
		}
	})
	t.Run("alone", func(t *testing.T) {
		for _, c := range alone {
			t.Run(c.name, func(t *testing.T) { c.test(t, bed) })
		}
	})
	t.Run("outage", func(t *testing.T) { testOutage(t, bed) }) // alone: it stops the API server
	t.Run("RBAC grants what is used and no more", func(t *testing.T) { testRBAC(t, bed) })
}

type testCase struct {
	name string
	test func(*testing.T, *testbed.Bed)
}

// alone are the cases with classes like those of the manifests, which doctor judges in any
// test.
var alone = []testCase{
	{"the manifests in another namespace and under other names", testRenamed},
	{"with components/hardening claimdir may only touch its own volumes", testHardened},
	{"with components/hardening claimdir takes over the volumes of others, on several shares", testHardenedTakeover},
	{"components/pdb and components/egress are about claimdir's pods", testPodPolicies},
	{"doctor names the class and the volumes that nobody serves", testUnserved},
}

var cases = []testCase{
	{"a claim is bound to a directory of its own", testBind},
	{"the volume carries what the class and the claim say", testVolumeFields},
	{"delete removes the directory", testDelete},
	{"delete of many files, killed, is completed", testDeleteKilled},
	{"what cannot be removed is told of and tried again", testTrashFails},
	{"Prometheus alerts when a share stalls, and when it is back it does not", testAlert},
	{"archive renames the directory aside", testArchive},
	{"a claim gets its archive back, and only one of two does", testRestore},
	{"a claim that replaces one gets its latest data, however fast it is", testReplace},
	{"a volume that comes back after its release gets its archive", testObjectsBack},
	{"a volume that comes back after its release gets its directory from the trash", testTrashBack},
	{"an archive ends when its time is over", testRetention},
	{"retain keeps the directory, and the same claim gets it back", testRetain},
	{"a volume that is handed to another namespace is that one's in everything", testHandOver},
	{"a namespace that is made anew gets nothing of the earlier one", testNamespaceAnew},
	{"a record that does not say its namespace is completed", testNamespaceRecorded},
	{"a volume whose PersistentVolume was removed by force ends when its claim is made again", testLost},
	{"the policy on the volume decides, not the class", testPolicyOnVolume},
	{"a volume deleted before its claim still has its policy honoured", testVolumeFirst},
	{"a class that is gone is not missed on release", testClassGone},
	{"a claim is a copy of another, and both are their own", testClone},
	{"a copy outlives its source and the kill of claimdir", testCloneOfDeleted},
	{"a copy whose claim goes leaves nothing", testCloneCancelled},
	{"what cannot be a copy is refused with an event", testCloneRefused},
	{"a copy on another share than its source", testCloneToAnotherShare},
	{"a copy of an archive, which stays", testCopyOfArchive},
	{"a claim is expanded, and others' conditions stay", testExpand},
	{"an expansion counts for a quota", testExpandQuota},
	{"an expansion that was cut off goes on", testExpandGoesOn},
	{"many expansions, and the leader is killed", testExpandMany},
	{"a namesake gets nothing of an expansion", testExpandNamesake},
	{"a class asks for room", testRoom},
	{"what a volume holds is measured, told and frozen", testUsage},
	{"with EXPAND_MOUNTED=false a volume grows when no pod uses it", testExpandUnused},
	{"a late-binding claim is bound once a node is selected", testLateBinding},
	{"200 claims at once", testMany},
	{"two claims for one path: the second is refused until the first is gone", testSamePath},
	{"a claim that is being deleted is not provisioned", testDeletedClaim},
	{"a claim for a populator is left alone", testPopulator},
	{"what cannot be provisioned is refused with an event", testRefusedClaims},
	{"a claim that names a volume that does not exist is told so", testAbsentVolume},
	{"a class with mistakes is refused with an event, and its claims bound when it is made anew", testRefusedClass},
	{"volumes that are not ours to touch are refused with an event", testRefusedVolumes},
	{"a volume without directory is let go", testDirectoryGone},
	{"SIGTERM in the middle of a backlog", testStop},
	{"kill -9 in the middle of a backlog", testKill},
	{"two replicas, the leader killed", testFailover},
	{"two replicas, the leader paused", testPausedLeader},
	{"the metrics tell what happened", testMetrics},
	{"the page shows volumes, refused claims and room, at its own address alone", testPage},
	{"logs are JSON if asked for", testJSONLogs},
	{"a bad configuration names every problem", testBadConfiguration},
	{"an API server that cannot stream lists", testLists},
	{"a volume that the API server refuses is told on the claim", testRefusedByServer},
	{"the manifests keep the Pod Security profiles they promise", testPodSecurity},
	{"kubectl claimdir works with the rights of its user", testPlugin},
	{"peer: a claim that names its class by annotation", testPeerAnnotatedClaim},
	{"peer: a class with archiveOnDelete", testPeerArchiveOnDelete},
	{"peer: the Deployment's environment, trailing slash too", testPeerEnvironment},
	{"peer: a class with a pattern of namespace and annotation", testPeerPattern},
	{"a directory that no record names is never deleted", testUnrecorded},
	{"several shares, and where their volumes lie", testSeveralShares},
	{"a share that is not served any more", testShareTakenAway},
	{"a share that hangs", testHang},
	{"a claim that goes while its share hangs leaves nothing", testHangAndGo},
	{"errors of a share are told", testErrnos},
	{"a share that fails every call", testFailingShare},
	{"stale handles", testStaleHandles},
	{"answers that are lost", testLostAnswers},
	{"a mount that is lost, or exchanged", testLostMount},
	{"doctor finds what does not fit together, and nothing else", testDoctor},
	{"what nobody comes back for is swept, and doctor --fix mends the rest", testSweep},
	{"a share of the older layout is gone on with", testUpgrade},
	{"a share that has a new address", testNewAddress},
	{"a share that has a new address, and a claim deleted in between", testLostAndDeleted},
	{"peer: its volumes are taken over and go as its classes say", testPeerVolumes},
	{"peer: its volumes go back to it, and come back to claimdir", testHandback},
}

// withoutClass removes the class of the manifests. Nobody serves it, as no kubelet runs their pod, and
// doctor would say so in every test.
func withoutClass(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	if err := bed.Admin.StorageV1().StorageClasses().Delete(t.Context(), "claimdir", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
