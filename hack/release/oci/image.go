// Package oci makes container images and writes them as archives, without a
// container tool or a registry: go-containerregistry does the formats. The same
// content gives the same bytes.
package oci

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is what a container image for Linux holds, in one layer.
type Image struct {
	Platform v1.Platform
	Config   v1.Config
	// Created is also the time of every file.
	Created time.Time
	// Annotations are the manifest's.
	Annotations map[string]string
	// Directories maps paths in the image to modes as tar has them: 0o1777.
	Directories map[string]int64
	// Links maps paths in the image to the targets of symbolic links there.
	Links map[string]string
	// Files maps paths in the image to files of this machine. In the image all
	// are mode 0755 and root's, whatever they are here.
	Files map[string]string
}

// Build reads the files and makes the image.
func (i Image) Build() (v1.Image, error) {
	files, err := i.layer()
	if err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }
	layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("compress layer: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: i.Created.UTC()}
	if image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: i.Platform.Architecture, OS: i.Platform.OS, Variant: i.Platform.Variant,
		Created: created, Config: i.Config, RootFS: v1.RootFS{Type: "layers"},
	}); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: created}})
	if err != nil {
		return nil, fmt.Errorf("add layer: %w", err)
	}
	if len(i.Annotations) > 0 {
		image = mutate.Annotations(image, i.Annotations).(v1.Image)
	}
	return image, nil
}

// layer is the file system as a tar archive.
func (i Image) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	var headers []tar.Header
	for _, name := range slices.Sorted(maps.Keys(i.Directories)) {
		headers = append(headers, tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: i.Directories[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(i.Links)) {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: i.Links[name], Mode: 0o777})
	}
	for _, header := range headers {
		header.ModTime = i.Created
		if err := archive.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		data, err := os.ReadFile(i.Files[name])
		if err != nil {
			return nil, err
		}
		if err := WriteFile(archive, tar.Header{Name: name, Mode: 0o755, ModTime: i.Created}, data); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), archive.Close()
}

// WriteFile adds a file to an archive; it sets the header's size.
func WriteFile(archive *tar.Writer, header tar.Header, data []byte) error {
	header.Size = int64(len(data))
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}

// Index makes one image of those for several platforms.
func Index(annotations map[string]string, images ...v1.Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("read an image's platform: %w", err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	if len(annotations) > 0 {
		index = mutate.Annotations(index, annotations).(v1.ImageIndex)
	}
	return index, nil
}
