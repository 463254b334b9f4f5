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
	used, granted := auditedVerbs(t, bed), grantedVerbs(t, bed)
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
func auditedVerbs(t *testing.T, bed *testbed.Bed) map[string]bool {
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
			ObjectRef *struct{ Resource, Subresource string }
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.User.Username != testbed.ServiceAccount || event.ObjectRef == nil {
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

func grantedVerbs(t *testing.T, bed *testbed.Bed) map[string]bool {
	t.Helper()
	clusterRole, err := bed.Admin.RbacV1().ClusterRoles().Get(t.Context(), "claimdir", metav1.GetOptions{})
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
