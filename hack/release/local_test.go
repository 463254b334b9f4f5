package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"claimdir/hack/release/oci"
)

// tools makes a PATH on which some container tools work; load keeps what they get.
func tools(t *testing.T, works map[string]bool) (loaded func(tool string) string) {
	t.Helper()
	dir := t.TempDir()
	for tool, well := range works {
		script := "#!/bin/sh\n[ \"$1 $2\" != 'load -i' ] || cp \"$3\" " + filepath.Join(dir, tool+".tar") + "\n"
		if !well {
			script = "#!/bin/sh\necho no daemon >&2\nexit 1\n"
		}
		must(t, os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func(tool string) string { return filepath.Join(dir, tool+".tar") }
}

func TestImageIsLoadedIntoTheFirstToolThatWorks(t *testing.T) {
	root := released(t)
	loaded := tools(t, map[string]bool{"docker": false, "podman": true})
	var out bytes.Buffer
	must(t, run(t.Context(), root, []string{"image", "-version", theRelease.version}, &out))
	if !strings.Contains(out.String(), "podman has claimdir:"+theRelease.version+", which was not pushed") {
		t.Errorf("it says %q", out.String())
	}
	// An image for one machine has the tag without an architecture.
	tag, err := name.NewTag("claimdir:" + theRelease.version)
	must(t, err)
	_, err = tarball.ImageFromPath(loaded("podman"), &tag)
	must(t, err)
	index, err := oci.Open(loaded("podman"), t.TempDir())
	must(t, err)
	list, err := index.IndexManifest()
	must(t, err)
	if len(list.Manifests) != 1 {
		t.Fatalf("it is for %d platforms", len(list.Manifests))
	}
	image, err := index.Image(list.Manifests[0].Digest)
	must(t, err)
	lookInside(t, runtime.GOARCH, image)
}

func TestImageIsAFileWhereNoToolWorks(t *testing.T) {
	root := released(t)
	tools(t, map[string]bool{"docker": false, "podman": false})
	var out bytes.Buffer
	must(t, run(t.Context(), root, []string{"image", "-version", theRelease.version, "-image", "registry.example.org/claimdir:dev"}, &out))
	file := filepath.Join(root, "bin", "claimdir-oci.tar")
	if !strings.Contains(out.String(), "registry.example.org/claimdir:dev is in "+file) || !strings.Contains(out.String(), "ctr -n k8s.io image import "+file) {
		t.Errorf("it says %q", out.String())
	}
	tag, err := name.NewTag("registry.example.org/claimdir:dev")
	must(t, err)
	_, err = tarball.ImageFromPath(file, &tag)
	must(t, err)
}

func TestImageSaysWhatTheToolSays(t *testing.T) {
	tools(t, map[string]bool{"docker": false})
	says(t, load(t.Context(), "docker", "image.tar"), "docker load", "no daemon")
}
