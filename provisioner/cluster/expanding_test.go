package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// storage is a list of resources with that size.
func storage(size string) v1.ResourceList {
	return v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
}

// boundTo is a bound claim of 1Gi that requests a size.
func boundTo(name, request string, change ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: "uid-1", ResourceVersion: "7"},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pvc-1", Resources: v1.VolumeResourceRequirements{Requests: storage(request)}},
		Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Capacity: storage("1Gi")},
	}
	for _, c := range change {
		c(claim)
	}
	return claim
}

func TestWhichClaimsAreExpanding(t *testing.T) {
	annotated := func(provisioner string) func(*v1.PersistentVolumeClaim) {
		return func(c *v1.PersistentVolumeClaim) { c.Annotations = map[string]string{storageProvisioner: provisioner} }
	}
	condition := func(kind v1.PersistentVolumeClaimConditionType) func(*v1.PersistentVolumeClaim) {
		return func(c *v1.PersistentVolumeClaim) {
			c.Status.Conditions = append(c.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: kind, Status: v1.ConditionTrue})
		}
	}
	for name, tt := range map[string]struct {
		claim *v1.PersistentVolumeClaim
		want  bool
	}{
		"requests what it has":           {boundTo("a", "1Gi", annotated(ours)), false},
		"requests less, in another unit": {boundTo("a", "1073741823", annotated(ours)), false},
		"requests more":                  {boundTo("a", "1073741825", annotated(ours)), true},
		"of any provisioner":             {boundTo("a", "2Gi", annotated("x/y")), true},
		"bound by hand":                  {boundTo("a", "2Gi"), true},
		"its status says that it grows": {boundTo("a", "1Gi", func(c *v1.PersistentVolumeClaim) {
			c.Status.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: v1.PersistentVolumeClaimControllerResizeInProgress}
		}), true},
		"its conditions say that it grew": {boundTo("a", "1Gi", condition(v1.PersistentVolumeClaimFileSystemResizePending)), true},
		"conditions of others":            {boundTo("a", "1Gi", condition(v1.PersistentVolumeClaimUnused), condition("example.com/backup")), false},
		"not bound yet":                   {boundTo("a", "2Gi", func(c *v1.PersistentVolumeClaim) { c.Status.Phase = v1.ClaimPending }), false},
		"lost":                            {boundTo("a", "2Gi", func(c *v1.PersistentVolumeClaim) { c.Status.Phase = v1.ClaimLost }), false},
	} {
		t.Run(name, func(t *testing.T) {
			trimmed, err := trimmer([]string{ours, "peer"})(tt.claim)
			if err != nil {
				t.Fatal(err)
			}
			if _, got := asExpanding(trimmed); got != tt.want {
				t.Errorf("it grows: %v", got)
			}
			if again, err := trimmer([]string{ours})(trimmed); tt.want && (err != nil || again != trimmed) {
				t.Errorf("trimmed again it is %v, %v", again, err)
			}
		})
	}
}

// Nothing that a tenant can make long is kept of a claim that grows.
func TestAnExpandingClaimIsSmall(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	claim := boundTo("a", "2Gi", func(c *v1.PersistentVolumeClaim) {
		c.Labels, c.Annotations = map[string]string{"app": long}, map[string]string{"note": long}
		c.Spec.Resources.Requests["example.com/other"] = resource.MustParse("1")
		for i := range 100 {
			c.Status.Conditions = append(c.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: v1.PersistentVolumeClaimConditionType(fmt.Sprint(long, i))})
		}
		c.Status.Conditions = append(c.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue, Message: long})
	})
	want := boundTo("a", "2Gi", func(c *v1.PersistentVolumeClaim) {
		c.Status.Conditions = []v1.PersistentVolumeClaimCondition{{Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue}}
	})
	trimmed, err := trimmer([]string{ours})(claim)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := asExpanding(trimmed); !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("kept is %+v", got)
	}
}

func TestExpandingClaimsAreFoundAndWatched(t *testing.T) {
	client := fake.NewClientset(boundTo("grows", "2Gi"), boundTo("rests", "1Gi"))
	i := NewInformers(client, ours)
	var mu sync.Mutex
	var seen []string
	err := i.OnExpanding(func(claim *v1.PersistentVolumeClaim) {
		mu.Lock()
		defer mu.Unlock()
		request := claim.Spec.Resources.Requests[v1.ResourceStorage]
		seen = append(seen, claim.Name+" "+request.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	i.Factory().StartWithContext(ctx)
	i.Factory().WaitForCacheSync(ctx.Done())
	wait := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			got := slices.Clone(seen)
			mu.Unlock()
			if slices.Equal(got, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("saw %q, want %q", got, want)
			}
		}
	}
	wait("grows 2Gi")
	update := func(claim *v1.PersistentVolumeClaim) {
		t.Helper()
		if _, err := client.CoreV1().PersistentVolumeClaims("team").Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	update(boundTo("rests", "3Gi"))
	wait("grows 2Gi", "rests 3Gi")
	if claim, found := i.Expanding(cache.NewObjectName("team", "rests")); !found || claim.Name != "rests" {
		t.Errorf("found %v", claim)
	}
	if all := i.AllExpanding(); len(all) != 2 {
		t.Errorf("found %d", len(all))
	}
	if len(i.Unbound())+len(i.Waiting()) > 0 {
		t.Error("a claim that grows counts as unbound")
	}
	update(boundTo("grows", "2Gi", func(c *v1.PersistentVolumeClaim) { c.Status.Capacity = storage("2Gi") }))
	wait("grows 2Gi", "rests 3Gi", "grows 2Gi") // a last time
	if _, found := i.Expanding(cache.NewObjectName("team", "grows")); found {
		t.Error("it still grows")
	}
	// Its PersistentVolume may be seen after it, and wakes it.
	pv := at("pvc-1", "nas", "/export/a", ours)
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "rests", UID: "uid-1"}
	if _, err := client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("grows 2Gi", "rests 3Gi", "grows 2Gi", "rests 3Gi")
	if _, found := i.Expanding(cache.NewObjectName("team", "none")); found {
		t.Error("found what is not there")
	}
}
