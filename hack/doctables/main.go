// Command doctables keeps the tables in the documents the same as what they are of: the parameters of StorageClasses and of
// VolumeSnapshotClasses in the code, and the values of the Helm chart in its schema.
//
//	doctables ROOT         exits 1 if they differ
//	doctables -write ROOT  writes the tables into the documents
//
// A table stands between the lines "<!-- parameters: begin -->" and "<!-- parameters: end -->", or those of its own name.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"claimdir/hack/chart"
	"claimdir/provisioner/class"
)

// document is one with a table. The file's path is from the root of the project.
type document struct{ file, name, table, source string }

// documents are all of them.
func documents(root string) ([]document, error) {
	values, err := chart.MarkdownTable(filepath.Join(root, chart.Directory))
	return []document{
		{"docs/parameters.md", "parameters", class.MarkdownTable(), "provisioner/class"},
		{"docs/snapshots.md", "snapshot parameters", class.SnapshotMarkdownTable(), "provisioner/class"},
		{chart.Directory + "/README.md", "values", values, chart.Directory + "/values.schema.json"},
	}, err
}

// marks are the lines around a table.
func marks(of string) (begin, end string) {
	return "<!-- " + of + ": begin -->\n", "<!-- " + of + ": end -->\n"
}

func main() {
	write := flag.Bool("write", false, "write the table instead of comparing it")
	flag.Parse()
	if err := run(flag.Args(), *write); err != nil {
		fmt.Fprintln(os.Stderr, "doctables:", err)
		os.Exit(1)
	}
}

func run(args []string, write bool) error {
	if len(args) != 1 {
		return errors.New("give one directory: the root of the project")
	}
	all, err := documents(args[0])
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := d.update(args[0], write); err != nil {
			return err
		}
	}
	return nil
}

// update compares the table in the document with the one that should be there, or writes that.
func (d document) update(root string, write bool) error {
	file := filepath.Join(root, filepath.FromSlash(d.file))
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	updated, err := replace(string(old), d.name, d.table)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", d.file, err)
	case updated == string(old):
		return nil
	case !write:
		return fmt.Errorf("%s: the table of %s is not the one of %s", d.file, d.name, d.source)
	}
	return os.WriteFile(file, []byte(updated), 0o644)
}

// replace puts the table between the two marks of text. Blank lines around it, because Markdown wants them after a comment.
func replace(text, of, table string) (string, error) {
	begin, end := marks(of)
	before, rest, ok := strings.Cut(text, begin)
	if !ok {
		return "", fmt.Errorf("no line %q", strings.TrimSpace(begin))
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("no line %q after the other", strings.TrimSpace(end))
	}
	return before + begin + "\n" + strings.TrimSpace(table) + "\n\n" + end + after, nil
}
