package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// growingClass makes the world's StorageClass, which allows expansion.
func (w *world) growingClass() {
	w.T.Helper()
	w.createClass(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: w.provisioner, AllowVolumeExpansion: new(true)})
}

// resize changes what a claim requests.
func (w *world) resize(claim, size string) error {
	w.T.Helper()
	return w.patchSize(claim, size, metav1.PatchOptions{})
}

// tryResize is a resize that the API server only checks.
func (w *world) tryResize(claim, size string) error {
	w.T.Helper()
	return w.patchSize(claim, size, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
}

func (w *world) patchSize(claim, size string, options metav1.PatchOptions) error {
	w.T.Helper()
	patch := fmt.Sprintf(`{"spec":{"resources":{"requests":{"storage":%q}}}}`, size)
	_, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Patch(w.T.Context(), claim, types.MergePatchType, []byte(patch), options)
	return err
}

// setStatus changes a claim's status, as somebody else than claimdir does.
func (w *world) setStatus(claim, patch string) {
	w.T.Helper()
	_, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Patch(w.T.Context(), claim, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	w.Must(err)
}

// getClaim reads a claim from the API server.
func (w *world) getClaim(claim string) *v1.PersistentVolumeClaim {
	w.T.Helper()
	c, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), claim, metav1.GetOptions{})
	w.Must(err)
	return c
}

// expanded waits until the claim, its PersistentVolume and the record of that say the size, and checks that
// nothing is left of the expansion.
func (w *world) expanded(claim, size string) *v1.PersistentVolumeClaim {
	w.T.Helper()
	var c *v1.PersistentVolumeClaim
	want := resource.MustParse(size)
	w.Eventually(fmt.Sprintf("claim %s has %s", claim, size), func() error {
		c = w.getClaim(claim)
		if got := c.Status.Capacity[v1.ResourceStorage]; got.Cmp(want) != 0 {
			return fmt.Errorf("it has %s", got.String())
		}
		if len(c.Status.AllocatedResourceStatuses) > 0 {
			return fmt.Errorf("its status still says %v", c.Status.AllocatedResourceStatuses)
		}
		return nil
	})
	for _, condition := range c.Status.Conditions {
		if strings.Contains(string(condition.Type), "Resiz") {
			w.T.Errorf("claim %s has the condition %+v", claim, condition)
		}
	}
	pv, err := w.bed.Admin.CoreV1().PersistentVolumes().Get(w.T.Context(), c.Spec.VolumeName, metav1.GetOptions{})
	w.Must(err)
	for what, list := range map[string]v1.ResourceList{"the PersistentVolume": pv.Spec.Capacity, "what is allocated": c.Status.AllocatedResources} {
		if got := list[v1.ResourceStorage]; got.Cmp(want) != 0 {
			w.T.Errorf("%s of claim %s is %s, want %s", what, claim, got.String(), size)
		}
	}
	path := strings.TrimPrefix(pv.Spec.NFS.Path, testbed.Export+"/")
	data, err := os.ReadFile(filepath.Join(w.share, w.recordFile(path, pv.Name)))
	w.Must(err)
	var record struct{ Size string }
	w.Must(json.Unmarshal(data, &record))
	if record.Size != size {
		w.T.Errorf("the record of claim %s says %s, want %s", claim, record.Size, size)
	}
	return c
}

func testExpand(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.growingClass()
	w.Claim("data")
	w.Bound("data")
	const others = `{"type":"example.com/backup","status":"False","reason":"AtNight","message":"nobody's business","lastTransitionTime":"2026-01-02T03:04:05Z"}`
	w.setStatus("data", `{"status":{"conditions":[`+others+`]}}`)
	begin := time.Now()
	w.Must(w.resize("data", "5Gi"))
	c := w.expanded("data", "5Gi")
	t.Logf("expanded after %v", time.Since(begin).Round(time.Millisecond))
	found := false
	for _, condition := range c.Status.Conditions {
		if condition.Type == "example.com/backup" {
			text, err := json.Marshal(condition)
			w.Must(err)
			var got, want any
			w.Must(json.Unmarshal(text, &got))
			w.Must(json.Unmarshal([]byte(others), &want))
			delete(got.(map[string]any), "lastProbeTime") //nolint:forcetypeassert // a condition is an object
			if found = fmt.Sprint(got) == fmt.Sprint(want); !found {
				t.Errorf("the condition of others is %v, want %v", got, want)
			}
		}
	}
	if !found {
		t.Errorf("the condition of others is gone: %v", c.Status.Conditions)
	}
	w.EventOfAnyType(w.Name, "data", "VolumeResizeSuccessful: the volume has 5Gi now; pods that use it need no restart")
	if err := w.resize("data", "2Gi"); !apierrors.IsInvalid(err) {
		t.Errorf("Kubernetes lets a claim shrink: %v", err)
	}
	w.logged("Expanded volume", "from=\"1Mi\"", "to=\"5Gi\"")
	w.healthy()
}

// Kubernetes refuses a request that a quota does not allow, and counts a complete expansion.
func testExpandQuota(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.growingClass()
	w.Claim("data")
	w.Bound("data")
	_, err := bed.Admin.CoreV1().ResourceQuotas(w.Name).Create(t.Context(), &v1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "quota"},
		Spec:       v1.ResourceQuotaSpec{Hard: v1.ResourceList{v1.ResourceRequestsStorage: resource.MustParse("6Gi")}},
	}, metav1.CreateOptions{})
	w.Must(err)
	w.Eventually("the quota is counted", func() error {
		quota, err := bed.Admin.CoreV1().ResourceQuotas(w.Name).Get(t.Context(), "quota", metav1.GetOptions{})
		if used := quota.Status.Used[v1.ResourceRequestsStorage]; err == nil && used.String() != "1Mi" {
			return fmt.Errorf("used is %s", used.String())
		}
		return err
	})
	// The API server obeys a quota when its own cache has it, which may be later than the quota's status.
	w.Eventually("the quota holds", func() error {
		if err := w.tryResize("data", "7Gi"); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the answer to 7Gi is %v, want Forbidden", err) //nolint:errorlint // nil is an answer, too
		}
		return nil
	})
	if err := w.resize("data", "7Gi"); !apierrors.IsForbidden(err) {
		t.Errorf("the quota does not hold: %v", err)
	}
	w.Must(w.resize("data", "5Gi"))
	w.expanded("data", "5Gi")
	w.Eventually("the expansion is counted", func() error {
		quota, err := bed.Admin.CoreV1().ResourceQuotas(w.Name).Get(t.Context(), "quota", metav1.GetOptions{})
		if used := quota.Status.Used[v1.ResourceRequestsStorage]; err == nil && used.String() != "5Gi" {
			return fmt.Errorf("used is %s", used.String())
		}
		return err
	})
	w.healthy()
}

// The next process completes an expansion that a killed one began, and one that was requested while none
// ran. The request may have changed meanwhile, also to less.
func testExpandGoesOn(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.growingClass()
	const begun = `{"status":{"allocatedResources":{"storage":"5Gi"},"allocatedResourceStatuses":{"storage":"ControllerResizeInProgress"},` +
		`"conditions":[{"type":"Resizing","status":"True"}]}}`
	grow := func(claim string) {
		_, err := bed.Admin.CoreV1().PersistentVolumes().Patch(t.Context(), w.getClaim(claim).Spec.VolumeName, types.MergePatchType,
			[]byte(`{"spec":{"capacity":{"storage":"5Gi"}}}`), metav1.PatchOptions{})
		w.Must(err)
	}
	cases := map[string]struct {
		left func(claim string)
		then string // what is requested then
		want string
	}{
		"asked":      {func(string) {}, "", "5Gi"},
		"begun":      {func(claim string) { w.setStatus(claim, begun) }, "", "5Gi"},
		"begun-more": {func(claim string) { w.setStatus(claim, begun) }, "8Gi", "8Gi"},
		"begun-less": {func(claim string) { w.setStatus(claim, begun) }, "3Gi", "3Gi"},
		"grown":      {func(claim string) { w.setStatus(claim, begun); grow(claim) }, "", "5Gi"},
		"grown-more": {func(claim string) { w.setStatus(claim, begun); grow(claim) }, "8Gi", "8Gi"},
		"grown-less": {func(claim string) { w.setStatus(claim, begun); grow(claim) }, "3Gi", "5Gi"},
	}
	for claim := range cases {
		w.Claim(claim)
	}
	for claim := range cases {
		w.Bound(claim)
	}
	w.process.Kill()
	for claim, c := range cases {
		w.Must(w.resize(claim, "5Gi"))
		c.left(claim)
		if c.then != "" {
			w.Must(w.resize(claim, c.then))
		}
	}
	w.deleteClass() // an expansion that was allowed is completed
	w.process = w.start()
	for claim, c := range cases {
		w.expanded(claim, c.want)
	}
	w.logged("Claims wait for the expansion of their volumes", fmt.Sprintf("claims=%d", len(cases)))
	w.healthy()
}

// Many at once; and once more while the leader is killed and another replica goes on.
func testExpandMany(t *testing.T, bed *testbed.Bed) {
	many := 60
	if text := os.Getenv("CLAIMDIR_TEST_EXPANSIONS"); text != "" { // to measure
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, bed)
	w.growingClass()
	var claims []string
	for i := range many {
		claims = append(claims, fmt.Sprintf("data-%03d", i))
	}
	for _, claim := range claims {
		w.Claim(claim)
	}
	for _, claim := range claims {
		w.Bound(claim)
	}
	begin := time.Now()
	for _, claim := range claims {
		w.Must(w.resize(claim, "2Gi"))
	}
	for _, claim := range claims {
		w.expanded(claim, "2Gi")
	}
	t.Logf("%d expansions after %v", many, time.Since(begin).Round(time.Millisecond))
	other := w.start()
	for i, claim := range claims {
		w.Must(w.resize(claim, "3Gi"))
		if i == many/2 {
			w.process.Kill()
		}
	}
	for _, claim := range claims {
		w.expanded(claim, "3Gi")
	}
	w.process = other
	w.healthy()
}

// A namesake of a claim that grew gets nothing of its expansion.
func testExpandNamesake(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.growingClass()
	w.Claim("data")
	pv := w.Bound("data")
	w.process.Kill()
	w.Must(w.resize("data", "5Gi"))
	w.Must(bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	w.Eventually("the claim is gone", func() error {
		_, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(t.Context(), "data", metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	w.Claim("data")
	w.process = w.start()
	w.VolumeGone(pv.Name)
	if now := w.Bound("data"); now.Name == pv.Name {
		t.Errorf("it got %s", now.Name)
	}
	if size := w.getClaim("data").Status.Capacity[v1.ResourceStorage]; size.String() != "1Mi" {
		t.Errorf("it has %s", size.String())
	}
	w.healthy()
}

// unused waits until Kubernetes says whether no pod uses a claim.
func (w *world) unused(claim string, want bool) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("Kubernetes says of the claim: unused %v", want), func() error {
		for _, c := range w.getClaim(claim).Status.Conditions {
			if c.Type == v1.PersistentVolumeClaimUnused && (c.Status == v1.ConditionTrue) == want {
				return nil
			}
		}
		return fmt.Errorf("conditions: %+v", w.getClaim(claim).Status.Conditions)
	})
}

// With EXPAND_MOUNTED=false a volume grows when no pod uses the claim.
func testExpandUnused(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "EXPAND_MOUNTED=false")
	w.growingClass()
	w.Claim("data")
	w.Bound("data")
	pods := bed.Admin.CoreV1().Pods(w.Name)
	_, err := pods.Create(t.Context(), &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "user"},
		Spec: v1.PodSpec{
			NodeName:   "somewhere", // else nobody counts it
			Containers: []v1.Container{{Name: "c", Image: "none", VolumeMounts: []v1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
			Volumes: []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{
				ClaimName: "data",
			}}}},
			ServiceAccountName: "default", AutomountServiceAccountToken: new(false),
		},
	}, metav1.CreateOptions{})
	w.Must(err)
	w.unused("data", false)
	w.Must(w.resize("data", "5Gi"))
	w.EventOfAnyType(w.Name, "data", "VolumeResizeWaits: the volume is expanded when no pod uses the claim")
	if size := w.getClaim("data").Status.Capacity[v1.ResourceStorage]; size.String() != "1Mi" {
		t.Errorf("it has %s while a pod uses it", size.String())
	}
	w.Must(pods.Delete(t.Context(), "user", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	w.unused("data", true)
	w.expanded("data", "5Gi")
	w.healthy()
}

// A class may ask for room. What it holds back goes on by itself, and an expansion can be taken back.
func testRoom(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	full := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name + "-full"}, Provisioner: w.provisioner, Parameters: map[string]string{"minFree": "99.9999999%"},
	}
	w.createClass(full)
	w.createClass(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: w.provisioner, AllowVolumeExpansion: new(true), Parameters: map[string]string{"overcommit": "1.5"},
	})
	w.Claim("waits", clustertest.OfClass(full.Name))
	w.Event(w.Name, "waits", `the share has [0-9.]+[KMGTP]i free, and StorageClass \S+ asks that [0-9.]+[KMGTP]i stay free \(minFree\)`)
	w.wantEntries(".")
	classes := bed.Admin.StorageV1().StorageClasses()
	w.Must(classes.Delete(t.Context(), full.Name, metav1.DeleteOptions{}))
	full.Parameters, full.ResourceVersion = nil, ""
	w.createClass(full)
	w.Bound("waits")

	w.Claim("data")
	w.Bound("data")
	w.Must(w.resize("data", "100Ti"))
	w.Event(w.Name, "data", `VolumeResizeFailed: the volumes of the share request 2.0Mi, and with 100.0Ti more they would be above [0-9.]+[KMGTP]i, 1.5 times its size`)
	w.Eventually("the status says why", func() error {
		status := w.getClaim("data").Status
		if status.AllocatedResourceStatuses[v1.ResourceStorage] != v1.PersistentVolumeClaimControllerResizeInfeasible {
			return fmt.Errorf("it is %+v", status)
		}
		return nil
	})
	w.Must(w.resize("data", "2Mi"))
	w.expanded("data", "2Mi")
}
