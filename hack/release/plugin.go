package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"claimdir/hack/release/image"
	"claimdir/hack/release/oci"
)

// pluginDir is where the plugin of kubectl lies, below the root, with a module of its own.
const pluginDir = "cmd/kubectl-claimdir"

// pluginPlatforms are those that the plugin is released for: kubectl runs on people's machines.
func pluginPlatforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
}

// pluginFile is the archive with the plugin for a platform.
type pluginFile struct {
	OS, Architecture string
	Archive          string // its name in dist/
	Program          string // the name of the plugin in it
	Sum              string // SHA-256
}

// writePlugins writes an archive for each platform, and the manifest by which krew installs them.
func (d *distribution) writePlugins(ctx context.Context) error {
	var files []pluginFile
	for _, platform := range d.plugins {
		file, err := d.writePlugin(ctx, platform)
		if err != nil {
			return fmt.Errorf("the plugin for %s: %w", platform, err)
		}
		files = append(files, file)
	}
	text, err := template.ParseFiles(filepath.Join(d.Root, "hack", "krew", "claimdir.yaml.tmpl"))
	if err != nil {
		return fmt.Errorf("write the manifest for krew: %w", err)
	}
	var out bytes.Buffer
	if err := text.Execute(&out, map[string]any{"Version": d.Version, "Platforms": files}); err != nil {
		return fmt.Errorf("write the manifest for krew: %w", err)
	}
	return os.WriteFile(filepath.Join(d.dir, "claimdir.yaml"), out.Bytes(), 0o644)
}

// writePlugin builds the plugin for a platform, as OS/ARCHITECTURE, and packs it with what belongs to it.
func (d *distribution) writePlugin(ctx context.Context, platform string) (f pluginFile, err error) {
	f.OS, f.Architecture, _ = strings.Cut(platform, "/")
	f.Archive = fmt.Sprintf("kubectl-claimdir_%s_%s_%s.tar.gz", d.Version, f.OS, f.Architecture)
	f.Program = "kubectl-claimdir"
	if f.OS == "windows" {
		f.Program += ".exe"
	}
	dir, err := os.MkdirTemp("", "claimdir-plugin-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, f.Program)
	err = d.Build(ctx, image.Program{Dir: filepath.Join(d.Root, pluginDir), Package: ".", OS: f.OS, Architecture: f.Architecture}, program)
	if err != nil {
		return f, err
	}
	archive := filepath.Join(d.dir, f.Archive)
	err = d.pack(archive, []packed{
		{f.Program, program, 0o755},
		{"kubectl_complete-claimdir", filepath.Join(d.Root, pluginDir, "kubectl_complete-claimdir"), 0o755},
		{"LICENSE", filepath.Join(d.Root, "LICENSE"), 0o644},
	})
	if err != nil {
		return f, err
	}
	f.Sum, err = fileSum(archive)
	return f, err
}

// packed is a file in an archive: its name there, and where its content is.
type packed struct {
	name, file string
	mode       int64
}

// pack writes a compressed archive whose times are the commit's.
func (d *distribution) pack(file string, files []packed) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		data, err := os.ReadFile(f.file)
		if err != nil {
			return err
		}
		if err := oci.WriteFile(archive, tar.Header{Name: f.name, Mode: f.mode, ModTime: d.Time}, data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}
