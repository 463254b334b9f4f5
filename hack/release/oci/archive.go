package oci

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations by which containerd and others name what an archive holds.
const (
	containerdName = "io.containerd.image.name"
	ociName        = "org.opencontainers.image.ref.name"
)

// Archive writes an index to a file, under one name or several, each with a tag.
// The file is a tar archive of the OCI image layout, for containerd (ctr image
// import, and k3s and kind with it), podman, skopeo and docker with its
// containerd image store. docker's older store reads the manifest.json in it:
// there an image for one platform has the names, and one of several has them
// with its architecture behind.
func Archive(file string, index v1.ImageIndex, names ...string) error {
	if err := archive(file, index, names); err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	return nil
}

func archive(file string, index v1.ImageIndex, names []string) (err error) {
	docker, err := dockerManifest(index, names)
	if err != nil {
		return err
	}
	outer := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, text := range names {
		ref, err := name.NewTag(text)
		if err != nil {
			return err
		}
		annotations := map[string]string{containerdName: fullName(ref), ociName: ref.TagStr()}
		outer = mutate.AppendManifests(outer, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{Annotations: annotations}})
	}
	dir, err := os.MkdirTemp("", "claimdir-oci-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err := layout.Write(dir, outer); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), docker, 0o644); err != nil {
		return err
	}
	return tarDirectory(dir, file)
}

// Archive writes an archive of this image alone; see the function Archive.
func (i Image) Archive(file string, names ...string) error {
	image, err := i.Build()
	if err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	index, err := Index(nil, image)
	if err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	return Archive(file, index, names...)
}

// fullName is the name under which a kubelet asks for an image: what has no
// registry is docker.io's, and not index.docker.io's as in package name.
func fullName(ref name.Tag) string {
	registry := ref.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return registry + "/" + ref.RepositoryStr() + ":" + ref.TagStr()
}

// dockerManifest is the file by which docker's older store finds the images.
func dockerManifest(index v1.ImageIndex, names []string) ([]byte, error) {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	blob := func(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, d := range list.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		manifest, err := image.Manifest()
		if err != nil {
			return nil, err
		}
		e := entry{Config: blob(manifest.Config.Digest)}
		for _, layer := range manifest.Layers {
			e.Layers = append(e.Layers, blob(layer.Digest))
		}
		for _, name := range names {
			if len(list.Manifests) > 1 {
				name += "-" + d.Platform.Architecture
			}
			e.RepoTags = append(e.RepoTags, name)
		}
		entries = append(entries, e)
	}
	return json.Marshal(entries)
}

// tarDirectory writes the files below dir in the order of their names, with
// nothing of this machine in their headers.
func tarDirectory(dir, file string) (err error) {
	var names []string
	if err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	}); err != nil {
		return err
	}
	slices.Sort(names)
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	archive := tar.NewWriter(out)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := WriteFile(archive, tar.Header{Name: name, Mode: 0o644}, data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// Open unpacks an archive of Archive into dir, which must be empty, and returns
// its index. The index reads from dir when it is used.
func Open(file, dir string) (v1.ImageIndex, error) {
	if err := unpack(file, dir); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", file, err)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	list, err := outer.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(list.Manifests) == 0 {
		return nil, fmt.Errorf("read %s: it holds no image", file)
	}
	index, err := outer.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return index, nil
}

func unpack(file, dir string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := root.MkdirAll(path.Dir(header.Name), 0o755); err != nil {
			return err
		}
		out, err := root.Create(header.Name)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, archive)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
