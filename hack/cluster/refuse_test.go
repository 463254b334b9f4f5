package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

func testRefusedClaims(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.annotations.path:-${.PVC.namespace}/${.PVC.name}}")
	w.Must(os.MkdirAll(filepath.Join(w.share, "occupied"), 0o750))
	w.Must(os.Symlink("occupied", filepath.Join(w.share, "link")))
	block, snapshots, attributes := v1.PersistentVolumeBlock, "snapshot.storage.k8s.io", "gold"
	cases := []struct {
		name, want string
		change     func(*v1.PersistentVolumeClaim)
	}{
		{"selector", `spec.selector: .*remove the selector`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}},
		{"block", `spec.volumeMode "Block": .*allowed is "Filesystem"`, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block }},
		{"clone", `spec.dataSource: there is no claim "other" in namespace`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "other"}
		}},
		{"snapshot", `spec.dataSource: VolumeSnapshot "snap" cannot be read: the cluster does not serve VolumeSnapshots`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: &snapshots, Kind: "VolumeSnapshot", Name: "snap"}
		}},
		{"attributes", `spec.volumeAttributesClassName "gold": not supported`, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeAttributesClassName = &attributes }},
		{"dotdot", `\.\.`, clustertest.Annotated("path", "../../etc")},
		{"inner-dotdot", `\.\.`, clustertest.Annotated("path", "a/../../b")},
		{"absolute", `\.\.`, clustertest.Annotated("path", "/../etc")},
		{"blank", `begins or ends with a blank`, clustertest.Annotated("path", " x")},
		{"reserved", `\.claimdir`, clustertest.Annotated("path", ".claimdir/records/x")},
		{"archive", `archived-`, clustertest.Annotated("path", "archived-mine")},
		{"newline", `control character`, clustertest.Annotated("path", "a\nb")},
		{"long", `255`, clustertest.Annotated("path", strings.Repeat("x", 256))},
		{"occupied", `path "occupied" exists on the share and no record says whose it is; .*onExisting: adopt`, clustertest.Annotated("path", "occupied")},
		{"below-link", `symbolic links are not followed`, clustertest.Annotated("path", "link/x")},
		{"link", `symbolic links are not followed`, clustertest.Annotated("path", "link")},
	}
	for _, tc := range cases {
		w.Claim(tc.name, tc.change)
	}
	w.Claim("good")
	w.Bound("good")
	for _, tc := range cases {
		w.Event(w.Name, tc.name, "ProvisioningFailed: .*"+tc.want)
	}
	w.logged(`"Refused"`, `PVC="`+w.Name+`/selector"`, "remove the selector")
	w.wantEntries(".", w.Name, "link", "occupied")
	w.wantEntries("occupied")
	w.wantMode("occupied", 0o750)
	w.wantEntries(recordsDir, recordKey(w.Name+"/good"))
}

// testAbsentVolume: Kubernetes waits without an event for a volume that does not exist. One
// that is created a little later is no matter.
func testAbsentVolume(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.Patience = 2 * patience // the event comes after a minute
	w.class()
	name := func(volume string) func(*v1.PersistentVolumeClaim) {
		return func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = volume }
	}
	w.Claim("absent", name(w.Name+"-absent"))
	late := w.Claim("late", name(w.Name+"-late"))
	time.Sleep(5 * time.Second)
	w.saveVolume(w.Name+"-late", "", w.Name, "late", v1.ObjectReference{Name: "late", UID: late.UID})
	w.Bound("late")
	w.Event(w.Name, "absent", `ProvisioningFailed: spec.volumeName asks for volume "`+w.Name+`-absent", which does not exist; .*create it again without spec.volumeName`)
	if told := w.Warnings(w.Name, "late"); len(told) > 0 {
		t.Errorf("the claim whose volume came late has the events %q", told)
	}
	w.DeleteClaim("absent")
	w.Eventually("the claim is gone", func() error {
		_, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(t.Context(), "absent", metav1.GetOptions{})
		return clustertest.NotFound(err)
	})
	w.Claim("absent")
	w.Bound("absent")
	w.healthy()
}

func testRefusedClass(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("onDelete", "shred", "colour", "blue", "pathPattern", "${.PVC.nmespace}", "mode", "999")
	w.Claim("data")
	for _, want := range []string{
		`parameter "onDelete": "shred".*delete.*archive.*retain`, `colour.*pathPattern`, `PVC\.nmespace.*\.PVC\.namespace`, `"999" is not a mode`,
	} {
		w.Event(w.Name, "data", `(?s)ProvisioningFailed: StorageClass `+w.Name+`: .*`+want)
	}
	w.Claim("mounted", clustertest.OfClass(w.Name+"-mounted"))
	w.createClass(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.Name + "-mounted"}, Provisioner: w.provisioner, MountOptions: []string{"vers=4.1 hard", ""}})
	w.Event(w.Name, "mounted", `(?s)mountOptions\[0\] "vers=4.1 hard" contains a blank.*\[vers=4.1, hard\].*mountOptions\[1\] is empty`)
	w.DeleteClaim("mounted")
	events, err := bed.Admin.CoreV1().Events(w.Name).List(t.Context(), metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.name=data"})
	w.Must(err)
	if len(events.Items) != 1 || events.Items[0].Count > 3 {
		t.Errorf("a refusal that stands is told %d times, in %d events", events.Items[0].Count, len(events.Items))
	}
	w.deleteClass()
	w.class("onDelete", "delete")
	w.Bound("data") // at once, not at the next resync
}

func testMetrics(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	block := v1.PersistentVolumeBlock
	w.Claim("bad", func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block })
	w.Event(w.Name, "bad", "Block")
	for _, want := range []string{
		fmt.Sprintf(`claimdir_provisions_total{class=%q} 2`, w.Name),
		fmt.Sprintf(`claimdir_deletions_total{class=%q} 1`, w.Name),
		fmt.Sprintf(`claimdir_refusals_total{class=%q,operation="provision",reason="claim"} 1`, w.Name),
		`claimdir_operations_in_flight{operation="provision"} 0`,
		`claimdir_oldest_operation_age_seconds{operation="delete"} 0`,
		`claimdir_build_info{go_version="go1.`,
		`claimdir_leader 1`,
		fmt.Sprintf(`controller_persistentvolumeclaim_provision_total{class=%q,source=""} 2`, w.Name),
		`controller_persistentvolumeclaim_provision_failed_total`,
		`controller_persistentvolumeclaim_provision_duration_seconds_count`,
		fmt.Sprintf(`controller_persistentvolume_delete_total{class=%q} `, w.Name),
		`controller_persistentvolume_delete_duration_seconds_count`,
		`process_resident_memory_bytes`,
	} {
		w.Eventually("the metrics have "+want, func() error {
			metrics, err := w.process.Get(t.Context(), "/metrics")
			if err == nil && !strings.Contains(metrics, "\n"+want) {
				lines := slices.DeleteFunc(strings.Split(metrics, "\n"), func(line string) bool { return !strings.HasPrefix(line, want[:10]) })
				err = fmt.Errorf("they have:\n%s", strings.Join(lines, "\n"))
			}
			return err
		})
	}
	for _, path := range []string{"/healthz", "/readyz", "/sharez"} {
		if answer, err := w.process.Get(t.Context(), path); err != nil || answer != "ok\n" {
			t.Errorf("%s answers %q, %v", path, answer, err)
		}
	}
}
