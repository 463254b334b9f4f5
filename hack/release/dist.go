package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"claimdir/hack/release/image"
	"claimdir/hack/release/oci"
)

// distDir is what dist writes and push reads, below the root.
const distDir = "dist"

// dist builds a release into a directory beside dist/ and puts it in its place.
// After a failure dist/ is what it was.
func dist(ctx context.Context, root string, o options, out io.Writer) error {
	text, err := notes(root, o.version)
	if err != nil {
		return err
	}
	if _, err := agreed(root); err != nil {
		return err
	}
	if o.image == "" {
		o.image = "claimdir:" + o.version
	}
	if _, err := checkImage(o.image); err != nil {
		return err
	}
	source, err := committed(ctx, root, o.version)
	if err != nil {
		return err
	}
	d := &distribution{
		Source: source, architectures: o.architectures, plugins: o.plugins, image: o.image, notes: text, dir: filepath.Join(root, distDir+".new"),
	}
	if err := d.write(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(d.dir))
	}
	target := filepath.Join(root, distDir)
	if err := errors.Join(os.RemoveAll(target), os.Rename(d.dir, target)); err != nil {
		return err
	}
	fmt.Fprintf(out, "claimdir %s is in %s; push its image with: make push IMAGE=HOST/claimdir:%[1]s\n", o.version, target)
	return nil
}

// distribution is a release that is being written.
type distribution struct {
	image.Source
	architectures []string
	plugins       []string // platforms of the plugin
	dir           string
	image         string // its name in the archive and in install.yaml
	notes         string // the changelog's
}

// write writes the release into the directory, whatever was there.
func (d *distribution) write(ctx context.Context) error {
	if err := errors.Join(os.RemoveAll(d.dir), os.MkdirAll(d.dir, 0o755)); err != nil {
		return err
	}
	binaries := map[string]string{}
	for _, architecture := range d.architectures {
		binary := d.binary(architecture)
		binaries[architecture] = binary
		if err := d.Binary(ctx, architecture, binary); err != nil {
			return err
		}
		if err := writeSBOM(d.Source, binary, binary+sbomSuffix); err != nil {
			return err
		}
	}
	index, err := d.Index(binaries)
	if err != nil {
		return err
	}
	if err := oci.Archive(archiveFile(d.dir, d.Version), index, d.image); err != nil {
		return err
	}
	if err := writeInstall(ctx, d.Root, d.Version, d.image, filepath.Join(d.dir, "install.yaml")); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.Root, chartDir)); err == nil {
		if err := packageChart(ctx, d.Source, d.dir); err != nil {
			return err
		}
	}
	if err := d.writePlugins(ctx); err != nil {
		return err
	}
	if err := d.writeNotes(index, binaries[d.architectures[0]]); err != nil {
		return err
	}
	return writeSums(d.dir)
}

func (d *distribution) binary(architecture string) string {
	return filepath.Join(d.dir, "claimdir_"+d.Version+"_linux_"+architecture)
}

func archiveFile(dir, version string) string {
	return filepath.Join(dir, "claimdir-"+version+"-oci.tar")
}

// writeNotes writes the changelog's words, and what makes the bytes what they
// are.
func (d *distribution) writeNotes(index v1.ImageIndex, binary string) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	goVersion, err := goVersion(binary)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("# claimdir %s\n\n%s\n\n---\n\nImage: `%s`, for %s.\nBuilt from commit `%s` with %s: the same two give the same bytes.\n",
		d.Version, d.notes, digest, strings.Join(d.architectures, ", "), d.Revision, goVersion)
	return os.WriteFile(filepath.Join(d.dir, "RELEASE_NOTES.md"), []byte(text), 0o644)
}

const sumsFile = "SHA256SUMS"

// writeSums writes the sums of all files of a directory as sha256sum does.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		sum, err := fileSum(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), []byte(sums.String()), 0o644)
}

// checkSums compares the files of a directory with its sums.
func checkSums(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		want, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		got, err := fileSum(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s in %s is not the file of %s: build it again with make dist", name, dir, sumsFile)
		}
	}
	return nil
}

func fileSum(name string) (_ string, err error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
