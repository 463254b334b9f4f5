package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"claimdir/hack/release/image"
	"claimdir/hack/release/oci"
)

// packageChart writes the chart as an archive that helm installs and pushes,
// claimdir-VERSION.tgz with the chart's version. helm package would write the
// time of day into it; here it is the commit's. The files are those that git
// knows, so what lies about in the directory does not get in.
func packageChart(ctx context.Context, s image.Source, dir string) (err error) {
	about, err := readChart(filepath.Join(s.Root, chartDir))
	if err != nil {
		return fmt.Errorf("package the chart: %w", err)
	}
	list, err := git(ctx, s.Root, "ls-files", "-z", "--", chartDir) // sorted
	if err != nil {
		return fmt.Errorf("package the chart: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, about.Name+"-"+about.Version+".tgz"))
	if err != nil {
		return fmt.Errorf("package the chart: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed := gzip.NewWriter(file)
	archive := tar.NewWriter(compressed)
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(s.Root, name))
		if err != nil {
			return fmt.Errorf("package the chart: %w", err)
		}
		header := tar.Header{Name: path.Join(about.Name, strings.TrimPrefix(name, chartDir)), Mode: 0o644, ModTime: s.Time}
		if err := oci.WriteFile(archive, header, data); err != nil {
			return fmt.Errorf("package the chart: %w", err)
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}
