package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/control"
)

// metricsPage is the document of all metrics.
const metricsPage = "../../docs/metrics.md"

const metricsHead = `# Metrics

Written from the code by ` + "`make update`" + `. What they mean together, and what to alert on, is in [Watching claimdir](monitoring.md).

Labels that a scrape adds, such as ` + "`job`, `instance` and `namespace`" + `, are left out. With one share its label ` + "`share`" + ` is empty, which in
Prometheus is as if it had none. Those of usage exist where it is measured, those by claim with ` + "`USAGE_METRICS=volume`" + `. The metrics of the Go
runtime and of the process (` + "`go_…`, `process_…`" + `) come as in other programs.

| metric | type | labels | meaning |
|---|---|---|---|
`

// registered is a Registerer that remembers what is registered.
type registered struct {
	prometheus.Registerer

	all []prometheus.Collector
}

func (r *registered) Register(c prometheus.Collector) error {
	r.all = append(r.all, c)
	return r.Registerer.Register(c)
}

// describedAs finds the parts of a description, which the library tells only as text.
var describedAs = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "(.*?)", (?:unit: "[^"]*", )?constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// kindOf is the type of a collector's metrics. Those that are found when they are asked for are gauges.
func kindOf(c prometheus.Collector) string {
	switch c.(type) {
	case *prometheus.HistogramVec, prometheus.ExemplarObserver:
		return "histogram"
	case *prometheus.GaugeVec, prometheus.Gauge:
		return "gauge"
	case *prometheus.CounterVec, prometheus.Counter:
		return "counter"
	}
	return "gauge"
}

// TestMetricsPage compares docs/metrics.md with all that claimdir registers; with -update it writes it.
func TestMetricsPage(t *testing.T) {
	registry := &registered{Registerer: prometheus.NewRegistry()}
	leadership := control.NewLeadership(nil)
	kubeconfig := t.TempDir() + "/config"
	const text = `{"apiVersion": "v1", "kind": "Config", "current-context": "a", "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}], "contexts": [{"name": "a", "context": {"cluster": "a"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := wire(t, leadership, func(p *parts, c *control.Config) {
		p.kubeconfig, p.leadership, p.usageInterval, p.usageMetrics = kubeconfig, leadership, time.Hour, metricsOfVolumes
		c.Registry = registry
	})
	for _, c := range slices.Concat(w.jobs.metrics, w.served.metrics()) {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := registry.Register(buildInfo()); err != nil {
		t.Fatal(err)
	}
	page := metricsHead + strings.Join(rowsOf(t, registry.all), "")
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(metricsPage)
	if err != nil || string(have) != page {
		t.Errorf("docs/metrics.md is not what the code says; make update writes it. %v", err)
	}
}

// rowsOf returns a row of the table for each metric.
func rowsOf(t *testing.T, all []prometheus.Collector) (rows []string) {
	t.Helper()
	for _, c := range all {
		descriptions := make(chan *prometheus.Desc, 20)
		c.Describe(descriptions)
		close(descriptions)
		for d := range descriptions {
			parts := describedAs.FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatalf("cannot read %s", d)
			}
			var labels []string
			for label := range strings.SplitSeq(parts[3]+","+parts[4], ",") {
				label, _, _ = strings.Cut(label, "=")
				if label != "" {
					labels = append(labels, "`"+label+"`")
				}
			}
			slices.Sort(labels)
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", parts[1], kindOf(c), cmp.Or(strings.Join(labels, ", "), " "), strings.ReplaceAll(parts[2], `\"`, `"`)))
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}
