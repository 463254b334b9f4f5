package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// chartDir is where the Helm chart lies, below the root.
const chartDir = "manifests/chart/claimdir"

// versions checks that all files that name claimdir's version name that of the
// newest section of CHANGELOG.md: the overlays' image tags, the chart.
func versions(_ context.Context, root string, _ options, out io.Writer) error {
	version, err := agreed(root)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "CHANGELOG.md, overlays and chart agree on %s\n", version)
	return nil
}

// agreed is the version on which they agree.
func agreed(root string) (string, error) {
	sections, err := readChangelog(root)
	if err != nil {
		return "", err
	}
	newest := sections[0].version
	overlays, err := filepath.Glob(filepath.Join(root, "manifests", "overlays", "*", "kustomization.yaml"))
	if err != nil {
		return "", err
	}
	var wrong []error
	for _, file := range overlays {
		wrong = append(wrong, checkTag(root, file, newest))
	}
	switch chart, err := readChart(filepath.Join(root, chartDir)); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		wrong = append(wrong, err)
	default:
		// A chart's own version has no v, by custom.
		for field, value := range map[string]string{"version": chart.Version, "appVersion": chart.AppVersion} {
			if strings.TrimPrefix(value, "v") != strings.TrimPrefix(newest, "v") {
				wrong = append(wrong, fmt.Errorf("%s/Chart.yaml: %s is %q, and the newest version in CHANGELOG.md is %s", chartDir, field, value, newest))
			}
		}
	}
	return newest, errors.Join(wrong...)
}

// checkTag checks the tag that an overlay gives to claimdir's image.
func checkTag(root, file, version string) error {
	var kustomization struct {
		Images []struct{ Name, NewTag string }
	}
	if err := readYAML(file, &kustomization); err != nil {
		return err
	}
	short, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	for _, i := range kustomization.Images {
		if i.Name == "claimdir" && i.NewTag == version {
			return nil
		}
	}
	return fmt.Errorf("%s: the newTag of the image claimdir is not %s, the newest version in CHANGELOG.md", short, version)
}

// chart is what Chart.yaml says.
type chart struct{ Name, Version, AppVersion string }

func readChart(dir string) (chart, error) {
	var c chart
	err := readYAML(filepath.Join(dir, "Chart.yaml"), &c)
	return c, err
}

func readYAML(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
