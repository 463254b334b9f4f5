package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"claimdir/hack/release/image"
)

// sbomSuffix follows a binary's name in that of its SBOM.
const sbomSuffix = ".cdx.json"

// goVersion is the one that built a binary.
func goVersion(binary string) (string, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", fmt.Errorf("read what is built in: %w", err)
	}
	return info.GoVersion, nil
}

// writeSBOM writes which modules a binary is built of, as the linker recorded
// them, in the form of CycloneDX.
func writeSBOM(s image.Source, binary, file string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("write SBOM: %w", err)
	}
	sum, err := fileSum(binary)
	if err != nil {
		return fmt.Errorf("write SBOM: %w", err)
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceOID, []byte(sum)).URN()
	product := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, Name: "claimdir", Version: s.Version,
		Description: filepath.Base(binary),
		Licenses:    &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
		Hashes:      &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}},
	}
	identify(&product, info.Main.Path, s.Version)
	bom.Metadata = &cyclonedx.Metadata{Timestamp: s.Time.Format(time.RFC3339), Component: &product}
	components := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, module := range info.Deps {
		component, err := ofModule(module)
		if err != nil {
			return fmt.Errorf("write SBOM: %w", err)
		}
		components = append(components, component)
	}
	var needs []string
	for _, component := range components {
		needs = append(needs, component.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: product.BOMRef, Dependencies: &needs}}
	var text bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return fmt.Errorf("write SBOM: %w", err)
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}

// ofModule is a module with its sum, which is the one of go.sum.
func ofModule(module *debug.Module) (cyclonedx.Component, error) {
	if module.Replace != nil {
		module = module.Replace
	}
	component := library(module.Path, module.Version)
	if module.Sum != "" {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:"))
		if err != nil {
			return cyclonedx.Component{}, fmt.Errorf("read the sum of module %s: %w", module.Path, err)
		}
		component.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return component, nil
}

func library(path, version string) cyclonedx.Component {
	component := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version}
	identify(&component, path, version)
	return component
}

// identify names a component by its package URL, as scanners look for it.
func identify(component *cyclonedx.Component, path, version string) {
	component.PackageURL = "pkg:golang/" + path + "@" + url.QueryEscape(version) // a + of a version is %2B there
	component.BOMRef = component.PackageURL
}
