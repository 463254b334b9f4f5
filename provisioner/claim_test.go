package provisioner

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestClaimsThatADirectoryCannotServe(t *testing.T) {
	text := func(s string) *string { return &s }
	mode := func(m v1.PersistentVolumeMode) *v1.PersistentVolumeMode { return &m }
	now := metav1.Now()
	type claim = v1.PersistentVolumeClaim
	for name, tt := range map[string]struct {
		change func(*claim)
		says   string // empty: the claim is served
		ignore bool   // it is left to somebody else, without an event
	}{
		"plain":               {func(*claim) {}, "", false},
		"Filesystem":          {func(c *claim) { c.Spec.VolumeMode = mode(v1.PersistentVolumeFilesystem) }, "", false},
		"Block":               {func(c *claim) { c.Spec.VolumeMode = mode(v1.PersistentVolumeBlock) }, `spec.volumeMode "Block"`, false},
		"a selector":          {func(c *claim) { c.Spec.Selector = &metav1.LabelSelector{} }, "spec.selector", false},
		"attributes class":    {func(c *claim) { c.Spec.VolumeAttributesClassName = text("gold") }, `spec.volumeAttributesClassName "gold"`, false},
		"no attributes class": {func(c *claim) { c.Spec.VolumeAttributesClassName = text("") }, "", false},
		"a claim as source": {func(c *claim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "old"}
		}, `spec.dataSource PersistentVolumeClaim "old"`, false},
		"a claim as source, by reference": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text(""), Kind: "PersistentVolumeClaim", Name: "old", Namespace: text("other")}
		}, `spec.dataSource PersistentVolumeClaim "old"`, false},
		"a snapshot as source": {func(c *claim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: text("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "snap"}
		}, `spec.dataSource VolumeSnapshot "snap"`, false},
		"a populator's object": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "Backup", Name: "b"}
		}, `spec.dataSource Backup "b"`, true},
		"a populator's object named like a claim": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "PersistentVolumeClaim", Name: "b"}
		}, "spec.dataSource", true},
		"a populator's object named like a snapshot": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "VolumeSnapshot", Name: "b"}
		}, "spec.dataSource", true},
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
			refused(t, err, ReasonClaim, true, tt.says)
			w.holds(t)
		})
	}
}
