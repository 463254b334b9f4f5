package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"claimdir/provisioner/archives"
	"claimdir/provisioner/output"
)

const archiveHead = `claimdir archive is about the directories that released volumes left on the share.

Usage: claimdir archive COMMAND [flags]

Commands; each has a --help of its own:
`

const archiveListHead = `claimdir archive list lists the archives on the shares: of all claims, of those of a
namespace, or of one.

    kubectl -n claimdir exec deploy/claimdir -- /claimdir archive list

It needs no cluster and changes nothing. SIZE is the claim's. Of which cluster an archive is, is
shown where there are several. Directories that are named as archives and have no record are another
provisioner's, and have only a path.

Usage: claimdir archive list [NAMESPACE[/CLAIM]] [flags]
`

const archiveListTail = `
Exit codes: 0 all listed, 1 some could not be read (standard error says which, and why; the
rest is listed) or it failed, 2 wrong configuration.
`

// archiveOptions are the flags of the commands below archive, and what stands
// beside them.
type archiveOptions struct {
	args      []string
	to        string
	volume    string
	cluster   string
	all       bool
	ended     bool
	olderThan time.Duration
}

// archiveFlags are those that no other command has. They have no variables: none
// of them is to come from an environment that nobody looks at.
func archiveFlags() []string {
	return []string{"to", "volume", "cluster", "all", "ended", "older-than"}
}

// shareFlags say which shares there are.
func shareFlags() []string { return []string{"mount-path", "nfs-server", "nfs-path"} }

func bindArchive(o *archiveOptions, f *pflag.FlagSet) {
	f.StringVar(&o.to, "to", "", "the `name` of the claim that gets the archive; default: as before")
	f.StringVar(&o.volume, "volume", "", "the `volume` (PersistentVolume) that the archive was; default: the claim's newest archive")
	f.StringVar(&o.cluster, "cluster", "", "only those of one `cluster`, the UID of its namespace kube-system; needed where several have records on the shares")
	f.BoolVar(&o.all, "all", false, "all archives that have a record")
	f.BoolVar(&o.ended, "ended", false, "only those whose time is over")
	f.DurationVar(&o.olderThan, "older-than", 0, "only those that were released longer ago, such as 720h")
}

func archiveCommand() command {
	c := command{
		name: "archive", summary: "list archives, bring one back, throw some away",
		head: archiveHead,
		commands: []command{
			{
				name: "archive list", summary: "list the archives on the shares",
				head: archiveListHead, tail: archiveListTail,
				flags: append(shareFlags(), "output"), arguments: listArguments, run: listArchives,
			},
			{
				name: "archive restore", summary: "print a claim that gets an archive back",
				head: archiveRestoreHead, tail: archiveRestoreTail,
				flags: append(shareFlags(), "to", "volume"), arguments: restoreArguments, run: restoreArchive,
			},
			{
				name: "archive purge", summary: "move archives into the trash",
				head: archivePurgeHead, tail: archivePurgeTail,
				flags: append(shareFlags(), "cluster", "all", "ended", "older-than", "yes"), arguments: purgeArguments, run: purgeArchives,
			},
		},
	}
	c.run = func(_ context.Context, _ options, std streams) error {
		fmt.Fprint(std.err, helpText(c))
		return &usageError{c.name, []error{fmt.Errorf("archive alone does nothing; commands are: %s", c.names())}}
	}
	return c
}

// checkNames refuses what is neither a name nor NAMESPACE/CLAIM, and says what is
// allowed.
func checkNames(args []string, allowed string) (problems []error) {
	for _, name := range args {
		if !isName(name) {
			problems = append(problems, fmt.Errorf("argument %q: allowed are %s", name, allowed))
		}
	}
	return problems
}

// isName reports whether s is a name or NAMESPACE/CLAIM.
func isName(s string) bool {
	parts := strings.Split(s, "/")
	return len(parts) <= 2 && !slices.Contains(parts, "")
}

func listArguments(o *options, args []string) (problems []error) {
	o.archive.args = args
	if len(args) > 1 {
		problems = append(problems, fmt.Errorf("arguments %q: one is allowed, NAMESPACE or NAMESPACE/CLAIM", args))
	}
	return append(problems, checkNames(args, "NAMESPACE and NAMESPACE/CLAIM")...)
}

func listArchives(_ context.Context, o options, std streams) error {
	found, err := findArchives(o, std)
	if err != nil {
		return err
	}
	listed := found.Archives
	if len(o.archive.args) > 0 {
		namespace, claim, _ := strings.Cut(o.archive.args[0], "/")
		listed = slices.DeleteFunc(listed, func(a archives.Archive) bool { return !a.Of(namespace, claim) })
	}
	if o.output == "json" {
		err = archives.WriteJSON(std.out, listed)
	} else if err = archives.WriteTable(std.out, listed, len(found.Clusters) > 1, time.Now()); len(listed) == 0 {
		fmt.Fprintln(std.err, "No archives found.")
	}
	return errors.Join(err, found.incomplete)
}

// archivesFound is what is on the shares.
type archivesFound struct {
	archives.Found

	shares     int
	incomplete error // if something could not be read, which is said already
}

func findArchives(o options, std streams) (archivesFound, error) {
	mounts, err := findShares(o)
	if err != nil {
		return archivesFound{}, err
	}
	opened, closed := openShares(mounts)
	if len(opened) == 0 && len(closed) > 0 {
		return archivesFound{}, errors.Join(closed...)
	}
	var shares []archives.Share
	for _, s := range opened {
		shares = append(shares, archives.Share{Name: s.Name, Dirs: s.dirs, Records: s.records})
	}
	found := archivesFound{Found: archives.Find(shares), shares: len(mounts)}
	found.Unread = append(closed, found.Unread...)
	for _, err := range found.Unread {
		fmt.Fprintln(std.err, "claimdir:", output.Line(err))
	}
	if n := len(found.Unread); n > 0 {
		found.incomplete = fmt.Errorf("%d records or shares could not be read; the rest was looked at", n)
	}
	return found, nil
}
