package chart

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"claimdir/hack/controlplane"
	"claimdir/hack/project"
)

// charts are the directories of ours and of the one that stands for the peer's.
var (
	ours = filepath.Join("..", "..", filepath.FromSlash(Directory))
	peer = filepath.Join("testdata", "peer")
)

// image is an image of ours, as far as the API server can tell.
const image = "registry.example.com/claimdir"

// helm is helm in tests.
type helm struct{ controlplane.Helm }

// programOfHelm is built once for all tests.
var programOfHelm = sync.OnceValues(func() (string, error) {
	return controlplane.BuildHelm(context.Background(), os.Stderr)
})

func newHelm(t *testing.T, kubeconfig string) helm {
	t.Helper()
	program, err := programOfHelm()
	if err != nil {
		t.Fatal(err)
	}
	return helm{controlplane.Helm{Program: program, Kubeconfig: kubeconfig, Home: t.TempDir()}}
}

func (h helm) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused wants helm to fail, and its words in what it says.
func (h helm) refused(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, err := h.Run(t.Context(), args...)
	if err == nil {
		t.Errorf("helm %s: want a refusal with %q, got\n%s", strings.Join(args, " "), words, out)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("want a refusal with %q, got %v", word, err)
		}
	}
}

// objects reads rendered objects, by kind, namespace and name.
func objects(t *testing.T, rendered string) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rendered), 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%v in\n%s", err, rendered)
		case len(o.Object) == 0:
			continue
		}
		key := strings.Join([]string{o.GetKind(), o.GetNamespace(), o.GetName()}, " ")
		if all[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		all[key] = o
	}
}

// ciFiles are the files with values for tests.
func ciFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(ours, "ci", "*-values.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatalf("found the files %q, %v", files, err)
	}
	return files
}

// ci is one of them.
func ci(name string) string { return filepath.Join(ours, "ci", name+"-values.yaml") }

// manifests copies our manifests to a directory that the test may change.
func manifests(t *testing.T) string {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "manifests"))); err != nil {
		t.Fatal(err)
	}
	return dir
}
