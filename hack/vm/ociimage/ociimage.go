// Package ociimage writes small container images without any container tool or
// registry: archives of the OCI image layout with one layer, as `ctr image
// import` and `skopeo` read them.
package ociimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// Image is what a container image holds.
type Image struct {
	// Names with tags; all are the same image.
	Names           []string
	Entrypoint, Cmd []string
	// Files maps paths in the image to files of this machine. All are mode 0755
	// and root's.
	Files map[string]string
	// Links maps paths in the image to what symbolic links there say.
	Links map[string]string
}

// Busybox is an image of this machine's busybox, which must be a static one
// (Debian's busybox-static). It sleeps, unless it is told otherwise; each of
// its applets is in /bin.
func Busybox(names ...string) (Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return Image{}, fmt.Errorf("find busybox: %w; install it: sudo apt-get install busybox-static", err)
	}
	binary, err := elf.Open(path)
	if err != nil {
		return Image{}, fmt.Errorf("read %s: %w", path, err)
	}
	dynamic := slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if err := binary.Close(); err != nil {
		return Image{}, err
	}
	if dynamic {
		return Image{}, fmt.Errorf("%s needs shared libraries; install a static one: sudo apt-get install busybox-static", path)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return Image{}, fmt.Errorf("list the applets of %s: %w", path, err)
	}
	image := Image{
		Names: names, Cmd: []string{"/bin/busybox", "sleep", "1000000"},
		Files: map[string]string{"bin/busybox": path}, Links: map[string]string{},
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			image.Links["bin/"+applet] = "busybox"
		}
	}
	return image, nil
}

// Write writes the image as an archive. The same content gives the same bytes.
func (i Image) Write(path string) error {
	if err := i.write(path); err != nil {
		return fmt.Errorf("write image %s: %w", strings.Join(i.Names, ", "), err)
	}
	return nil
}

type (
	object     = map[string]any
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
)

func (i Image) write(path string) error {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	add := func(kind string, data []byte) descriptor {
		d := descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)), Size: len(data)}
		files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")] = data
		return d
	}
	layerDescriptor := add("layer.v1.tar", layer)
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": i.Entrypoint, "Cmd": i.Cmd, "Env": []string{"PATH=/bin"}},
		"rootfs": object{"type": "layers", "diff_ids": []string{layerDescriptor.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": add("config.v1+json", config), "layers": []descriptor{layerDescriptor},
	})
	if err != nil {
		return err
	}
	var manifests []descriptor
	for _, name := range i.Names {
		d := add("manifest.v1+json", manifest)
		d.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
		manifests = append(manifests, d)
	}
	if files["index.json"], err = json.Marshal(object{"schemaVersion": 2, "manifests": manifests}); err != nil {
		return err
	}
	return writeArchive(path, files)
}

// layer is the file system as a tar archive.
func (i Image) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	headers := []tar.Header{{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, {Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}}
	for _, name := range slices.Sorted(maps.Keys(i.Links)) {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: i.Links[name], Mode: 0o777})
	}
	for _, header := range headers {
		if err := archive.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		data, err := os.ReadFile(i.Files[name])
		if err != nil {
			return nil, err
		}
		if err := writeFile(archive, name, data); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), archive.Close()
}

func writeArchive(path string, files map[string][]byte) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	archive := tar.NewWriter(file)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(archive, name, files[name]); err != nil {
			return err
		}
	}
	return archive.Close()
}

func writeFile(archive *tar.Writer, name string, data []byte) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}
