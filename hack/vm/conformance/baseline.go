package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Verdicts of the baseline.
const (
	passed     = "passed"
	failed     = "failed"
	skipped    = "skipped"
	unmeasured = "unmeasured" // with the peer
)

// baseline is what the peer does, spec by spec, and which of them nobody can
// pass.
type baseline struct {
	verdicts   map[string]string
	impossible map[string]string // reasons
}

func readBaseline() (baseline, error) {
	b := baseline{verdicts: map[string]string{}, impossible: map[string]string{}}
	rows, err := table("testdata/baseline.tsv")
	if err != nil {
		return b, err
	}
	for _, row := range rows {
		if !slices.Contains([]string{passed, failed, skipped, unmeasured}, row[0]) || len(row) < 2 || b.verdicts[row[1]] != "" {
			return b, fmt.Errorf("testdata/baseline.tsv: not a verdict, or the second one: %q", row)
		}
		b.verdicts[row[1]] = row[0]
	}
	if rows, err = table("testdata/expected-failures.tsv"); err != nil {
		return b, err
	}
	for _, row := range rows {
		if len(row) != 2 || b.verdicts[row[0]] == "" {
			return b, fmt.Errorf("testdata/expected-failures.tsv: not a spec of the baseline with a reason: %q", row)
		}
		b.impossible[row[0]] = row[1]
	}
	return b, nil
}

// table reads lines of columns between tabs.
func table(name string) ([][]string, error) {
	text, err := testdata.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
		}
	}
	return rows, nil
}

// complete reports specs of the baseline that are not registered: a driver file
// that asks for less would pass with less.
func (b baseline) complete(registered []string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.verdicts)) {
		if !slices.Contains(registered, name) {
			errs = append(errs, fmt.Errorf("not registered: %s", name))
		}
	}
	for _, name := range registered {
		if b.verdicts[name] == "" {
			errs = append(errs, fmt.Errorf("not in testdata/baseline.tsv: %s", name))
		}
	}
	return errors.Join(errs...)
}

// wrong says what is wrong with how a spec ended, or nothing.
func (b baseline) wrong(s spec) string {
	reason, impossible := b.impossible[s.name]
	peer := b.verdicts[s.name]
	switch {
	case impossible && s.state == passed:
		return "passed, though it is among the expected failures: " + reason
	case impossible:
		return ""
	case s.state == passed, s.state == skipped && peer != passed:
		return ""
	case s.state == skipped:
		return "skipped, and the peer passes it: " + firstLine(s.message)
	}
	return s.state + ": " + firstLine(s.message)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
