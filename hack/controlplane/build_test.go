package controlplane

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeModule pins a Kubernetes and an etcd of tiny programs, so that a build
// takes seconds.
func fakeModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := "package main\n\nfunc main() { println(\"built\") }\n"
	for name, text := range map[string]string{
		"go.mod": `module fake

go 1.26.0

tool (
	go.etcd.io/etcd/server/v3
	k8s.io/kubernetes/cmd/kube-apiserver
	k8s.io/kubernetes/cmd/kube-controller-manager
	k8s.io/kubernetes/cmd/kubectl
)

require (
	go.etcd.io/etcd/server/v3 v3.0.1 // indirect
	k8s.io/kubernetes v1.0.1 // indirect
)

replace go.etcd.io/etcd/server/v3 => ./etcd

replace k8s.io/kubernetes => ./kubernetes
`,
		"go.sum":                                "",
		"etcd/go.mod":                           "module go.etcd.io/etcd/server/v3\n\ngo 1.26.0\n",
		"etcd/main.go":                          program,
		"kubernetes/go.mod":                     "module k8s.io/kubernetes\n\ngo 1.26.0\n",
		"kubernetes/cmd/kube-apiserver/main.go": program,
		"kubernetes/cmd/kube-controller-manager/main.go": program,
		"kubernetes/cmd/kubectl/main.go":                 program,
		"kubernetes/cmd/kube-proxy/main.go":              "package main\n\nfunc main() { nonsense() }\n",
		"e2e/e2e.go":                                     "package e2e\n\nconst Said = \"built\"\n",
		"e2e/e2e_test.go":                                "package e2e\n\nimport \"testing\"\n\nfunc TestMain(*testing.M) { println(Said) }\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lines is a progress writer for several goroutines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func newBuilder(t *testing.T) (*builder, *lines) {
	t.Helper()
	out := &lines{}
	return &builder{set: controlPlaneSet(), module: fakeModule(t), cache: t.TempDir(), progress: out, every: 10 * time.Millisecond}, out
}

func TestBuildsOnceHoweverManyAsk(t *testing.T) {
	t.Setenv("GOFLAGS", "-race -mod=vendor -no-such-flag")
	t.Setenv("GOWORK", "/nowhere/go.work")
	b, out := newBuilder(t)
	results := make(chan error, 3)
	for range cap(results) {
		go func() {
			_, err := b.build(t.Context())
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if n := out.count("built in"); n != 1 {
		t.Errorf("built %d times", n)
	}
	for _, moves := range []string{"packages compiled", "another process builds it"} {
		if out.count(moves) == 0 {
			t.Errorf("progress never says %q", moves)
		}
	}
	dir, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if name := filepath.Base(dir); !strings.HasPrefix(name, "kubernetes-v1.0.1-etcd-v3.0.1-") {
		t.Errorf("directory %s does not name the pins", name)
	}
	binaries := binariesIn(dir)
	for _, path := range []string{binaries.Etcd, binaries.KubeAPIServer, binaries.KubeControllerManager, binaries.Kubectl} {
		if out, err := exec.Command(path).CombinedOutput(); err != nil || string(out) != "built\n" {
			t.Errorf("%s: %v, %q", path, err, out)
		}
	}
}

func TestAChangedPinOrAMissingProgramBuildsAgain(t *testing.T) {
	b, out := newBuilder(t)
	first, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(binariesIn(first).Kubectl); err != nil {
		t.Fatal(err)
	}
	if again, err := b.build(t.Context()); err != nil || again != first || out.count("built in") != 2 {
		t.Errorf("after a program went missing: %v, %v, built %d times", again, err, out.count("built in"))
	}
	if err := os.WriteFile(filepath.Join(b.module, "go.sum"), []byte("\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if other, err := b.build(t.Context()); err != nil || other == first {
		t.Errorf("after go.sum changed: %v, %v", other, err)
	}
}

func TestAnEndedBuildLeavesNothingHalf(t *testing.T) {
	b, out := newBuilder(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.progress = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "compile and link") {
			cancel()
		}
		return out.Write(p)
	})
	if _, err := b.build(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled build: %v", err)
	}
	entries, err := os.ReadDir(b.cache)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(entries, os.DirEntry.IsDir) {
		t.Errorf("left behind: %v", entries)
	}
	// What a build killed by -9 cannot tidy, the next one does.
	stale := filepath.Join(b.cache, strings.TrimSuffix(entries[0].Name(), ".lock")+".building")
	if err := os.MkdirAll(filepath.Join(stale, "bin", "server"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("stale directory: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestABuildThatFailsSaysWhatGoSaid(t *testing.T) {
	b, _ := newBuilder(t)
	main := filepath.Join(b.module, "etcd", "main.go")
	if err := os.WriteFile(main, []byte("package main\n\nfunc main() { nonsense() }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.build(t.Context()); err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("error %v", err)
	}
}

func TestTheCacheIsFoundWithoutHOME(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", t.TempDir())
	want, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(os.Getenv("HOME"), ".cache"))
	t.Setenv("HOME", "")
	if got, err := cacheDir(); err != nil || got != want {
		t.Errorf("from XDG_CACHE_HOME: %s, %v, want %s", got, err, want)
	}
	env, err := cleanEnv(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(env, "HOME=") || !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=/") }) {
		t.Errorf("go gets no home directory: %v", env)
	}
}
