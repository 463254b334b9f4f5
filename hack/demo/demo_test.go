package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"claimdir/hack/project"
)

// TestDemo runs the demo, and compares what it says with the picture of it in the documents.
func TestDemo(t *testing.T) {
	said, err := run(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said, "Starting claimdir") {
		t.Errorf("claimdir's log is in what the demo says:\n%s", said)
	}
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(filepath.Join(root, "docs", "img", "demo.svg"))
	if err != nil {
		t.Fatal(err)
	}
	drawn, want := headings(texts(t, picture)), headings(texts(t, draw(said)))
	if len(want) < 5 || !slices.Equal(drawn, want) {
		t.Errorf("docs/img/demo.svg has the steps\n%q\nand the demo\n%q\ndraw it again: go -C hack run ./demo -picture ../docs/img/demo.svg", drawn, want)
	}
}

func TestDraw(t *testing.T) {
	got := texts(t, draw("\n== a <step> & more\n   what it shows   \n   "+strings.Repeat("ü", 200)+"\n"))
	want := []string{"$ make demo", "", "== a <step> & more", "   what it shows", "   " + strings.Repeat("ü", columns-4) + "…"}
	if !slices.Equal(got, want) {
		t.Errorf("it shows %q, want %q", got, want)
	}
}

// headings are the steps among lines, with each duration replaced.
func headings(lines []string) (steps []string) {
	duration := regexp.MustCompile(`[0-9.]+(ms|s)\b`)
	for _, line := range lines {
		if strings.HasPrefix(line, heading) {
			steps = append(steps, duration.ReplaceAllString(line, "…"))
		}
	}
	return steps
}

// texts are the lines of text of an SVG.
func texts(t *testing.T, svg []byte) (lines []string) {
	t.Helper()
	for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "text" {
			var text string
			if err := decoder.DecodeElement(&text, &element); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, text)
		}
	}
}
