package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"claimdir/hack/project"
	"claimdir/hack/release/image"
)

const (
	changes = "# Changelog\n\nWords.\n\n## [Unreleased]\n\n- later\n\n## [0.2.0] - 2026-02-03\n\n### Added\n- two\n\n## [0.1.0] - 2026-01-02\n\nOne.\n"
	overlay = "images:\n- name: claimdir\n  newName: registry.example.com/claimdir\n  newTag: v0.2.0\n"
)

// small is a repository that says as much of versions as the real one.
func small(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{
		"CHANGELOG.md": changes, "manifests/overlays/example/kustomization.yaml": overlay, "dist/of": "an earlier run", ".gitignore": "/dist/\n",
		"manifests/chart/claimdir/Chart.yaml": "apiVersion: v2\nname: claimdir\nversion: 0.2.0\nappVersion: v0.2.0\n",
	})
	write(t, root, files)
	must(t, commit(root))
	return root
}

func TestDistRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files   map[string]string // in the commit
		after   func(t *testing.T, root string)
		version string
		want    []string
	}{
		"a changed file": {after: func(t *testing.T, root string) {
			write(t, root, map[string]string{"CHANGELOG.md": changes + "\n"})
		}, version: "v0.2.0", want: []string{"not that of a commit", " M CHANGELOG.md"}},
		"a new file": {after: func(t *testing.T, root string) {
			write(t, root, map[string]string{"cmd/x.go": "package main\n"})
		}, version: "v0.2.0", want: []string{"not that of a commit", "?? cmd/"}},
		"a version that nobody wrote about": {version: "v0.3.0", want: []string{`"v0.3.0" is not in CHANGELOG.md`, "v0.2.0"}},
		"a version without its v":           {version: "0.2.0", want: []string{`"0.2.0" is not in CHANGELOG.md`, "v0.2.0"}},
		"no version":                        {version: "", want: []string{`"" is not in CHANGELOG.md`}},
		"an older version":                  {version: "v0.1.0", want: []string{"v0.1.0", "newer one, v0.2.0", "git checkout v0.1.0"}},
		"a version that is another commit's": {after: func(t *testing.T, root string) {
			_, err := testGit(root, "tag", "-a", "-m", "release", "v0.2.0")
			must(t, err)
			write(t, root, map[string]string{"later": ""})
			must(t, commit(root))
		}, version: "v0.2.0", want: []string{"the tag v0.2.0 is another commit's"}},
		"an overlay with another version": {files: map[string]string{"manifests/overlays/other/kustomization.yaml": "images:\n- name: claimdir\n  newTag: v0.1.0\n"},
			version: "v0.2.0", want: []string{"manifests/overlays/other/kustomization.yaml", "newTag", "v0.2.0"}},
		"a chart with another version": {files: map[string]string{"manifests/chart/claimdir/Chart.yaml": "name: claimdir\nversion: 0.1.0\nappVersion: v0.2.0\n"},
			version: "v0.2.0", want: []string{`Chart.yaml: version is "0.1.0"`, "v0.2.0"}},
		"a chart for another version": {files: map[string]string{"manifests/chart/claimdir/Chart.yaml": "name: claimdir\nversion: 0.2.0\nappVersion: v0.1.0\n"},
			version: "v0.2.0", want: []string{`Chart.yaml: appVersion is "v0.1.0"`, "v0.2.0"}},
		"a heading that is none": {files: map[string]string{"CHANGELOG.md": "# Changelog\n\n## 0.2.0\n\nText.\n"},
			version: "v0.2.0", want: []string{`"## 0.2.0"`, "## [0.1.0] - 2026-01-31"}},
		"a version without words": {files: map[string]string{"CHANGELOG.md": "## [0.2.0] - 2026-02-03\n\n## [0.1.0] - 2026-01-02\n\nOne.\n"},
			version: "v0.2.0", want: []string{"says nothing of v0.2.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := small(t, c.files)
			if c.after != nil {
				c.after(t, root)
			}
			says(t, dist(t.Context(), root, options{version: c.version, architectures: architectures()}, io.Discard), c.want...)
			if left := tree(t, filepath.Join(root, "dist")); len(left) != 1 || left["of"] != "an earlier run" {
				t.Errorf("dist/ was changed: %q", left)
			}
			if _, err := os.Stat(filepath.Join(root, "dist.new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("dist.new is left: %v", err)
			}
		})
	}
}

// A tag of this very commit is no obstacle.
func TestTheTaggedCommitIsBuilt(t *testing.T) {
	root := small(t, nil)
	for _, args := range [][]string{{"tag", "v0.1.0"}, {"tag", "-a", "-m", "release", "v0.2.0"}} {
		_, err := testGit(root, args...)
		must(t, err)
	}
	for _, version := range []string{"v0.1.0", "v0.2.0"} {
		source, err := committed(t.Context(), root, version)
		must(t, err)
		if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !source.Time.Equal(want) {
			t.Errorf("the time is %v, not the commit's, %v", source.Time, want)
		}
	}
}

// A build that fails leaves the release that is there.
func TestDistThatFailsLeavesDist(t *testing.T) {
	root := small(t, map[string]string{"go.mod": "module claimdir\n\ngo 1.26.0\n", "cmd/claimdir/main.go": "package main\n\nfunc main() { no() }\n"})
	says(t, dist(t.Context(), root, options{version: "v0.2.0", architectures: architectures()}, io.Discard), "build claimdir for", "undefined: no")
	if left := tree(t, filepath.Join(root, "dist")); left["of"] != "an earlier run" {
		t.Errorf("dist/ was changed: %q", left)
	}
	if _, err := os.Stat(filepath.Join(root, "dist.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dist.new is left: %v", err)
	}
}

func TestNotes(t *testing.T) {
	root := small(t, nil)
	text, err := notes(root, "v0.2.0")
	must(t, err)
	if text != "### Added\n- two" {
		t.Errorf("the notes are %q", text)
	}
}

// The versions that this repository names are one.
func TestVersionsAgree(t *testing.T) {
	root, err := project.Root()
	must(t, err)
	var out bytes.Buffer
	must(t, run(t.Context(), root, []string{"versions"}, &out))
	t.Log(out.String())
	must(t, run(t.Context(), small(t, nil), []string{"versions"}, &out))
}

func TestTheChartIsPackagedWithoutTheTimeOfDay(t *testing.T) {
	files := map[string]string{
		chartDir + "/templates/b.yaml": "b: 1\n", chartDir + "/templates/a.yaml": "a: 1\n", chartDir + "/.helmignore": ".git/\n", chartDir + "-other/c": "",
	}
	pack := func() string {
		root, dir := small(t, files), t.TempDir()
		write(t, root, map[string]string{chartDir + "/left-about": ""})
		source, err := checkedOut(t.Context(), root, "v0.2.0")
		must(t, err)
		must(t, packageChart(t.Context(), source, dir))
		return tree(t, dir)["claimdir-0.2.0.tgz"]
	}
	first := pack()
	if first == "" || first != pack() {
		t.Error("twice is not the same")
	}
	compressed, err := gzip.NewReader(bytes.NewReader([]byte(first)))
	must(t, err)
	var names []string
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, header.Name)
		if !header.ModTime.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || header.Mode != 0o644 {
			t.Errorf("%s is of %v and has mode %o", header.Name, header.ModTime, header.Mode)
		}
	}
	want := []string{"claimdir/.helmignore", "claimdir/Chart.yaml", "claimdir/templates/a.yaml", "claimdir/templates/b.yaml"}
	if !slices.Equal(names, want) {
		t.Errorf("the archive holds %q, not %q", names, want)
	}
}

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a command is missing"},
		{[]string{"publish"}, `no command is called "publish"; there are dist, push, image and versions`},
		{[]string{"dist", "v0.1.0"}, `dist takes flags only, not "v0.1.0"`},
		{[]string{"push", "-image", "PLACEHOLDER"}, "example's address"},
		{[]string{"image", "-tool", "nerdctl"}, `CONTAINER_TOOL is docker or podman, not "nerdctl"`},
	} {
		says(t, run(t.Context(), t.TempDir(), c.args, io.Discard), c.want)
	}
	if got := image.Architectures(); !slices.Equal(got, []string{"amd64", "arm64", "arm", "ppc64le", "s390x"}) {
		t.Errorf("a release is for %q", got)
	}
}
