package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestLint(t *testing.T) {
	h := newHelm(t, "")
	for _, file := range ciFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			h.must(t, "lint", "--strict", ours, "--values", file)
		})
	}
	h.must(t, "lint", "--strict", ours) // as people do it, without the image and the share
}

// What Argo CD and Flux render must not change by itself, and needs no cluster.
func TestTemplatesAskNobody(t *testing.T) {
	unstable := regexp.MustCompile(`\b(lookup|rand\w+|uuidv4|gen[A-Z]\w+|now|ago|date\w*|getHostByName|env|expandenv|htpasswd|bcrypt|encryptAES)\b`)
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	comment := regexp.MustCompile(`(?s)/\*.*?\*/`)
	text := regexp.MustCompile(`"(\\.|[^"\\])*"`)
	files, err := os.ReadDir(filepath.Join(ours, "templates"))
	if err != nil {
		t.Fatal(err)
	}
	actions := 0
	for _, file := range files {
		source, err := os.ReadFile(filepath.Join(ours, "templates", file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range action.FindAllString(string(source), -1) {
			actions++
			if word := unstable.FindString(text.ReplaceAllString(comment.ReplaceAllString(code, ""), "")); word != "" {
				t.Errorf("%s calls %s in %s", file.Name(), word, code)
			}
		}
		if name := file.Name(); name[0] != '_' && !strings.HasPrefix(string(source), `{{- include "claimdir.check" . -}}`) {
			t.Errorf("%s does not begin with the check of the values, so helm may fail in it with a riddle", name)
		}
	}
	if actions < 100 {
		t.Errorf("found %d actions, which cannot be all", actions)
	}
}

// namespaced are the kinds of ours that belong to a namespace.
var namespaced = map[string]bool{
	"Deployment": true, "Job": true, "ServiceAccount": true, "PersistentVolumeClaim": true, "Role": true, "RoleBinding": true, "Service": true,
	"PodDisruptionBudget": true, "NetworkPolicy": true, "PodMonitor": true, "ServiceMonitor": true, "PrometheusRule": true, "ConfigMap": true,
}

func TestRendered(t *testing.T) {
	h := newHelm(t, "")
	for _, file := range ciFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			args := []string{"template", "one", ours, "--namespace", "storage", "--values", file}
			rendered := h.must(t, args...)
			if again := h.must(t, args...); again != rendered {
				t.Errorf("rendered twice, it differs:\n%s\n%s", rendered, again)
			}
			all := objects(t, rendered)
			for key, o := range all {
				want := map[string]string{
					"app.kubernetes.io/name": "claimdir", "app.kubernetes.io/instance": "one", "app.kubernetes.io/version": "v0.1.0",
					"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "claimdir-0.1.0",
				}
				if strings.HasPrefix(filepath.Base(file), "everything") {
					want["cost"] = "shared"
				}
				contains(t, key, o.GetLabels(), want)
				wantNamespace := ""
				if namespaced[o.GetKind()] {
					wantNamespace = "storage"
				}
				if o.GetNamespace() != wantNamespace {
					t.Errorf("%s is in namespace %q, want %q", key, o.GetNamespace(), wantNamespace)
				}
			}
			selected(t, all)
		})
	}
}

// selected: whatever selects pods selects those of the Deployment, and names a port that they have.
func selected(t *testing.T, all map[string]*unstructured.Unstructured) {
	t.Helper()
	var pods, service map[string]string
	for _, o := range all {
		switch o.GetKind() {
		case "Deployment":
			pods = labels(t, o, "spec", "template", "metadata", "labels")
			port := element(t, element(t, o.Object, "spec", "template", "spec", "containers"), "ports")
			if port["name"] != "http" || fmt.Sprint(port["containerPort"]) != "8080" {
				t.Errorf("the port is %v", port)
			}
		case "Service":
			service = o.GetLabels()
		}
	}
	for key, o := range all {
		switch o.GetKind() {
		case "Deployment", "PodDisruptionBudget":
			contains(t, key, pods, labels(t, o, "spec", "selector", "matchLabels"))
		case "NetworkPolicy":
			contains(t, key, pods, labels(t, o, "spec", "podSelector", "matchLabels"))
			if _, egress, _ := unstructured.NestedSlice(o.Object, "spec", "egress"); !egress {
				port(t, key, element(t, element(t, o.Object, "spec", "ingress"), "ports")["port"])
			}
		case "Service":
			contains(t, key, pods, labels(t, o, "spec", "selector"))
			port(t, key, element(t, o.Object, "spec", "ports")["targetPort"])
		case "PodMonitor":
			contains(t, key, pods, labels(t, o, "spec", "selector", "matchLabels"))
			port(t, key, element(t, o.Object, "spec", "podMetricsEndpoints")["port"])
		case "ServiceMonitor":
			contains(t, key, service, labels(t, o, "spec", "selector", "matchLabels"))
			port(t, key, element(t, o.Object, "spec", "endpoints")["port"])
		}
	}
}

func port(t *testing.T, key string, name any) {
	t.Helper()
	if name != "http" {
		t.Errorf("%s names the port %v", key, name)
	}
}

// contains wants all of some labels.
func contains(t *testing.T, key string, all, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s wants no labels", key)
	}
	for name, value := range want {
		if all[name] != value {
			t.Errorf("%s: label %s is %q, want %q", key, name, all[name], value)
		}
	}
}

func labels(t *testing.T, o *unstructured.Unstructured, path ...string) map[string]string {
	t.Helper()
	found, ok, err := unstructured.NestedStringMap(o.Object, path...)
	if err != nil || !ok {
		t.Errorf("%s %s has no %s: %v", o.GetKind(), o.GetName(), strings.Join(path, "."), err)
	}
	return found
}

// element is the first one of a list.
func element(t *testing.T, o map[string]any, path ...string) map[string]any {
	t.Helper()
	found, ok, err := unstructured.NestedSlice(o, path...)
	if err != nil || !ok || len(found) == 0 {
		t.Errorf("there is no %s: %v", strings.Join(path, "."), err)
		return nil
	}
	first, _ := found[0].(map[string]any)
	return first
}

// The admission policy compares volumes with the shares as claimdir spells them, however they were typed; and no value ends a text of
// the policy, not even one that the schema would refuse.
func TestPolicyOfShares(t *testing.T) {
	h := newHelm(t, "")
	for name, tt := range map[string]struct {
		set  []string
		want string
	}{
		"an address in brackets": {[]string{"--set", "nfs.server=[fd00::1]"}, "[['fd00::1', '/exports/claimdir']]"},
		"an address without":     {[]string{"--set", "nfs.server=fd00::1"}, "[['fd00::1', '/exports/claimdir']]"},
		"slashes":                {[]string{"--set", "nfs.path=//exports//claimdir/"}, "[['nfs.example.com', '/exports/claimdir']]"},
		"the root":               {[]string{"--set", "nfs.path=/"}, "[['nfs.example.com', '/']]"},
		"several": {
			[]string{
				"--set", "nfs.server=null,shares[0].name=a,shares[0].server=[::1],shares[0].path=/a/",
				"--set", "shares[1].name=b,shares[1].server=b,shares[1].path=/b,storageClass.create=false",
			},
			"[['::1', '/a'], ['b', '/b']]",
		},
		"a quote": {[]string{"--skip-schema-validation", "--set", `nfs.path=/a\\b']\, ['c`}, `[['nfs.example.com', '/a\\b\'], [\'c']]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"template", "one", ours, "--values", ci("hardening")}, tt.set...)
			policy := objects(t, h.must(t, args...))["ValidatingAdmissionPolicy  one-claimdir"]
			variables, _, err := unstructured.NestedSlice(policy.Object, "spec", "variables")
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range variables {
				if v, _ := v.(map[string]any); v["name"] == "shares" {
					if v["expression"] != tt.want {
						t.Errorf("the shares are %s, want %s", v["expression"], tt.want)
					}
					return
				}
			}
			t.Error("the policy has no shares")
		})
	}
}
