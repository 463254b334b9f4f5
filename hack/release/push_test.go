package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// newRegistry starts a registry and returns its address, and how often it was asked.
func newRegistry(t *testing.T, options ...registry.Option) (address string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	handler := registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), asked
}

func TestPushAndPull(t *testing.T) {
	for _, kind := range []struct {
		name    string
		options []registry.Option
	}{
		{"a registry that lists referrers", []registry.Option{registry.WithReferrersSupport(true)}},
		{"an older registry", nil},
	} {
		t.Run(kind.name, func(t *testing.T) {
			root := released(t)
			address, _ := newRegistry(t, kind.options...)
			image := address + "/storage/claimdir:" + theRelease.version
			signed := filepath.Join(t.TempDir(), "signed")
			sign := "printf '%s %s\\n' \"a key\" >>" + signed // the image is the last argument
			var out bytes.Buffer
			must(t, push(t.Context(), root, options{image: image, sign: sign}, &out))

			ref, err := name.NewTag(image)
			must(t, err)
			index, err := remote.Index(ref)
			must(t, err)
			must(t, validate.Index(index))
			digest, err := index.Digest()
			must(t, err)
			if want, err := archiveIndex(t).Digest(); err != nil || digest != want {
				t.Errorf("the tag is %s, and the archive holds %s (%v)", digest, want, err)
			}
			text, err := os.ReadFile(signed)
			must(t, err)
			if want := "a key " + address + "/storage/claimdir@" + digest.String() + "\n"; string(text) != want {
				t.Errorf("signed was %q, not %q", text, want)
			}
			list, err := index.IndexManifest()
			must(t, err)
			if len(list.Manifests) != len(architectures()) {
				t.Errorf("the index lists %d platforms, not %d", len(list.Manifests), len(architectures()))
			}
			for _, d := range list.Manifests {
				hasSBOM(t, ref.Digest(d.Digest.String()), d.Platform.Architecture)
			}
			// A second time, as after a push that was cut off.
			must(t, push(t.Context(), root, options{image: image}, &out))
			for _, d := range list.Manifests {
				hasSBOM(t, ref.Digest(d.Digest.String()), d.Platform.Architecture)
			}
		})
	}
}

// hasSBOM compares what refers to a platform's image with the SBOM in dist.
func hasSBOM(t *testing.T, image name.Digest, architecture string) {
	t.Helper()
	referrers, err := remote.Referrers(image)
	must(t, err)
	list, err := referrers.IndexManifest()
	must(t, err)
	if len(list.Manifests) != 1 {
		t.Fatalf("%s has %d referrers", architecture, len(list.Manifests))
	}
	descriptor, err := remote.Get(image.Digest(list.Manifests[0].Digest.String()))
	must(t, err)
	var m v1.Manifest
	must(t, json.Unmarshal(descriptor.Manifest, &m))
	if m.ArtifactType != "application/vnd.cyclonedx+json" || m.Subject.Digest.String() != image.DigestStr() || len(m.Layers) != 1 {
		t.Fatalf("%s: the referrer is %s", architecture, descriptor.Manifest)
	}
	layer, err := remote.Layer(image.Digest(m.Layers[0].Digest.String()))
	must(t, err)
	content, err := layer.Compressed()
	must(t, err)
	defer content.Close()
	got, err := io.ReadAll(content)
	must(t, err)
	want, err := os.ReadFile(binaryOf(t, architecture) + sbomSuffix)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the SBOM is not that of dist", architecture)
	}
	if title := m.Layers[0].Annotations["org.opencontainers.image.title"]; title != filepath.Base(binaryOf(t, architecture))+sbomSuffix {
		t.Errorf("%s: the SBOM is called %q", architecture, title)
	}
}

func TestPushRefusesAnAddressThatNobodyMeans(t *testing.T) {
	address, asked := newRegistry(t)
	for image, want := range map[string][]string{
		"":                                       {"IMAGE is missing", "HOST/NAME:TAG"},
		"registry.example.com/claimdir:v0.1.0":   {"IMAGE=registry.example.com/claimdir:v0.1.0", "example's address"},
		address + "/PLACEHOLDER/claimdir:v0.1.0": {"PLACEHOLDER", "example's address"},
		"example.com:5000/claimdir:v0.1.0":       {"example's address"},
		address + "/claimdir":                    {"has no tag"},
		"claimdir:v0.1.0":                        {"names no registry"},
		"storage/claimdir:v0.1.0":                {"names no registry"},
		address + "/claimdir:v0.1.0 ":            {"IMAGE="},
		address + "/claimdir@sha256:" + strings.Repeat("0", 64): {"IMAGE="},
	} {
		// The root is empty: the address is looked at before anything else.
		says(t, push(t.Context(), t.TempDir(), options{image: image}, io.Discard), want...)
	}
	if asked.Load() != 0 {
		t.Errorf("the registry was asked %d times", asked.Load())
	}
}

func TestPushRefusesADistThatIsNotWhole(t *testing.T) {
	address, asked := newRegistry(t)
	o := options{image: address + "/claimdir:v0.1.0"}
	says(t, push(t.Context(), t.TempDir(), o, io.Discard), "nothing to push", "make dist VERSION=")
	root := t.TempDir()
	must(t, os.CopyFS(filepath.Join(root, distDir), os.DirFS(filepath.Join(released(t), distDir))))
	sbom := "claimdir_" + theRelease.version + "_linux_" + architectures()[0] + sbomSuffix
	write(t, filepath.Join(root, distDir), map[string]string{sbom: "{}"})
	says(t, push(t.Context(), root, o, io.Discard), sbom, "make dist")
	if asked.Load() != 0 {
		t.Errorf("the registry was asked %d times", asked.Load())
	}
}

func TestPushMovesNoTag(t *testing.T) {
	address, _ := newRegistry(t)
	ref, err := name.NewTag(address + "/claimdir:v0.1.0")
	must(t, err)
	other, err := random.Image(100, 1)
	must(t, err)
	must(t, remote.Write(ref, other))
	digest, err := other.Digest()
	must(t, err)
	says(t, push(t.Context(), released(t), options{image: ref.String()}, io.Discard), ref.String(), digest.String(), "another tag")
	if head, err := remote.Head(ref); err != nil || head.Digest != digest {
		t.Errorf("the tag is %v now, %v", head, err)
	}
}

// An image without its signature gets no tag.
func TestPushTagsLast(t *testing.T) {
	address, _ := newRegistry(t)
	o := options{image: address + "/claimdir:v0.1.0", sign: "false"}
	says(t, push(t.Context(), released(t), o, io.Discard), "sign "+address+"/claimdir@sha256:", "no tag yet")
	ref, err := name.NewTag(o.image)
	must(t, err)
	if head, err := remote.Head(ref); err == nil {
		t.Errorf("there is a tag: %v", head)
	}
}
