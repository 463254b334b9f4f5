package controlplane

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestASetIsBuiltWithoutTheOthers(t *testing.T) {
	b, out := newBuilder(t)
	first, err := b.build(t.Context()) // although a program of the node's does not compile
	if err != nil {
		t.Fatal(err)
	}
	b.set = set{name: "two of a kind", module: kubernetesModule, commands: []string{"k8s.io/kubernetes/cmd/kubectl"}, tests: []string{"./e2e"}}
	dir, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if name := filepath.Base(dir); !strings.HasPrefix(name, "kubernetes-v1.0.1-two-of-a-kind-") {
		t.Errorf("directory %s does not name the set", name)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if out, err := exec.Command(filepath.Join(dir, entry.Name())).CombinedOutput(); err != nil || string(out) != "built\n" {
			t.Errorf("%s: %v, %q", entry.Name(), err, out)
		}
	}
	if len(entries) != 2 || entries[0].Name() != "e2e.test" || entries[1].Name() != "kubectl" {
		t.Errorf("built %v", entries)
	}
	if out.count("two of a kind: built in") != 1 {
		t.Error("progress does not name the set")
	}
	b.set = controlPlaneSet()
	if again, err := b.build(t.Context()); err != nil || again != first || out.count("control plane: built in") != 1 {
		t.Errorf("the first set after the second: %s, %v", again, err)
	}
}

func TestEveryPinIsOfASetAndEverySetOfPins(t *testing.T) {
	for pins, commands := range map[string][]string{
		kubernetesPins:  slices.Concat(controlPlaneSet().commands, nodeSet().commands, conformanceSet().commands),
		snapshotterPins: snapshotterSet().commands,
		helmPins:        helmSet().commands,
	} {
		module, err := moduleDir(pins)
		if err != nil {
			t.Fatal(err)
		}
		g := &goCommand{dir: module, progress: io.Discard, every: time.Minute}
		tools, err := g.run(t.Context(), "list tools", &meter{}, "list", "-f", "{{.ImportPath}}", "tool")
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(commands)
		got := strings.Fields(tools)
		slices.Sort(got)
		if !slices.Equal(got, commands) {
			t.Errorf("%s/go.mod has the tools %v, the sets %v", pins, got, commands)
		}
	}
}
