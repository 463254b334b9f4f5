// Command readmetable keeps the tables of parameters in the README the same as those in the code: of StorageClasses and of
// VolumeSnapshotClasses.
//
//	readmetable README.md         exits 1 if they differ
//	readmetable -write README.md  writes the code's table into the README
//
// The tables stand between the lines "<!-- parameters: begin -->" and "<!-- parameters: end -->", and those that say "snapshot
// parameters".
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"claimdir/provisioner/class"
)

// marks are the lines around a table.
func marks(of string) (begin, end string) {
	return "<!-- " + of + ": begin -->\n", "<!-- " + of + ": end -->\n"
}

func main() {
	write := flag.Bool("write", false, "write the table instead of comparing it")
	flag.Parse()
	if err := run(flag.Args(), *write); err != nil {
		fmt.Fprintln(os.Stderr, "readmetable:", err)
		os.Exit(1)
	}
}

func run(args []string, write bool) error {
	if len(args) != 1 {
		return errors.New("give one file: the README")
	}
	old, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	updated, err := replace(string(old), "parameters", class.MarkdownTable())
	if err == nil {
		updated, err = replace(updated, "snapshot parameters", class.SnapshotMarkdownTable())
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", args[0], err)
	case updated == string(old):
		return nil
	case !write:
		return fmt.Errorf("%s: the table of parameters is not the one of provisioner/class", args[0])
	}
	return os.WriteFile(args[0], []byte(updated), 0o644)
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
