package main

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/control"
)

// Each class of ours is counted with its mistakes, and nobody else's.
func TestMistakesOfClasses(t *testing.T) {
	class := func(name, provisioner string, params map[string]string, mountOptions ...string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, Parameters: params, MountOptions: mountOptions}
	}
	o, _, s := newOverview(t, control.NewLeadership(nil),
		class("good", pageProvisioner, map[string]string{"share": "fast"}),
		class("typo", pageProvisioner, map[string]string{"share": "fast", "onDelet": "retain", "mode": "high"}, "hard nfsvers=4"),
		class("nowhere", pageProvisioner, map[string]string{"share": "slow"}),
		class("others", "example.com/other", map[string]string{"onDelet": "retain"}))
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(mistakesOf(parts{informers: o.informers, keepers: s.keepers})); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP claimdir_class_mistakes Mistakes in the StorageClass, for which its claims are refused; claimdir doctor lists them.
# TYPE claimdir_class_mistakes gauge
claimdir_class_mistakes{class="good"} 0
claimdir_class_mistakes{class="nowhere"} 1
claimdir_class_mistakes{class="typo"} 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
