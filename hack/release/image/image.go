// Package image builds claimdir's binaries and the container image around them,
// as a release has them. The same source, version, revision and time give the
// same bytes with the same Go, in any directory.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"claimdir/hack/release/oci"
)

// Architectures are those that claimdir is released for, as Go calls them.
func Architectures() []string { return []string{"amd64", "arm64", "arm", "ppc64le", "s390x"} }

// Source says what is built.
type Source struct {
	// Root is the directory of the product's go.mod.
	Root string
	// Version is what --version prints, such as v0.1.0.
	Version string
	// Revision is the commit.
	Revision string
	// Time is the commit's.
	Time time.Time
}

// Program is one of the programs of a release, for one platform.
type Program struct {
	// Dir is a directory in its module, and Package where its main package is, from there.
	Dir, Package string
	// OS and Architecture are as Go calls them.
	OS, Architecture string
}

// Binary builds claimdir's static binary of an architecture into the file out.
func (s Source) Binary(ctx context.Context, architecture, out string) error {
	return s.Build(ctx, Program{Dir: s.Root, Package: "./cmd/claimdir", OS: "linux", Architecture: architecture}, out)
}

// Build builds a program, static and stripped, into the file out. What of the
// caller's environment would change the bytes does not count.
func (s Source) Build(ctx context.Context, p Program, out string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+s.Version, "-o", out, p.Package)
	build.Dir = p.Dir
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "GOEXPERIMENT=") {
			build.Env = append(build.Env, entry)
		}
	}
	// Of two values of a variable the last counts. The commit is a label of the
	// image: go would write into the binary whether it has a tag by now.
	build.Env = append(build.Env, "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOAMD64=v1", "GOARM64=v8.0", "GOARM=7", "GOPPC64=power8",
		"GOFLAGS=-buildvcs=false", "GOWORK=off", "GO111MODULE=on")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s/%s: %w\n%s", filepath.Base(filepath.Join(p.Dir, p.Package)), p.OS, p.Architecture, err, output)
	}
	return os.Chmod(out, 0o755) // whatever the umask
}

// Image is the container image around a binary of an architecture. The labels
// are those of the Dockerfile.
func (s Source) Image(architecture, binary string) (v1.Image, error) {
	platform := v1.Platform{OS: "linux", Architecture: architecture}
	if architecture == "arm" {
		platform.Variant = "v7" // GOARM
	}
	image, err := oci.Image{
		Platform: platform,
		Config: v1.Config{
			Entrypoint: []string{"/claimdir"}, User: "65532:65532", Labels: s.labels(),
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		},
		Created: s.Time, Annotations: s.labels(),
		Files: map[string]string{"claimdir": binary},
	}.Build()
	if err != nil {
		return nil, fmt.Errorf("make the image for %s: %w", architecture, err)
	}
	return image, nil
}

func (s Source) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "claimdir",
		"org.opencontainers.image.description": "Gives every PersistentVolumeClaim its own directory on an existing NFS share",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.Version,
		"org.opencontainers.image.revision":    s.Revision,
	}
}

// Index is one image of binaries, which map architectures to files. Its order is
// that of [Architectures].
func (s Source) Index(binaries map[string]string) (v1.ImageIndex, error) {
	var images []v1.Image
	for _, architecture := range Architectures() {
		binary, ok := binaries[architecture]
		if !ok {
			continue
		}
		image, err := s.Image(architecture, binary)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return oci.Index(s.labels(), images...)
}

// Archive builds the binaries of some architectures and writes an archive of one
// image with all of them, under a name with a tag.
func (s Source) Archive(ctx context.Context, file, name string, architectures ...string) (err error) {
	dir, err := os.MkdirTemp("", "claimdir-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binaries := map[string]string{}
	for _, architecture := range architectures {
		binaries[architecture] = filepath.Join(dir, architecture)
		if err := s.Binary(ctx, architecture, binaries[architecture]); err != nil {
			return err
		}
	}
	index, err := s.Index(binaries)
	if err != nil {
		return err
	}
	return oci.Archive(file, index, name)
}
