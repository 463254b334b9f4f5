package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// testRBAC compares what the cases before it asked the API server for, as its
// audit log tells, with what the manifests grant. Both must be the same.
func testRBAC(t *testing.T, bed *testbed.Bed) {
	sameVerbs(t, auditedVerbs(t, bed, false), grantedVerbs(t, bed, "claimdir"))
}

// testSnapshotRBAC is testRBAC for the rights of the component of snapshots.
func testSnapshotRBAC(t *testing.T, bed *testbed.Bed) {
	clusterRole := grantedVerbs(t, bed, "claimdir-snapshots")
	maps.DeleteFunc(clusterRole, func(call string, _ bool) bool { return strings.HasSuffix(call, " leases") })
	sameVerbs(t, auditedVerbs(t, bed, true), clusterRole)
}

// sameVerbs compares what was asked for with what is granted.
func sameVerbs(t *testing.T, used, granted map[string]bool) {
	t.Helper()
	for _, call := range slices.Sorted(maps.Keys(used)) {
		if !granted[call] {
			t.Errorf("used and not granted: %s", call)
		}
	}
	for _, call := range slices.Sorted(maps.Keys(granted)) {
		if !used[call] {
			t.Errorf("granted and never used: %s", call)
		}
	}
	t.Logf("used: %v", slices.Sorted(maps.Keys(used)))
}

// auditedVerbs returns what was asked for, whether it was refused or not.
// ofSnapshots says: of the snapshot API alone; otherwise of all others.
func auditedVerbs(t *testing.T, bed *testbed.Bed, ofSnapshots bool) map[string]bool {
	t.Helper()
	file, err := os.Open(bed.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	used := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef *struct{ Resource, Subresource, APIGroup string }
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.User.Username != testbed.ServiceAccount || event.ObjectRef == nil {
			continue
		}
		if snapshots := event.ObjectRef.APIGroup == "snapshot.storage.k8s.io"; snapshots != ofSnapshots {
			continue
		}
		resource := event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			resource += "/" + event.ObjectRef.Subresource
		}
		used[fmt.Sprintf("%s %s", event.Verb, resource)] = true
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return used
}

// grantedVerbs returns what a ClusterRole and the Role grant.
func grantedVerbs(t *testing.T, bed *testbed.Bed, clusterRoleName string) map[string]bool {
	t.Helper()
	clusterRole, err := bed.Admin.RbacV1().ClusterRoles().Get(t.Context(), clusterRoleName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role, err := bed.Admin.RbacV1().Roles("claimdir").Get(t.Context(), "claimdir", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, rule := range append(slices.Clone[[]rbacv1.PolicyRule](clusterRole.Rules), role.Rules...) {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				call := strings.TrimSpace(fmt.Sprintf("%s %s %s", verb, resource, strings.Join(rule.ResourceNames, ",")))
				granted[call] = true
			}
		}
	}
	return granted
}
