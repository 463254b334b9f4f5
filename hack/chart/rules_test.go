package chart

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// The chart's PrometheusRule has the alerts of manifests/components/monitoring, with Prometheus' own templates untouched.
func TestRules(t *testing.T) {
	h := newHelm(t, "")
	text, err := os.ReadFile(filepath.Join(manifests(t), "components", "monitoring", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	rule := objects(t, h.must(t, "template", "claimdir", ours, "--values", ci("everything"), "--show-only", "templates/rules.yaml"))
	for key, o := range rule {
		if got := o.Object["spec"]; !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%s has other rules than the component", key)
		}
		if o.GetKind() != "PrometheusRule" || o.GetLabels()["release"] != "prometheus" {
			t.Errorf("%s has the labels %v", key, o.GetLabels())
		}
	}
	if len(rule) != 1 {
		t.Errorf("%d objects are rendered, want one", len(rule))
	}
}

// The chart's ConfigMap has the dashboard of manifests/components/dashboard, byte for byte.
func TestDashboard(t *testing.T) {
	h := newHelm(t, "")
	want, err := os.ReadFile(filepath.Join(manifests(t), "components", "dashboard", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	rendered := objects(t, h.must(t, "template", "claimdir", ours, "--values", ci("everything"), "--show-only", "templates/dashboard.yaml"))
	for key, o := range rendered {
		got, found, err := unstructured.NestedString(o.Object, "data", "claimdir.json")
		if err != nil || !found || got != string(want) {
			t.Errorf("%s has another dashboard than the component: %v", key, err)
		}
		if o.GetKind() != "ConfigMap" || o.GetLabels()["grafana_dashboard"] != "1" {
			t.Errorf("%s has the labels %v", key, o.GetLabels())
		}
	}
	if len(rendered) != 1 {
		t.Errorf("%d objects are rendered, want one", len(rendered))
	}
}
