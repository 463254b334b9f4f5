// Command doctables keeps the tables of parameters in the documents the same as those in the code: of StorageClasses and of
// VolumeSnapshotClasses.
//
//	doctables docs         exits 1 if they differ
//	doctables -write docs  writes the code's tables into the documents
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

	"claimdir/provisioner/class"
)

// documents are those with a table, by their paths below the directory of documents.
var documents = []struct{ file, name, table string }{
	{"parameters.md", "parameters", class.MarkdownTable()},
	{"snapshots.md", "snapshot parameters", class.SnapshotMarkdownTable()},
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
		return errors.New("give one directory: that of the documents")
	}
	for _, d := range documents {
		if err := update(filepath.Join(args[0], d.file), d.name, d.table, write); err != nil {
			return err
		}
	}
	return nil
}

// update compares the table of a document with the code's, or writes that.
func update(file, name, table string, write bool) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	updated, err := replace(string(old), name, table)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case updated == string(old):
		return nil
	case !write:
		return fmt.Errorf("%s: the table of %s is not the one of provisioner/class", file, name)
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
