package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"claimdir/hack/project"
)

// The whole list takes minutes where none of it is in go's cache yet: verify gives it.
var platforms = flag.String("platforms", "amd64,arm64", "architectures for which the release is built")

func architectures() []string { return strings.Split(*platforms, ",") }

// Each takes minutes where go's cache has nothing for that platform.
var pluginsFor = flag.String("plugins", "linux/"+runtime.GOARCH, "platforms for which the plugin of kubectl is built")

func plugins() []string { return strings.Split(*pluginsFor, ",") }

// The release as dist writes it, of a copy of this source, made once for all tests.
var theRelease struct {
	once    sync.Once
	root    string
	version string
	err     error
	output  string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if theRelease.root != "" {
		if err := os.RemoveAll(theRelease.root); err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

// released returns the root of a copy of this source with a dist/ in it.
func released(t *testing.T) string {
	t.Helper()
	r := &theRelease
	r.once.Do(func() {
		if r.root, r.err = os.MkdirTemp("", "claimdir-release-"); r.err != nil { //nolint:usetesting // it is for all tests
			return
		}
		if r.err = copySource(r.root); r.err != nil {
			return
		}
		r.version, r.output, r.err = distribute(t, r.root)
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.root
}

// distribute runs dist on a root, for the version that its changelog has.
func distribute(t *testing.T, root string) (version, output string, err error) {
	t.Helper()
	sections, err := readChangelog(root)
	if err != nil {
		return "", "", err
	}
	var out bytes.Buffer
	err = dist(t.Context(), root, options{version: sections[0].version, architectures: architectures(), plugins: plugins()}, &out)
	return sections[0].version, out.String(), err
}

// copySource makes a repository of what a release is made of, as it lies here, with one commit of a fixed time.
func copySource(root string) error {
	source, err := project.Root()
	if err != nil {
		return err
	}
	for _, name := range []string{"cmd", "provisioner", "manifests", "hack/krew", "hack/tools"} {
		err = errors.Join(err, os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(source, name))))
	}
	for _, name := range []string{"go.mod", "go.sum", "CHANGELOG.md", "LICENSE", ".gitignore"} {
		data, readErr := os.ReadFile(filepath.Join(source, name))
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(root, name), data, 0o644))
	}
	return errors.Join(err, commit(root))
}

// commit makes a repository of a directory, or one more commit in it.
func commit(root string) error {
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "all"}} {
		if _, err := testGit(root, args...); err != nil {
			return err
		}
	}
	return nil
}

func testGit(root string, args ...string) (string, error) {
	command := exec.Command("git", append([]string{
		"-C", root, "-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false",
	}, args...)...)
	command.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := command.CombinedOutput()
	if err != nil {
		return "", errors.New("git " + args[0] + ": " + string(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// tree is what lies below a directory: a name a file, and its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(data)
		return err
	}))
	return files
}

// write writes files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says reports an error that does not hold all texts.
func says(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; it should hold %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %q and does not hold %q", err, text)
		}
	}
}
