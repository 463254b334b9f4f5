// Package vm holds what runs in the virtual machine; this test looks at its table of runs.
package vm

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheRunsOfCIMeetEachPair holds nfs-runs to what it says: a pair that nobody runs is a server that nobody tests.
func TestTheRunsOfCIMeetEachPair(t *testing.T) {
	text, err := os.ReadFile("nfs-runs")
	if err != nil {
		t.Fatal(err)
	}
	met := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			t.Fatalf("not a mount, a package and a part: %q", line)
		}
		values := append([]string{fields[1]}, strings.SplitN(fields[0], "-", 3)...)
		for i, one := range values {
			for _, other := range values[i+1:] {
				met[fields[1]+": "+one+" "+other] = true
			}
		}
	}
	versions, systems := []string{"v3", "v4.1", "v4.2"}, []string{"ext4", "xfs"}
	users := []string{"no_root_squash-root", "no_root_squash-bare", "root_squash-owner"}
	const share = "provisioner/share"
	var want []string
	pairs := func(pkg string, left, right []string) {
		for _, l := range left {
			for _, r := range right {
				want = append(want, fmt.Sprintf("%s: %s %s", pkg, l, r))
			}
		}
	}
	pairs(share, versions, systems)
	pairs(share, versions, users)
	pairs(share, systems, users)
	for _, pkg := range []string{share, "provisioner/ledger", "provisioner/trash", "provisioner"} {
		for _, values := range [][]string{versions, systems, users, {"plain"}} {
			pairs(pkg, []string{pkg}, values)
		}
	}
	pairs("hack/vm/nfscases", []string{"hack/vm/nfscases"}, append(versions, systems...))
	for _, pair := range want {
		if !met[pair] {
			t.Errorf("no run for %s", pair)
		}
	}
}
