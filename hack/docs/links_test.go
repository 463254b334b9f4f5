package docs

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claimdir/hack/project"
)

func read(t *testing.T) (root string, documents map[string]Document) {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	documents = map[string]Document{}
	for _, d := range all {
		documents[d.Path] = d
	}
	return root, documents
}

// Each relative link leads to a file of the project, and its fragment to a heading there.
func TestLinksLeadSomewhere(t *testing.T) {
	root, documents := read(t)
	links := 0
	for _, d := range documents {
		for _, link := range d.Links {
			to, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: link %q: %v", d.Path, link, err)
				continue
			}
			if to.Scheme != "" || to.Host != "" {
				continue
			}
			links++
			target := d.Path
			if to.Path != "" {
				target = path.Join(path.Dir(d.Path), to.Path)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: link %q leads nowhere: %v", d.Path, link, err)
			} else if to.Fragment != "" && !slices.Contains(documents[target].Anchors, to.Fragment) {
				t.Errorf("%s: link %q: %s has no such heading, but %q", d.Path, link, target, documents[target].Anchors)
			}
		}
	}
	if links < 50 {
		t.Errorf("found %d links, which cannot be all", links)
	}
}

// From the README, links lead to each document.
func TestEachDocumentIsLinked(t *testing.T) {
	_, documents := read(t)
	linked := map[string]bool{"README.md": true}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		d := documents[queue[0]]
		for _, link := range d.Links {
			file, _, _ := strings.Cut(link, "#")
			to := path.Join(path.Dir(d.Path), file)
			if _, ok := documents[to]; ok && file != "" && !linked[to] {
				linked[to] = true
				queue = append(queue, to)
			}
		}
	}
	for name := range documents {
		if !linked[name] {
			t.Errorf("no link leads to %s", name)
		}
	}
}

// The README fits on two screens, and no document has a line that is hard to read as text. Tables are as wide as they are.
func TestWidths(t *testing.T) {
	root, documents := read(t)
	for name := range documents {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(content), "\n")
		if name == "README.md" && len(lines) > 121 {
			t.Errorf("README.md has %d lines, of at most 120", len(lines)-1)
		}
		for i, line := range lines {
			if text := strings.TrimSpace(line); len([]rune(text)) > 145 && text[0] != '|' && !strings.HasPrefix(text, "![") {
				t.Errorf("%s:%d: the line has %d characters, of at most 145", name, i+1, len([]rune(text)))
			}
		}
	}
}
