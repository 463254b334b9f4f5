package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustBaseline(t *testing.T) baseline {
	t.Helper()
	b, err := readBaseline()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names returns the baseline's specs with a verdict, sorted.
func (b baseline) names(verdict string) []string {
	var names []string
	for name, v := range b.verdicts {
		if v == verdict {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestTheBaselineHasThePeersCounts(t *testing.T) {
	b := mustBaseline(t)
	for verdict, want := range map[string]int{passed: 41, failed: 1, skipped: 21, unmeasured: 22} {
		if got := len(b.names(verdict)); got != want {
			t.Errorf("%d specs %s, not %d", got, verdict, want)
		}
	}
	counts := map[string]int{}
	for _, p := range phases(append(append(b.names(passed), b.names(failed)...), append(b.names(skipped), b.names(unmeasured)...)...)) {
		counts[p.name] = len(p.specs)
	}
	if counts["parallel"] != 77 || counts["disruptive"] != 8 {
		t.Errorf("phases of %v specs", counts)
	}
}

func TestOnlyTheExpectedMayGoWrong(t *testing.T) {
	b := mustBaseline(t)
	good, skip, open := b.names(passed)[0], b.names(skipped)[0], b.names(unmeasured)[0]
	impossible := b.names(failed)[0]
	for _, c := range []struct {
		spec, state, want string
	}{
		{good, passed, ""},
		{good, skipped, "the peer passes it"},
		{good, failed, "failed: first"},
		{good, "timedout", "timedout: first"},
		{skip, passed, ""},
		{skip, skipped, ""},
		{skip, failed, "failed: first"},
		{open, skipped, ""},
		{open, failed, "failed: first"},
		{impossible, failed, ""},
		{impossible, passed, "passed, though"},
	} {
		got := b.wrong(spec{name: c.spec, state: c.state, message: "first\nnext"})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, "next") {
			t.Errorf("%s %s: %q, not %q", short(c.spec), c.state, got, c.want)
		}
	}
}

func TestASpecMoreOrLessIsNoticed(t *testing.T) {
	b := mustBaseline(t)
	all := slices.Concat(b.names(passed), b.names(failed), b.names(skipped), b.names(unmeasured))
	if err := b.complete(all); err != nil {
		t.Error(err)
	}
	err := b.complete(append(all[1:], "a new one"))
	for _, want := range []string{"not registered: " + all[0], "not in testdata/baseline.tsv: a new one"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

const sample = `[{"SuiteDescription": "Kubernetes e2e suite", "SpecReports": [
	{"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
	{"LeafNodeType": "It", "ContainerHierarchyTexts": ["External Storage [Driver: claimdir]", "[Testpattern: P] suite", ""],
	 "LeafNodeText": "should work", "State": "failed", "RunTime": 60000000000, "Failure": {"Message": "no\nand more"}},
	{"LeafNodeType": "It", "ContainerHierarchyTexts": ["elsewhere"], "LeafNodeText": "not asked for", "State": "skipped"},
	{"LeafNodeType": "It", "ContainerHierarchyTexts": ["External Storage [Driver: claimdir]"],
	 "LeafNodeText": "should", "State": "skipped", "Failure": {"Message": "cannot"}}
]}]`

func TestAReportIsOfTheSpecsThatWereAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	read := func(text string) ([]spec, error) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return readReport(path)
	}
	specs, err := read(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := []spec{
		{name: "[Testpattern: P] suite should work", state: failed, message: "no\nand more", took: time.Minute},
		{name: "should", state: skipped, message: "cannot"},
	}
	if !slices.Equal(specs, want) {
		t.Errorf("read %v, not %v", specs, want)
	}
	if _, err := read(strings.Replace(sample, `"passed"`, `"failed", "Failure": {"Message": "no node"}`, 1)); err == nil ||
		!strings.Contains(err.Error(), "no node") {
		t.Errorf("a suite that does not begin: %v", err)
	}
	if _, err := read("[]"); err == nil {
		t.Error("no report is a report")
	}
}

func TestTheSummaryNamesAllThatIsWrong(t *testing.T) {
	b := mustBaseline(t)
	specs := []spec{
		{name: b.names(passed)[0], state: failed, message: "broken\nin two"},
		{name: b.names(passed)[1], state: passed, took: 90 * time.Second},
		{name: b.names(failed)[0], state: failed, message: "both run"},
		{name: b.names(skipped)[0], state: skipped, message: "no snapshots"},
		{name: b.names(skipped)[1], state: skipped, message: "no snapshots"},
	}
	var text strings.Builder
	if n := b.write(&text, specs); n != 1 {
		t.Errorf("%d specs are wrong, not 1", n)
	}
	for _, want := range []string{"1m30s", "skipped 2: no snapshots", "expected failure", "failed: broken\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, text.String())
		}
	}
}

func TestGinkgosLinesAreCounted(t *testing.T) {
	var log strings.Builder
	c := &counter{to: &log}
	text := "• [12.1 seconds]\ntext\nS [SKIPPED] [0.1 seconds]\n• [FAILED] [3 seconds]\n• [1"
	for _, part := range []string{text[:5], text[5:40], text[40:]} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.String(); got != "3 specs done, 1 failed" || log.String() != text {
		t.Errorf("%s of %q", got, log.String())
	}
}

func TestTheFiguresAreFound(t *testing.T) {
	provision := "Metrics to evaluate: (*framework.Metrics)({\n    AvgLatency: (time.Duration) 1646542193,\n    Throughput: (float64) 12.2747\n  })\n"
	got := strings.Join(figures([]spec{
		{name: "P volume-lifecycle-performance", state: passed, output: provision},
		{name: "P pvc-deletion-performance", state: passed, output: "Deleted all PVC/PVs in 3.04s\n"},
	}), "\n")
	for _, want := range []string{"Bound after 1.6 s on average, 12.3 a second; the peer", "gone after 3.0 s; the peer"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
