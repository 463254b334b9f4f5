//go:build buildah

package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"claimdir/hack/project"
)

// buildah runs the real one, with a storage of its own; vfs, which needs no mount.
func buildah(t *testing.T, storage string, args ...string) string {
	t.Helper()
	config := filepath.Join(storage, "storage.conf")
	write(t, storage, map[string]string{
		"storage.conf": "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + storage + "/root\"\nrunroot = \"" + storage + "/run\"\n",
	})
	command := exec.Command("buildah", args...)
	command.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+config)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// saved is an image of buildah's storage.
func saved(t *testing.T, storage, image string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	buildah(t, storage, "push", "--quiet", image, "oci:"+dir)
	index, err := layout.ImageIndexFromPath(dir)
	must(t, err)
	list, err := index.IndexManifest()
	must(t, err)
	saved, err := index.Image(list.Manifests[0].Digest)
	must(t, err)
	return saved
}

// The library is also podman's. It finds this machine's platform in the index.
func TestBuildahReadsTheArchive(t *testing.T) {
	storage := t.TempDir()
	id := buildah(t, storage, "pull", "--quiet", "oci-archive:"+archiveFile(filepath.Join(released(t), distDir), theRelease.version))
	lookInside(t, runtime.GOARCH, saved(t, storage, id))
}

func TestTheDockerfileGivesTheSameImage(t *testing.T) {
	root, err := project.Root()
	must(t, err)
	list, err := archiveIndex(t).IndexManifest()
	must(t, err)
	for i, a := range architectures()[:min(2, len(architectures()))] {
		binary, err := os.ReadFile(binaryOf(t, a))
		must(t, err)
		storage, dir := t.TempDir(), t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "claimdir"), binary, 0o755))
		revision, err := testGit(theRelease.root, "rev-parse", "HEAD")
		must(t, err)
		// There is no RUN to isolate; chroot asks for the least of the machine.
		buildah(t, storage, "build", "--isolation", "chroot", "--file", filepath.Join(root, "Dockerfile"), "--platform", "linux/"+a, "--tag", "claimdir:"+a,
			"--build-arg", "VERSION="+theRelease.version, "--build-arg", "REVISION="+revision, dir)
		ours, err := archiveIndex(t).Image(list.Manifests[i].Digest)
		must(t, err)
		if got, want := sketch(t, saved(t, storage, "claimdir:"+a)), sketch(t, ours); got != want {
			t.Errorf("%s: the Dockerfile gives\n%s, and a release has\n%s", a, got, want)
		}
	}
}

// buildahPath is the environment that some versions of buildah, 1.28 for one, give an image that has none.
const buildahPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// sketch is what matters of an image to who runs it, without what depends on the version of buildah: its label, its PATH, and
// whether the mode in a layer has the type of the file, too.
func sketch(t *testing.T, image v1.Image) string {
	t.Helper()
	file, err := image.ConfigFile()
	must(t, err)
	delete(file.Config.Labels, "io.buildah.version")
	if slices.Equal(file.Config.Env, []string{buildahPath}) {
		file.Config.Env = nil
	}
	type entry struct {
		Name string
		Mode int64
		Size int64
	}
	var entries []entry
	layers, err := image.Layers()
	must(t, err)
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		must(t, err)
		defer content.Close()
		for archive := tar.NewReader(content); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			entries = append(entries, entry{header.Name, header.Mode & 0o7777, header.Size})
		}
	}
	return asJSON(t, map[string]any{"for": file.OS + "/" + file.Architecture, "config": file.Config, "files": entries})
}
