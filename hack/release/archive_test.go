package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"claimdir/hack/release/oci"
)

// archiveIndex is the image in the release's archive.
func archiveIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := oci.Open(archiveFile(filepath.Join(released(t), distDir), theRelease.version), t.TempDir())
	must(t, err)
	return index
}

func TestTheArchiveHoldsOneImageForAllPlatforms(t *testing.T) {
	index := archiveIndex(t)
	must(t, validate.Index(index))
	list, err := index.IndexManifest()
	must(t, err)
	if len(list.Manifests) != len(architectures()) || list.MediaType != types.OCIImageIndex {
		t.Fatalf("%s with %d images, not %d", list.MediaType, len(list.Manifests), len(architectures()))
	}
	for i, a := range architectures() {
		d := list.Manifests[i]
		variant := map[string]string{"arm": "v7"}[a]
		if d.Platform.OS != "linux" || d.Platform.Architecture != a || d.Platform.Variant != variant || d.MediaType != types.OCIManifestSchema1 {
			t.Errorf("image %d is %s for %v, not for linux/%s%s", i, d.MediaType, d.Platform, a, variant)
		}
		image, err := index.Image(d.Digest)
		must(t, err)
		lookInside(t, a, image)
	}
}

// lookInside compares an image with what a release's image is.
func lookInside(t *testing.T, architecture string, image v1.Image) {
	t.Helper()
	revision, err := testGit(theRelease.root, "rev-parse", "HEAD")
	must(t, err)
	labels := map[string]string{
		"org.opencontainers.image.title":       "claimdir",
		"org.opencontainers.image.description": "Gives every PersistentVolumeClaim its own directory on an existing NFS share",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     theRelease.version,
		"org.opencontainers.image.revision":    revision,
	}
	file, err := image.ConfigFile()
	must(t, err)
	want := v1.Config{
		Entrypoint: []string{"/claimdir"}, User: "65532:65532", Labels: labels, ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}
	if got, want := asJSON(t, file.Config), asJSON(t, want); got != want {
		t.Errorf("%s: the configuration is\n%s, not\n%s", architecture, got, want)
	}
	if file.OS != "linux" || file.Architecture != architecture || file.Created.UTC().String() != "2026-01-02 03:04:05 +0000 UTC" {
		t.Errorf("%s: it is for %s/%s, of %v", architecture, file.OS, file.Architecture, file.Created)
	}
	manifest, err := image.Manifest()
	must(t, err)
	if !maps.Equal(manifest.Annotations, labels) {
		t.Errorf("%s: the annotations are %v", architecture, manifest.Annotations)
	}
	layers, err := image.Layers()
	must(t, err)
	if len(layers) != 1 {
		t.Fatalf("%s: %d layers", architecture, len(layers))
	}
	content, err := layers[0].Uncompressed()
	must(t, err)
	defer content.Close()
	archive := tar.NewReader(content)
	header, err := archive.Next()
	must(t, err)
	if header.Name != "claimdir" || header.Mode != 0o755 || header.Uid != 0 || header.Typeflag != tar.TypeReg {
		t.Errorf("%s: the file is %+v", architecture, header)
	}
	binary, err := io.ReadAll(archive)
	must(t, err)
	if string(binary) != tree(t, filepath.Join(theRelease.root, distDir))["claimdir_"+theRelease.version+"_linux_"+architecture] {
		t.Errorf("%s: the image has another binary than dist", architecture)
	}
	if next, err := archive.Next(); err != io.EOF {
		t.Errorf("%s: there is more in the image: %v, %v", architecture, next, err)
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	return string(text)
}

// A kubelet asks for claimdir:TAG by this name.
func TestTheArchiveNamesItsImageAsContainerdDoes(t *testing.T) {
	dir := t.TempDir()
	_, err := oci.Open(archiveFile(filepath.Join(released(t), distDir), theRelease.version), dir)
	must(t, err)
	var outer v1.IndexManifest
	must(t, json.Unmarshal([]byte(tree(t, dir)["index.json"]), &outer))
	if len(outer.Manifests) != 1 {
		t.Fatalf("the archive holds %d images", len(outer.Manifests))
	}
	want := map[string]string{
		"io.containerd.image.name":          "docker.io/library/claimdir:" + theRelease.version,
		"org.opencontainers.image.ref.name": theRelease.version,
	}
	if !maps.Equal(outer.Manifests[0].Annotations, want) {
		t.Errorf("the annotations are %v, not %v", outer.Manifests[0].Annotations, want)
	}
}

// docker's older store knows no index, and takes what manifest.json names.
func TestDockerLoadsTheArchive(t *testing.T) {
	for _, a := range architectures() {
		text := "claimdir:" + theRelease.version
		if len(architectures()) > 1 {
			text += "-" + a
		}
		tag, err := name.NewTag(text)
		must(t, err)
		image, err := tarball.ImageFromPath(archiveFile(filepath.Join(released(t), distDir), theRelease.version), &tag)
		must(t, err)
		must(t, validate.Image(image))
		config, err := image.ConfigFile()
		must(t, err)
		if config.Architecture != a || !slices.Equal(config.Config.Entrypoint, []string{"/claimdir"}) {
			t.Errorf("%s is for %s and runs %q", tag, config.Architecture, config.Config.Entrypoint)
		}
	}
}
