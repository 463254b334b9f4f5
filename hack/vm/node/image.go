package node

import (
	"context"
	"debug/elf"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"claimdir/hack/project"
	"claimdir/hack/release/image"
	"claimdir/hack/release/oci"
)

// ImageName is that of claimdir's image, without a tag, as in manifests/overlays/example.
const ImageName = "registry.example.com/claimdir"

// ClaimdirImage writes an archive of claimdir's image for Options.Archives, as a
// release has it: the node finds its platform among several. tag is its version,
// too.
func ClaimdirImage(ctx context.Context, archive, tag string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	source := image.Source{Root: root, Version: tag, Revision: "unknown", Time: time.Unix(0, 0)}
	return source.Archive(ctx, archive, ImageName+":"+tag, "amd64", "arm64")
}

// Busybox is an image of this machine's busybox, which must be a static one
// (Debian's busybox-static). It sleeps, unless it is told otherwise; each of
// its applets is in /bin.
func Busybox() (oci.Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return oci.Image{}, fmt.Errorf("find busybox: %w; install it: sudo apt-get install busybox-static", err)
	}
	binary, err := elf.Open(path)
	if err != nil {
		return oci.Image{}, fmt.Errorf("read %s: %w", path, err)
	}
	dynamic := slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if err := binary.Close(); err != nil {
		return oci.Image{}, err
	}
	if dynamic {
		return oci.Image{}, fmt.Errorf("%s needs shared libraries; install a static one: sudo apt-get install busybox-static", path)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return oci.Image{}, fmt.Errorf("list the applets of %s: %w", path, err)
	}
	i := oci.Image{
		Platform:    v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:      v1.Config{Cmd: []string{"/bin/busybox", "sleep", "1000000"}, Env: []string{"PATH=/bin"}},
		Directories: map[string]int64{"tmp": 0o1777, "etc": 0o755},
		Files:       map[string]string{"bin/busybox": path}, Links: map[string]string{},
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			i.Links["bin/"+applet] = "busybox"
		}
	}
	return i, nil
}
