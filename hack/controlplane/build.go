package controlplane

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"
)

// Binaries are the paths of the programs of a control plane.
type Binaries struct {
	Etcd                  string
	KubeAPIServer         string
	KubeControllerManager string
	Kubectl               string
}

// Build returns the programs that binaries/go.mod pins and builds them first
// if the cache does not hold them. While it builds or waits for another process
// that does, it writes a line to progress every ten seconds; nil discards them.
//
// A build that is killed leaves nothing that a later one would take for whole.
// The caller's GOFLAGS, GOWORK and the like have no influence.
func Build(ctx context.Context, progress io.Writer) (Binaries, error) {
	module, err := moduleDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("build control plane: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("build control plane: %w", err)
	}
	if progress == nil {
		progress = io.Discard
	}
	b := &builder{module: module, cache: cache, progress: progress, every: 10 * time.Second}
	binaries, err := b.build(ctx)
	if err != nil {
		return Binaries{}, fmt.Errorf("build control plane: %w", err)
	}
	return binaries, nil
}

// moduleDir is the module in binaries/. It cannot be embedded: go:embed does
// not reach into another module.
func moduleDir() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("find binaries/go.mod: built with -trimpath, which forgets where the source lies")
	}
	return filepath.Join(filepath.Dir(file), "binaries"), nil
}

type builder struct {
	module   string // directory of the module whose tools are built
	cache    string // directory for the results
	progress io.Writer
	every    time.Duration // between two lines of progress
}

func (b *builder) build(ctx context.Context) (Binaries, error) {
	versions, err := b.versions(ctx)
	if err != nil {
		return Binaries{}, err
	}
	key, err := b.key(versions)
	if err != nil {
		return Binaries{}, err
	}
	target := filepath.Join(b.cache, key)
	if present(target) {
		return binariesIn(target), nil
	}
	unlock, err := b.lock(ctx, target+".lock")
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if present(target) { // built by whoever held the lock
		return binariesIn(target), nil
	}
	if err := b.buildInto(ctx, target, versions[kubernetesModule]); err != nil {
		return Binaries{}, err
	}
	return binariesIn(target), nil
}

// buildInto builds beside target and moves the result there in one step. The
// caller holds the lock, so whatever lies beside target is a dead build's.
func (b *builder) buildInto(ctx context.Context, target, version string) (err error) {
	staging := target + ".building"
	for _, dir := range []string{staging, target} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clear an incomplete build: %w", err)
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	bin, work := filepath.Join(staging, "bin"), filepath.Join(staging, "work")
	for _, dir := range []string{bin, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("build programs: %w", err)
		}
	}
	g := &goCommand{dir: b.module, env: []string{"GOTMPDIR=" + work}, progress: b.progress, every: b.every}
	if err := g.buildTools(ctx, bin, version); err != nil {
		return fmt.Errorf("build programs: %w", err)
	}
	if err := os.Rename(filepath.Join(bin, "server"), binariesIn(bin).Etcd); err != nil {
		return fmt.Errorf("name etcd: %w", err)
	}
	if err := os.Rename(bin, target); err != nil {
		return fmt.Errorf("publish programs: %w", err)
	}
	return nil
}

// versions maps the two modules that matter to their pinned versions.
func (b *builder) versions(ctx context.Context) (map[string]string, error) {
	g := &goCommand{dir: b.module, progress: b.progress, every: b.every}
	out, err := g.run(ctx, "list modules", &meter{}, "list", "-m", "-f", "{{.Path}} {{.Version}}", kubernetesModule, etcdModule)
	if err != nil {
		return nil, fmt.Errorf("read pinned versions: %w", err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(out) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[path] = version
	}
	return versions, nil
}

// key names a build by all that decides its content: pins, recipe, platform.
func (b *builder) key(versions map[string]string) (string, error) {
	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(b.module, name))
		if err != nil {
			return "", fmt.Errorf("read pins: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(data), data)
	}
	fmt.Fprintln(hash, buildArgs("", versions[kubernetesModule]))
	return fmt.Sprintf("kubernetes-%s-etcd-%s-%s-%x", versions[kubernetesModule], versions[etcdModule],
		runtime.GOARCH, hash.Sum(nil)[:4]), nil
}

func binariesIn(dir string) Binaries {
	return Binaries{
		Etcd:                  filepath.Join(dir, "etcd"),
		KubeAPIServer:         filepath.Join(dir, "kube-apiserver"),
		KubeControllerManager: filepath.Join(dir, "kube-controller-manager"),
		Kubectl:               filepath.Join(dir, "kubectl"),
	}
}

// present reports whether dir holds all programs: something that tidies caches
// may have taken some.
func present(dir string) bool {
	b := binariesIn(dir)
	for _, path := range []string{b.Etcd, b.KubeAPIServer, b.KubeControllerManager, b.Kubectl} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}
