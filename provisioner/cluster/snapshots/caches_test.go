package snapshots

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A tenant may make VolumeSnapshots of any size: what the caches keep of one is bounded, and is what is read.
func TestTrim(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	meta := metav1.ObjectMeta{
		Namespace: "team", Name: "now", UID: "uid", ResourceVersion: "7", Finalizers: []string{Finalizer},
		Annotations: map[string]string{"a": huge, AnnotationBeingDeleted: "yes", AnnotationDefaultClass: "true", AnnotationRetention: "1h"}, Labels: map[string]string{"l": huge},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: huge}},
	}
	c := NewCaches(nil, []string{"ours"})
	size := func(object any) int {
		t.Helper()
		kept, err := c.trim(object)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	const most = 1500
	snapshot := &VolumeSnapshot{ObjectMeta: meta, Spec: SnapshotSpec{Source: SnapshotSource{Claim: new(huge), Content: new(huge)}, Class: new(huge)}}
	if n := size(snapshot); n > most || len(*snapshot.Spec.Source.Claim) > 100 || snapshot.Name != "now" {
		t.Errorf("of a VolumeSnapshot %d bytes are kept", n)
	}
	class := &VolumeSnapshotClass{ObjectMeta: meta, Driver: "ours"}
	if n := size(class); n > most || class.Annotations[AnnotationDefaultClass] != "true" {
		t.Errorf("of a class %d bytes are kept: %v", n, class.Annotations)
	}
	content := &VolumeSnapshotContent{ObjectMeta: meta, Spec: ContentSpec{Driver: "ours"}}
	if n := size(content); n > most || content.Annotations[AnnotationBeingDeleted] != "yes" || content.Annotations[AnnotationRetention] != "1h" || len(content.Finalizers) != 1 {
		t.Errorf("of a content %d bytes are kept: %+v", n, content.ObjectMeta)
	}
	foreign := &VolumeSnapshotContent{ObjectMeta: meta, Spec: ContentSpec{Driver: "theirs", Source: ContentSource{SnapshotHandle: new(huge)}}}
	if n := size(foreign); n > most {
		t.Errorf("of a foreign content %d bytes are kept", n)
	}
}
