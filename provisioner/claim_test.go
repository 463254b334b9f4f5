package provisioner

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/refusal"
)

// Which claims these are in full, package volume tests.
func TestClaimsThatADirectoryCannotServe(t *testing.T) {
	block, now, group := v1.PersistentVolumeBlock, metav1.Now(), "example.com"
	type claim = v1.PersistentVolumeClaim
	for name, tt := range map[string]struct {
		change func(*claim)
		says   string // empty: the claim is served
		ignore bool   // it is left to somebody else, without an event
	}{
		"plain": {func(*claim) {}, "", false},
		"Block": {func(c *claim) { c.Spec.VolumeMode = &block }, `spec.volumeMode "Block"`, false},
		"a populator's object": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: &group, Kind: "Backup", Name: "b"}
		}, `spec.dataSource Backup "b"`, true},
		"being deleted": {func(c *claim) { c.DeletionTimestamp = &now }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := options("ns/data", "pvc-1", at("data"))
			tt.change(o.PVC)
			if got := w.ShouldProvision(t.Context(), o.PVC); got == tt.ignore {
				t.Errorf("ShouldProvision says %v", got)
			}
			if tt.ignore && tt.says == "" {
				return // the library does not ask further
			}
			_, _, err := w.Provision(t.Context(), o)
			if tt.says == "" {
				must(t, err)
				return
			}
			refused(t, err, refusal.ReasonClaim, true, tt.says)
			w.Holds(t)
		})
	}
}
