package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/archives"
)

const archiveHead = `claimdir archive lists, restores and removes archives: the directories that claimdir kept on the share
when volumes were released.

Usage: claimdir archive COMMAND [flags]

Commands (each has its own --help):
`

// archiveOnly is the command archive called without a subcommand.
type archiveOnly struct{ c *cobra.Command }

func archiveCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "archive", Short: "list, restore and remove archives", Long: archiveHead}
	return p.command(c, archiveOnly{c}, archiveListCommand(p), archiveRestoreCommand(p), archivePurgeCommand(p))
}

func (archiveOnly) flags() []*pflag.FlagSet { return nil }

func (archiveOnly) complete(args []string) []error { return unexpected(args) }

func (a archiveOnly) run(_ context.Context, std streams) error {
	fmt.Fprint(std.err, helpText(a.c))
	return &usageError{a.c.CommandPath(), []error{fmt.Errorf("archive needs a command: %s", namesBelow(a.c))}}
}

// checkArchiveNames refuses an argument that is neither a name nor NAMESPACE/CLAIM. The
// error says what is allowed.
func checkArchiveNames(args []string, allowed string) (problems []error) {
	for _, name := range args {
		if !isName(name) {
			problems = append(problems, fmt.Errorf("argument %q: allowed are %s", name, allowed))
		}
	}
	return problems
}

// checkOneName refuses more than one argument, and one that is neither NAMESPACE nor NAMESPACE/CLAIM.
func checkOneName(args []string) (problems []error) {
	if len(args) > 1 {
		problems = append(problems, fmt.Errorf("arguments %q: only one is allowed, NAMESPACE or NAMESPACE/CLAIM", args))
	}
	return append(problems, checkArchiveNames(args, "NAMESPACE and NAMESPACE/CLAIM")...)
}

// isName reports whether s is a name or NAMESPACE/CLAIM.
func isName(s string) bool {
	parts := strings.Split(s, "/")
	return len(parts) <= 2 && !slices.Contains(parts, "")
}

// archivesFound is the archives on the shares.
type archivesFound struct {
	archives.Found

	shares     int
	incomplete error // says that something could not be read; the details are printed already
}

// of returns the archives, or the retained directories.
func (f archivesFound) of(retained bool) []archives.Archive {
	if retained {
		return f.Retained
	}
	return f.Archives
}

func findArchives(o options, std streams) (archivesFound, error) {
	opened, closed, err := openAll(o)
	if err != nil {
		return archivesFound{}, err
	}
	var shares []archives.Share
	for _, s := range opened {
		shares = append(shares, archives.Share{Name: s.Name, Store: s.store()})
	}
	found := archivesFound{Found: archives.Find(shares), shares: len(opened) + len(closed)}
	found.Unread = append(closed, found.Unread...)
	found.incomplete = printUnread(std, found.Unread)
	return found, nil
}
