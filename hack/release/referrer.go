package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	sbomType  types.MediaType = "application/vnd.cyclonedx+json"
	emptyType types.MediaType = "application/vnd.oci.empty.v1+json"
)

// manifest is one that is pushed as it is.
type manifest struct{ v1.Manifest }

// RawManifest is what is pushed.
func (m manifest) RawManifest() ([]byte, error) { return json.Marshal(m.Manifest) }

// MediaType is what it is pushed as.
func (m manifest) MediaType() (types.MediaType, error) { //nolint:unparam // remote.Taggable asks for it
	return m.Manifest.MediaType, nil
}

// attach pushes a file as an OCI artifact that refers to subject.
func (p *pusher) attach(subject v1.Descriptor, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	content, err := p.blob(data, sbomType)
	if err != nil {
		return err
	}
	content.Annotations = map[string]string{"org.opencontainers.image.title": filepath.Base(file)}
	config, err := p.blob([]byte("{}"), emptyType)
	if err != nil {
		return err
	}
	m := manifest{v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: string(sbomType), Config: config,
		Layers:  []v1.Descriptor{content},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
	}}
	raw, err := m.RawManifest()
	if err != nil {
		return err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return remote.Put(p.tag.Digest(digest.String()), m, p.options...)
}

// blob pushes bytes and describes them.
func (p *pusher) blob(data []byte, kind types.MediaType) (v1.Descriptor, error) {
	layer := static.NewLayer(data, kind)
	if err := remote.WriteLayer(p.tag.Repository, layer, p.options...); err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := layer.Digest()
	return v1.Descriptor{MediaType: kind, Size: int64(len(data)), Digest: digest}, err
}
