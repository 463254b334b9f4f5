package docs

import (
	"strings"
	"testing"
)

// ofRunbook says whether a document is the page of an alert: the step runbooks runs its blocks, line by line.
func ofRunbook(document string) bool { return strings.HasPrefix(document, "docs/runbooks/") }

// runbooks runs the lines that look at something, in the pages of the alerts. Somebody who reads them fills in the names. What needs a
// kubelet is left out, and what searches in the answer: here there may be nothing to find.
func runbooks(r *reader) {
	r.T.Helper()
	lines := map[string]string{} // each with a page that has it
	for name, document := range r.blocks {
		for _, block := range document.Blocks {
			if !ofRunbook(name) || block.Language != "sh" {
				continue
			}
			for line := range strings.Lines(block.Text) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
				if !needsKubelet(line) {
					lines[line] = name
				}
			}
		}
	}
	filled := strings.NewReplacer("storageclass NAME", "storageclass claimdir", "pvc -n NAMESPACE NAME", "pvc -n team data", "-n NAMESPACE", "-n team")
	for line, page := range lines {
		if out, err := r.does(filled.Replace(line), ""); err != nil {
			r.T.Errorf("%s: %v\n%s\n%s", page, err, line, out)
		}
	}
	if len(lines) < 15 {
		r.T.Errorf("the pages of the alerts have %d lines of shell", len(lines))
	}
}

func needsKubelet(line string) bool {
	return strings.Contains(line, " logs ") || strings.Contains(line, "port-forward") || strings.HasPrefix(line, "curl ")
}

// Each page of an alert says in shell how to find out more.
func TestRunbooksHaveCommands(t *testing.T) {
	_, documents := read(t)
	pages := 0
	for name, document := range documents {
		if !ofRunbook(name) {
			continue
		}
		pages++
		lines := 0
		for _, block := range document.Blocks {
			if block.Language == "sh" {
				lines += strings.Count(block.Text, "\n")
			}
		}
		if lines == 0 {
			t.Errorf("%s has no line of shell", name)
		}
	}
	if pages < 20 {
		t.Errorf("there are %d pages", pages)
	}
}
