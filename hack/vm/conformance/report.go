package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints how the specs ended, and keeps it. The error says that claimdir
// did worse than it must.
func report(out io.Writer, b baseline, specs []spec, results string) error {
	var text strings.Builder
	wrong := b.write(&text, specs)
	fmt.Fprint(out, "\n", text.String())
	if err := os.WriteFile(filepath.Join(results, "summary.txt"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d specs did not end as they must; the logs are in %s", wrong, results)
	}
	return nil
}

// write writes the summary and returns how many specs did not end as they must.
func (b baseline) write(to io.Writer, specs []spec) (wrong int) {
	slices.SortFunc(specs, func(x, y spec) int { return strings.Compare(x.name, y.name) })
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	var claimdir, peer, whys tally
	for _, s := range specs {
		state, note := s.state, firstLine(s.message)
		if reason, ok := b.impossible[s.name]; ok && state != passed {
			state, note = "expected failure", reason
		}
		claimdir.add(state)
		peer.add(b.verdicts[s.name])
		if s.state == skipped {
			whys.add(note)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", state, s.took.Round(time.Second), short(s.name))
	}
	_ = w.Flush() // to memory or a terminal
	fmt.Fprintf(to, "\n%d specs ran\n", len(specs))
	fmt.Fprintf(to, "  claimdir:  %s\n  the peer:  %s\n", claimdir, peer)
	for i, why := range whys.names {
		fmt.Fprintf(to, "  skipped %d: %s\n", whys.counts[i], why)
	}
	for _, s := range specs {
		if reason, ok := b.impossible[s.name]; ok {
			fmt.Fprintf(to, "  cannot be passed: %s: %s\n", short(s.name), reason)
		}
	}
	for _, line := range figures(specs) {
		fmt.Fprintf(to, "  %s\n", line)
	}
	for _, s := range specs {
		if what := b.wrong(s); what != "" {
			fmt.Fprintf(to, "WRONG: %s: %s\n", short(s.name), what)
			wrong++
		}
	}
	if wrong == 0 {
		fmt.Fprintln(to, "Of these, all that the peer passes pass.")
	}
	return wrong
}

// tally counts words in the order in which they appear.
type tally struct {
	names  []string
	counts []int
}

func (t *tally) add(name string) {
	i := slices.Index(t.names, name)
	if i < 0 {
		i = len(t.names)
		t.names, t.counts = append(t.names, name), append(t.counts, 0)
	}
	t.counts[i]++
}

// String is "3 passed, 1 failed".
func (t tally) String() string {
	var parts []string
	for i, name := range t.names {
		parts = append(parts, fmt.Sprint(t.counts[i], " ", name))
	}
	return strings.Join(parts, ", ")
}

// short is the name of a spec as people write it.
func short(name string) string {
	return strings.NewReplacer("[Testpattern: ", "[").Replace(name)
}
