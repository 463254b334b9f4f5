package alerts

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	selector = regexp.MustCompile(`\b((?:claimdir|controller)_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=|!=|=~|!~)\s*"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)`)
	used     = regexp.MustCompile(`\$labels\.(\w+)`)
)

// added are labels that a scrape or Prometheus itself adds.
func added() []string {
	return []string{"job", "instance", "namespace", "exported_namespace", "pod", "le", "alertname", "alertstate"}
}

// documented returns the labels of each metric of docs/metrics.md.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	metrics, err := Documented(root(t))
	if err != nil || len(metrics) < 40 {
		t.Fatalf("docs/metrics.md has %d metrics, %v", len(metrics), err)
	}
	return metrics
}

// check fails the test if an expression, or a text about its result, names a metric or label that there is not. It returns
// the metrics.
func check(t *testing.T, metrics map[string][]string, what, expr, text string) (names []string) {
	t.Helper()
	known := added()
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		labels, exists := metrics[found[1]]
		if !exists {
			t.Errorf("%s: there is no metric %s", what, found[1])
		}
		names = append(names, found[1])
		known = append(known, labels...)
		for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !slices.Contains(labels, m[1]) && !slices.Contains(added(), m[1]) {
				t.Errorf("%s: %s has no label %s", what, found[1], m[1])
			}
		}
	}
	for _, found := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.FieldsFunc(found[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no metric in it has a label %s", what, label)
			}
		}
	}
	for _, found := range used.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, found[1]) {
			t.Errorf("%s: its text names the label %s, which no metric in it has", what, found[1])
		}
	}
	return names
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	metrics := documented(t)
	for _, rule := range read(t) {
		if len(check(t, metrics, rule.Alert, rule.Expr, rule.Annotations["summary"]+rule.Annotations["description"])) == 0 {
			t.Errorf("%s asks for no metric of claimdir", rule.Alert)
		}
	}
}

func TestTheDashboardNamesWhatThereIs(t *testing.T) {
	queries, err := DashboardQueries(root(t))
	if err != nil {
		t.Fatal(err)
	}
	metrics := documented(t)
	shown := map[string]bool{}
	for _, query := range queries {
		for _, name := range check(t, metrics, query.Panel, query.Expr, "") {
			shown[name] = true
		}
	}
	// What the dashboard leaves out on purpose.
	out := []string{"claimdir_namespace_", "claimdir_volume_", "controller_", "claimdir_operation_duration_seconds"}
	for name := range metrics {
		if !shown[name] && !slices.ContainsFunc(out, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}
