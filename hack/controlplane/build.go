package controlplane

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// build returns the directory of a set's programs, from the cache or built.
func build(ctx context.Context, s set, progress io.Writer) (string, error) {
	module, err := moduleDir(s.pins)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", s.name, err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", s.name, err)
	}
	if progress == nil {
		progress = io.Discard
	}
	b := &builder{set: s, module: module, cache: cache, progress: progress, every: 10 * time.Second}
	dir, err := b.build(ctx)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", s.name, err)
	}
	return dir, nil
}

// moduleDir is a module beside this package that pins programs. It cannot be embedded: go:embed does
// not reach into another module.
func moduleDir(pins string) (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", fmt.Errorf("find %s/go.mod: built with -trimpath, which forgets where the source lies", pins)
	}
	return filepath.Join(filepath.Dir(file), pins), nil
}

type builder struct {
	set      set
	module   string // directory of the module that pins the programs
	cache    string // directory for the results
	progress io.Writer
	every    time.Duration // between two lines of progress
}

func (b *builder) build(ctx context.Context) (string, error) {
	versions, err := b.versions(ctx)
	if err != nil {
		return "", err
	}
	key, err := b.key(versions)
	if err != nil {
		return "", err
	}
	target := filepath.Join(b.cache, key)
	if b.present(target) {
		return target, nil
	}
	unlock, err := b.lock(ctx, target+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if b.present(target) { // built by whoever held the lock
		return target, nil
	}
	if err := b.buildInto(ctx, target, versions[b.set.module]); err != nil {
		return "", err
	}
	return target, nil
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
	g := &goCommand{name: b.set.name, dir: b.module, env: []string{"GOTMPDIR=" + work}, progress: b.progress, every: b.every}
	if err := g.build(ctx, b.set, bin, version); err != nil {
		return fmt.Errorf("build programs: %w", err)
	}
	// Go calls it so after the last element of its path.
	if err := os.Rename(filepath.Join(bin, "server"), filepath.Join(bin, "etcd")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("name etcd: %w", err)
	}
	if !b.present(bin) {
		return fmt.Errorf("build programs: not all of %s came out", strings.Join(b.set.programs(), ", "))
	}
	if err := os.Rename(bin, target); err != nil {
		return fmt.Errorf("publish programs: %w", err)
	}
	return nil
}

// versions maps the modules that matter to their pinned versions.
func (b *builder) versions(ctx context.Context) (map[string]string, error) {
	g := &goCommand{name: b.set.name, dir: b.module, progress: b.progress, every: b.every}
	out, err := g.run(ctx, "list modules", &meter{}, append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, b.set.versioned()...)...)
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
	fmt.Fprintln(hash, b.set.recipe("", versions[b.set.module]))
	return fmt.Sprintf("%s-%s-%x", b.set.directory(versions), runtime.GOARCH, hash.Sum(nil)[:4]), nil
}

// present reports whether dir holds all programs: something that tidies caches
// may have taken some.
func (b *builder) present(dir string) bool {
	for _, program := range b.set.programs() {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	return true
}
