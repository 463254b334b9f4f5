package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// Document is a Markdown file.
type Document struct {
	// Path is relative to the project's root, with slashes.
	Path string
	// Links are what its links and pictures name, as written, but for those within code.
	Links []string
	// Anchors are the ids that its headings have on the usual forges.
	Anchors []string
	// Blocks are its blocks of code, in order.
	Blocks []Block
}

// Block is a fenced block of code.
type Block struct {
	// Language is the first word after the fence, such as sh; empty if there is none.
	Language string
	// Text is what is in it, without the indentation of a list.
	Text string
	// Line is that of its first line of text in the file, from 1.
	Line int
	// Indented says that four blanks made it, not a fence.
	Indented bool
}

// Read returns all Markdown files below the project's root, sorted by path. What lies in directories with a dot or in testdata is not
// read.
func Read(root string) ([]Document, error) {
	var all []Document
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "dist" || name == "bin") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		document, err := parse(source)
		document.Path = filepath.ToSlash(relative)
		all = append(all, document)
		return err
	})
	return all, err
}

// parse reads the text of a Markdown file.
func parse(source []byte) (Document, error) {
	var d Document
	markdown := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	tree := markdown.Parser().Parse(text.NewReader(source))
	err := ast.Walk(tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := node.(type) {
		case *ast.Link:
			d.Links = append(d.Links, string(n.Destination))
		case *ast.Image:
			d.Links = append(d.Links, string(n.Destination))
		case *ast.Heading:
			if id, ok := n.AttributeString("id"); ok {
				if id, ok := id.([]byte); ok {
					d.Anchors = append(d.Anchors, string(id))
				}
			}
		case *ast.FencedCodeBlock:
			d.Blocks = append(d.Blocks, block(n, source, string(n.Language(source))))
		case *ast.CodeBlock:
			b := block(n, source, "")
			b.Indented = true
			d.Blocks = append(d.Blocks, b)
		}
		return ast.WalkContinue, nil
	})
	return d, err
}

func block(node ast.Node, source []byte, language string) Block {
	lines := node.Lines()
	b := Block{Language: language}
	for i := range lines.Len() {
		line := lines.At(i)
		if i == 0 {
			b.Line = 1 + strings.Count(string(source[:line.Start]), "\n")
		}
		b.Text += string(line.Value(source))
	}
	return b
}
