package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

func testRefusedClaims(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.annotations.path:-${.PVC.namespace}/${.PVC.name}}")
	w.must(os.MkdirAll(filepath.Join(w.share, "occupied"), 0o750))
	w.must(os.Symlink("occupied", filepath.Join(w.share, "link")))
	block, snapshots, attributes := v1.PersistentVolumeBlock, "snapshot.storage.k8s.io", "gold"
	cases := []struct {
		name, want string
		change     func(*v1.PersistentVolumeClaim)
	}{
		{"selector", `spec.selector: .*remove the selector`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}},
		{"block", `spec.volumeMode "Block": .*allowed is "Filesystem"`, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block }},
		{"clone", `spec.dataSource PersistentVolumeClaim "other": not supported`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "other"}
		}},
		{"snapshot", `spec.dataSource VolumeSnapshot "snap": not supported`, func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: &snapshots, Kind: "VolumeSnapshot", Name: "snap"}
		}},
		{"attributes", `spec.volumeAttributesClassName "gold": not supported`, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeAttributesClassName = &attributes }},
		{"dotdot", `\.\.`, annotated("path", "../../etc")},
		{"inner-dotdot", `\.\.`, annotated("path", "a/../../b")},
		{"absolute", `absolute`, annotated("path", "/etc")},
		{"reserved", `\.claimdir`, annotated("path", ".claimdir/volumes/x")},
		{"archive", `archived-`, annotated("path", "archived-mine")},
		{"newline", `control character`, annotated("path", "a\nb")},
		{"long", `255`, annotated("path", strings.Repeat("x", 256))},
		{"occupied", `path "occupied" exists on the share and no record says whose it is; .*onExisting: adopt`, annotated("path", "occupied")},
		{"below-link", `symbolic links are not followed`, annotated("path", "link/x")},
		{"link", `symbolic links are not followed`, annotated("path", "link")},
	}
	for _, tc := range cases {
		w.claim(tc.name, tc.change)
	}
	w.claim("good")
	w.bound("good")
	for _, tc := range cases {
		w.event(w.name, tc.name, "ProvisioningFailed: .*"+tc.want)
	}
	w.wantEntries(".", w.name, "link", "occupied")
	w.wantEntries("occupied")
	w.wantMode("occupied", 0o750)
	w.wantEntries(".claimdir/volumes", w.name+"%2Fgood.json")
}

func testRefusedClass(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("onDelete", "shred", "colour", "blue", "pathPattern", "${.PVC.nmespace}", "mode", "999")
	w.claim("data")
	for _, want := range []string{
		`parameter "onDelete": "shred".*delete.*archive.*retain`, `colour.*pathPattern`, `PVC\.nmespace.*\.PVC\.namespace`, `"999" is not a mode`,
	} {
		w.event(w.name, "data", `(?s)ProvisioningFailed: StorageClass `+w.name+`: .*`+want)
	}
	events, err := bed.Admin.CoreV1().Events(w.name).List(t.Context(), metav1.ListOptions{FieldSelector: "type=Warning"})
	w.must(err)
	if len(events.Items) != 1 || events.Items[0].Count > 3 {
		t.Errorf("a refusal that stands is told %d times, in %d events", events.Items[0].Count, len(events.Items))
	}
	w.deleteClass()
	w.class("onDelete", "delete")
	w.bound("data") // at once, not at the next resync
}

func testMetrics(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	pv := w.filled("onDelete", "delete")
	w.deleteClaim("data")
	w.volumeGone(pv.Name)
	block := v1.PersistentVolumeBlock
	w.claim("bad", func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block })
	w.event(w.name, "bad", "Block")
	for _, want := range []string{
		fmt.Sprintf(`claimdir_provisions_total{class=%q} 2`, w.name),
		fmt.Sprintf(`claimdir_deletions_total{class=%q} 1`, w.name),
		fmt.Sprintf(`claimdir_refusals_total{class=%q,operation="provision",reason="claim"} 1`, w.name),
		`claimdir_operations_in_flight{operation="provision"} 0`,
		`claimdir_oldest_operation_age_seconds{operation="delete"} 0`,
		`claimdir_build_info{go_version="go1.`,
		`claimdir_leader 1`,
		fmt.Sprintf(`controller_persistentvolumeclaim_provision_total{class=%q,source=""} 2`, w.name),
		`controller_persistentvolumeclaim_provision_failed_total`,
		`controller_persistentvolumeclaim_provision_duration_seconds_count`,
		fmt.Sprintf(`controller_persistentvolume_delete_total{class=%q} 1`, w.name),
		`controller_persistentvolume_delete_duration_seconds_count`,
		`process_resident_memory_bytes`,
	} {
		w.eventually("the metrics have "+want, func() error {
			metrics, err := w.process.Get(t.Context(), "/metrics")
			if err == nil && !strings.Contains(metrics, "\n"+want) {
				lines := slices.DeleteFunc(strings.Split(metrics, "\n"), func(line string) bool { return !strings.HasPrefix(line, want[:10]) })
				err = fmt.Errorf("they have:\n%s", strings.Join(lines, "\n"))
			}
			return err
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if answer, err := w.process.Get(t.Context(), path); err != nil || answer != "ok\n" {
			t.Errorf("%s answers %q, %v", path, answer, err)
		}
	}
}
