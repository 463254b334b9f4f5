package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var metricRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\|")

// Documented returns the labels of each metric of docs/metrics.md, which is compared with the code. A histogram has its parts besides.
func Documented(root string) (map[string][]string, error) {
	page, err := os.ReadFile(filepath.Join(root, "docs/metrics.md"))
	if err != nil {
		return nil, err
	}
	metrics := map[string][]string{}
	for _, found := range metricRow.FindAllStringSubmatch(string(page), -1) {
		name, labels := found[1], strings.FieldsFunc(found[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		metrics[name] = labels
		if found[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				metrics[name+part] = append(slices.Clone(labels), "le")
			}
		}
	}
	return metrics, nil
}

// Query is one of the dashboard.
type Query struct{ Panel, Expr string }

// DashboardQueries returns all queries of the dashboard.
func DashboardQueries(root string) (queries []Query, err error) {
	text, err := os.ReadFile(filepath.Join(root, "manifests/components/dashboard/dashboard.json"))
	if err != nil {
		return nil, err
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, Query{panel.Title, target.Expr})
		}
	}
	return queries, nil
}
