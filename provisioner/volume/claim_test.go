package volume

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/refusal"
)

func TestClaimsThatADirectoryCannotServe(t *testing.T) {
	text := func(s string) *string { return &s }
	mode := func(m v1.PersistentVolumeMode) *v1.PersistentVolumeMode { return &m }
	type claim = v1.PersistentVolumeClaim
	for name, tt := range map[string]struct {
		change func(*claim)
		says   string // empty: the claim is served
		ignore bool   // it is a populator's
	}{
		"plain":      {func(*claim) {}, "", false},
		"Filesystem": {func(c *claim) { c.Spec.VolumeMode = mode(v1.PersistentVolumeFilesystem) }, "", false},
		"Block":      {func(c *claim) { c.Spec.VolumeMode = mode(v1.PersistentVolumeBlock) }, `spec.volumeMode "Block"`, false},
		"too large": {func(c *claim) {
			c.Annotations = map[string]string{"claimdir/too-large": "20000 bytes; at most 16384 are allowed"}
		}, "the claim has 20000 bytes; at most 16384 are allowed; shorten its annotations and labels", false},
		"a selector":          {func(c *claim) { c.Spec.Selector = &metav1.LabelSelector{} }, "spec.selector", false},
		"attributes class":    {func(c *claim) { c.Spec.VolumeAttributesClassName = text("gold") }, `spec.volumeAttributesClassName "gold"`, false},
		"no attributes class": {func(c *claim) { c.Spec.VolumeAttributesClassName = text("") }, "", false},
		"a claim as source": {func(c *claim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "old"}
		}, "", false},
		"a claim as source, by reference": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text(""), Kind: "PersistentVolumeClaim", Name: "old"}
		}, "", false},
		"a claim as source, and an archive": {func(c *claim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "old"}
			c.Annotations = map[string]string{AnnotationRestore: RestoreLatest}
		}, `spec.dataSource PersistentVolumeClaim "old" and annotation claimdir/restore: a volume has one origin`, false},
		"a claim of another namespace": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text(""), Kind: "PersistentVolumeClaim", Name: "old", Namespace: text("other")}
		}, `spec.dataSourceRef.namespace "other"`, false},
		"a snapshot as source": {func(c *claim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: text("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "snap"}
		}, "", false},
		"a populator's object": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "Backup", Name: "b"}
		}, `spec.dataSource Backup "b"`, true},
		"a populator's object named like a claim": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "PersistentVolumeClaim", Name: "b"}
		}, "spec.dataSource", true},
		"a populator's object named like a snapshot": {func(c *claim) {
			c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: text("example.com"), Kind: "VolumeSnapshot", Name: "b"}
		}, "spec.dataSource", true},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := described()
			tt.change(c)
			if got := ForPopulator(c); got != tt.ignore {
				t.Errorf("ForPopulator says %v", got)
			}
			err := Check(c)
			if tt.says == "" {
				must(t, err)
				return
			}
			refused(t, err, refusal.ReasonClaim, tt.says)
		})
	}
}

// The class is read from the field and, where an old cluster wrote that, from the
// annotation.
func TestClassOfClaimAndPV(t *testing.T) {
	named := "named"
	c, pv := &v1.PersistentVolumeClaim{}, &v1.PersistentVolume{}
	if ClassOfClaim(c) != "" || ClassOfPV(pv) != "" {
		t.Error("a class where none is named")
	}
	c.Spec.StorageClassName, pv.Spec.StorageClassName = &named, named
	if ClassOfClaim(c) != named || ClassOfPV(pv) != named {
		t.Error("the field is not read")
	}
	old := map[string]string{"volume.beta.kubernetes.io/storage-class": "old"}
	c.Annotations, pv.Annotations = old, old
	if ClassOfClaim(c) != "old" || ClassOfPV(pv) != "old" {
		t.Error("the annotation is not read")
	}
}
