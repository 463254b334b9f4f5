package alerts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"claimdir/hack/project"
)

// root is the root of the repository.
func root(t *testing.T) string {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func read(t *testing.T) (all []Rule) {
	t.Helper()
	rules, err := Read(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// promtool runs Prometheus' own tool, which Debian's package prometheus has.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v (Debian's package prometheus has it)\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRulesAreValid(t *testing.T) {
	promtool(t, "check", "rules", filepath.Join(root(t), Source))
}

// unitTest is a file of promtool test rules.
type unitTest struct {
	RuleFiles []string   `json:"rule_files"`
	Interval  string     `json:"evaluation_interval"`
	Tests     []unitCase `json:"tests"`
}

type unitCase struct {
	Name     string              `json:"name"`
	Interval string              `json:"interval"`
	Series   []map[string]string `json:"input_series"`
	Queries  []unitQuery         `json:"promql_expr_test"`
}

type unitQuery struct {
	Expr    string           `json:"expr"`
	At      string           `json:"eval_time"`
	Samples []map[string]any `json:"exp_samples"`
}

// TestAlertsTellCasesApart runs each case through Prometheus' own evaluation: of all alerts exactly those fire that the case names.
// promtool mostly waits, so several run at once.
func TestAlertsTellCasesApart(t *testing.T) {
	const atOnce = 8
	files := make([]unitTest, atOnce)
	for i, c := range cases() {
		files[i%atOnce].Tests = append(files[i%atOnce].Tests, c.unit(t))
	}
	var all sync.WaitGroup
	for i, file := range files {
		file.RuleFiles, file.Interval = []string{filepath.Join(root(t), Source)}, "1m"
		text, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), fmt.Sprintf("cases-%d.yaml", i))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		all.Go(func() { promtool(t, "test", "rules", name) })
	}
	all.Wait()
}

// unit is the case as promtool reads it.
func (c oneCase) unit(t *testing.T) unitCase {
	t.Helper()
	until, err := time.ParseDuration(c.at)
	if err != nil {
		t.Fatal(err)
	}
	all := healthy()
	maps.Copy(all, c.series)
	of := unitCase{Name: c.name, Interval: "1m"}
	for name, values := range all {
		if values != "" {
			values = strings.ReplaceAll(values, "x999", fmt.Sprintf("x%d", int(until.Minutes())))
			of.Series = append(of.Series, map[string]string{"series": scraped(name), "values": values})
		}
	}
	query := unitQuery{Expr: `max by (alertname) (ALERTS{alertstate="firing"})`, At: c.at, Samples: []map[string]any{}}
	for _, alert := range c.fires {
		query.Samples = append(query.Samples, map[string]any{"labels": fmt.Sprintf("{alertname=%q}", alert), "value": 1})
	}
	of.Queries = []unitQuery{query}
	return of
}

var pod = regexp.MustCompile(`pod="(\w+)"`)

// scraped adds the labels of a scrape by the Prometheus operator.
func scraped(name string) string {
	name = pod.ReplaceAllString(name, `pod="$1",instance="$1:8080",namespace="claimdir"`)
	if strings.Contains(name, "job=") {
		return name
	}
	return strings.Replace(name, "{", `{job="claimdir/claimdir",`, 1)
}

// Each alert has a case in which it fires and, near it, one in which nothing does.
func TestEachAlertHasItsCases(t *testing.T) {
	of := map[string]int{}
	quiet := 0
	for _, c := range cases() {
		for _, alert := range c.fires {
			of[alert]++
		}
		if len(c.fires) == 0 {
			quiet++
		}
	}
	var names []string
	for _, rule := range read(t) {
		names = append(names, rule.Alert)
		if of[rule.Alert] == 0 {
			t.Errorf("%s fires in no case", rule.Alert)
		}
		delete(of, rule.Alert)
	}
	if len(of) > 0 {
		t.Errorf("cases name alerts that there are not: %v", of)
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("two alerts have one name: %q", names)
	}
	t.Logf("%d alerts, %d cases, in %d of them nothing fires", len(names), len(cases()), quiet)
}

// Every alert says how bad it is, what is the matter, and where to read on; and every page belongs to an alert.
func TestEachAlertHasARunbook(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root(t), "docs/runbooks/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, page := range pages {
		known = append(known, strings.TrimSuffix(filepath.Base(page), ".md"))
	}
	monitoring, err := os.ReadFile(filepath.Join(root(t), "docs/monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range read(t) {
		if !strings.HasPrefix(rule.Alert, "Claimdir") {
			t.Errorf("%s does not begin with Claimdir", rule.Alert)
		}
		if s := rule.Labels["severity"]; len(rule.Labels) != 1 || s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s has labels %v; it takes one, the severity", rule.Alert, rule.Labels)
		}
		runbook := "docs/runbooks/" + rule.Alert + ".md"
		if rule.Annotations["runbook_url"] != runbook || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || len(rule.Annotations) != 3 {
			t.Errorf("%s has annotations %v; it takes summary, description and runbook_url %s", rule.Alert, rule.Annotations, runbook)
		}
		if !slices.Contains(known, rule.Alert) {
			t.Errorf("%s is missing", runbook)
			continue
		}
		known = slices.DeleteFunc(known, func(name string) bool { return name == rule.Alert })
		text, err := os.ReadFile(filepath.Join(root(t), runbook))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"# " + rule.Alert + "\n", "\n## Meaning\n", "\n## Impact\n", "\n## Diagnosis\n", "\n## Mitigation\n"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s has no %q", runbook, strings.TrimSpace(part))
			}
		}
		if !strings.Contains(string(monitoring), "(runbooks/"+rule.Alert+".md)") {
			t.Errorf("docs/monitoring.md does not link %s", runbook)
		}
	}
	if len(known) > 0 {
		t.Errorf("no alert has these pages: %q", known)
	}
}

// What is written from the rules is as it would be written now.
func TestCopiesOfTheRules(t *testing.T) {
	stale, err := Stale(root(t), false)
	if err != nil || len(stale) > 0 {
		t.Errorf("make update writes %q; %v", stale, err)
	}
}
