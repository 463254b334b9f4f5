package cluster

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"claimdir/hack/testbed"
)

// TestSnapshots has a control plane of its own: the CRDs of VolumeSnapshots come late there, and the snapshot-controller runs,
// which no other case needs.
func TestSnapshots(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{Progress: testWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	withoutClass(t, bed)
	if err := bed.AddSnapshots(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"volumesnapshots", "volumesnapshotclasses", "volumesnapshotcontents"} {
		if _, err := bed.Dynamic.Resource(snapshots(name)).List(ctx, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// snapshots is a resource of the snapshot API.
func snapshots(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: resource}
}
