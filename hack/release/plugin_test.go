package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// krewPlugin is a manifest as krew reads it, krew.googlecontainertools.github.com/v1alpha2.
type krewPlugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		Homepage         string `json:"homepage"`
		Platforms        []struct {
			URI      string `json:"uri"`
			SHA256   string `json:"sha256"`
			Bin      string `json:"bin"`
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
		} `json:"platforms"`
	} `json:"spec"`
}

// krew checks these: see pkg/index/validation of its source.
var (
	krewVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+`)
	krewSum     = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

func TestTheManifestForKrewIsOfTheArchives(t *testing.T) {
	dir := filepath.Join(released(t), distDir)
	var plugin krewPlugin
	must(t, yaml.UnmarshalStrict([]byte(tree(t, dir)["claimdir.yaml"]), &plugin))
	if plugin.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || plugin.Kind != "Plugin" || plugin.Metadata.Name != "claimdir" {
		t.Errorf("it is %s %s %s", plugin.APIVersion, plugin.Kind, plugin.Metadata.Name)
	}
	s := plugin.Spec
	if s.Version != theRelease.version || !krewVersion.MatchString(s.Version) || s.ShortDescription == "" || len(s.ShortDescription) > 60 || strings.ContainsAny(s.ShortDescription, "\r\n") {
		t.Errorf("version %s: %s", s.Version, s.ShortDescription)
	}
	var found []string
	for _, p := range s.Platforms {
		platform := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		found = append(found, platform)
		archive := filepath.Base(p.URI)
		if len(p.Selector.MatchLabels) != 2 || p.URI != "https://example.com/claimdir/"+s.Version+"/"+archive {
			t.Errorf("%v is at %s", p.Selector.MatchLabels, p.URI)
		}
		if sum, err := fileSum(filepath.Join(dir, archive)); err != nil || sum != p.SHA256 || !krewSum.MatchString(p.SHA256) {
			t.Errorf("%s has the sum %s (%v), not %s", archive, sum, err, p.SHA256)
		}
		if files := unpacked(t, filepath.Join(dir, archive)); files[p.Bin] == "" {
			t.Errorf("%s has no %s, but %q", archive, p.Bin, slices.Sorted(maps.Keys(files)))
		}
	}
	if !slices.Equal(found, plugins()) {
		t.Errorf("it has the platforms %q, not %q", found, plugins())
	}
}

func TestThePluginsArchive(t *testing.T) {
	dir := filepath.Join(released(t), distDir)
	magic := map[string]string{"linux": "7f454c46", "darwin": "cffaedfe", "windows": "4d5a"}
	for _, platform := range plugins() {
		goos, _, _ := strings.Cut(platform, "/")
		program := "kubectl-claimdir" + map[string]string{"windows": ".exe"}[goos]
		files := unpacked(t, filepath.Join(dir, "kubectl-claimdir_"+theRelease.version+"_"+strings.ReplaceAll(platform, "/", "_")+".tar.gz"))
		if got, want := slices.Sorted(maps.Keys(files)), []string{"LICENSE", program, "kubectl_complete-claimdir"}; !slices.Equal(got, want) {
			t.Errorf("%s: it holds %q, not %q", platform, got, want)
		}
		if begin := hex.EncodeToString([]byte(files[program][:8])); !strings.HasPrefix(begin, magic[goos]) {
			t.Errorf("%s: the program begins with %s", platform, begin)
		}
		if platform != runtime.GOOS+"/"+runtime.GOARCH {
			continue
		}
		file := filepath.Join(t.TempDir(), program)
		must(t, os.WriteFile(file, []byte(files[program]), 0o755))
		out, err := exec.Command(file, "version", "--client").Output()
		if want := "kubectl-claimdir " + theRelease.version + "\n"; err != nil || string(out) != want {
			t.Errorf("it prints %q (%v), not %q", out, err, want)
		}
	}
}

// unpacked is what an archive holds. All may be read, and the programs run.
func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	content, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		text, err := io.ReadAll(archive)
		must(t, err)
		files[header.Name] = string(text)
		want := int64(0o644)
		if strings.HasPrefix(header.Name, "kubectl") {
			want = 0o755
		}
		if header.Mode != want || header.ModTime.Unix() != 1767323045 { // the commit's: 2026-01-02T03:04:05Z
			t.Errorf("%s: mode %o, time %v", header.Name, header.Mode, header.ModTime)
		}
	}
}
