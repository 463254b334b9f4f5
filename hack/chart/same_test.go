package chart

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"claimdir/hack/controlplane"
)

// differences are all that the chart's objects have and those of the kustomize overlays have not, each with what takes it away. Each
// must be met: what is none any more is taken off this list.
var differences = []struct {
	why  string
	undo func(o, overlay *unstructured.Unstructured) bool
}{
	{"helm's labels", func(o, _ *unstructured.Unstructured) bool {
		return without(o, []string{"metadata", "labels"}, "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")
	}},
	{"a namespace may hold several releases, so what selects pods names the release", func(o, _ *unstructured.Unstructured) bool {
		return without(o, []string{"spec", "selector", "matchLabels"}, "app.kubernetes.io/instance") &&
			without(o, []string{"spec", "template", "metadata", "labels"}, "app.kubernetes.io/instance") ||
			without(o, []string{"spec", "podSelector", "matchLabels"}, "app.kubernetes.io/instance")
	}},
	{"other mount options mean a new pod", func(o, _ *unstructured.Unstructured) bool {
		return without(o, []string{"spec", "template", "metadata", "annotations"}, "checksum/shares")
	}},
	{"helm uninstall must not take the namespace with it", func(o, _ *unstructured.Unstructured) bool {
		if !without(o, []string{"metadata", "annotations"}, "helm.sh/resource-policy") {
			return false
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
		return true
	}},
	{"kustomize labels the objects of the base alone", func(o, overlay *unstructured.Unstructured) bool {
		if len(overlay.GetLabels()) > 0 || !without(o, []string{"metadata", "labels"}, "app.kubernetes.io/name") {
			return false
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "labels")
		return true
	}},
}

// without takes keys from a map, and reports whether all were there.
func without(o *unstructured.Unstructured, path []string, keys ...string) bool {
	for _, key := range keys {
		field := append(slices.Clone(path), key)
		if _, ok, err := unstructured.NestedFieldNoCopy(o.Object, field...); err != nil || !ok {
			return false
		}
		unstructured.RemoveNestedField(o.Object, field...)
	}
	return true
}

// The chart and the kustomize overlays make the same objects. The values below take two more differences away: the chart's provisioner
// is named after the release, and it makes no Namespace unless it is told to.
func TestSameAsKustomize(t *testing.T) {
	h := newHelm(t, "")
	programs, err := controlplane.Build(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	kubectl := controlplane.Kubectl{Program: programs.Kubectl, CacheDir: t.TempDir()}
	met := map[string]bool{}
	for _, tt := range []struct{ values, overlay, components string }{
		{"example", "example", ""},
		{"nonroot", "example", "nonroot"},
		{"hardening", "example", "hardening snapshots"},
		{"snapshots", "example", "snapshots"},
		{"pod-policies", "example", "pdb egress"},
		{"several-shares", "several-shares", ""},
	} {
		t.Run(tt.values, func(t *testing.T) {
			overlay := filepath.Join(manifests(t), "overlays", tt.overlay)
			if tt.components != "" {
				file, err := os.OpenFile(filepath.Join(overlay, "kustomization.yaml"), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				list := "\ncomponents:\n"
				for component := range strings.FieldsSeq(tt.components) {
					list += "- ../../components/" + component + "\n"
				}
				if _, err := file.WriteString(list); err != nil {
					t.Fatal(err)
				}
				if err := file.Close(); err != nil {
					t.Fatal(err)
				}
			}
			built, err := kubectl.Run(t.Context(), "", "kustomize", overlay)
			if err != nil {
				t.Fatal(err)
			}
			want := objects(t, built)
			got := objects(t, h.must(t, "template", "claimdir", ours, "--namespace", "claimdir", "--values", ci(tt.values),
				"--set", "storageClass.provisionerName=claimdir/nfs", "--set", "namespace.create=true"))
			for key, o := range got {
				for _, d := range differences {
					if want[key] != nil && d.undo(o, want[key]) {
						met[d.why] = true
					}
				}
			}
			same(t, got, want)
		})
	}
	for _, d := range differences {
		if !met[d.why] {
			t.Errorf("no longer a difference: %s", d.why)
		}
	}
}

func same(t *testing.T, got, want map[string]*unstructured.Unstructured) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Errorf("the chart has\n%s\nthe overlay\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	for key, o := range want {
		if got[key] != nil && !reflect.DeepEqual(folded(got[key].Object), folded(o.Object)) {
			t.Errorf("of the chart:\n%s\nof the overlay:\n%s", inYAML(t, got[key]), inYAML(t, o))
		}
	}
}

// folded has one blank for each white space in texts: kustomize breaks the lines of long ones anew.
func folded(value any) any {
	switch v := value.(type) {
	case string:
		return strings.Join(strings.Fields(v), " ")
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = folded(v[i])
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for key := range v {
			all[key] = folded(v[key])
		}
		return all
	}
	return value
}

func inYAML(t *testing.T, o *unstructured.Unstructured) []byte {
	t.Helper()
	data, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
