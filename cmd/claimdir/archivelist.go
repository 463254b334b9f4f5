package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/archives"
	"claimdir/provisioner/output"
)

const archiveListHead = `claimdir archive list lists the archives on the shares: those of all claims, of the claims of one
namespace, or of one claim.

    kubectl -n claimdir exec deploy/claimdir -- /claimdir archive list

With --retained it lists the directories that released volumes with the policy retain have left at their
paths instead. It needs no cluster and changes nothing. SIZE is the size of the claim. If several clusters have
records on the shares, CLUSTER shows the cluster of each archive. If a namespace was deleted and made anew,
NAMESPACE UID shows of which one an archive is. A directory that has the name of an archive and no record
belongs to another provisioner; only its path is shown.

Usage: claimdir archive list [NAMESPACE[/CLAIM]] [flags]
`

const archiveListTail = `
Exit codes: 0 all archives listed; 1 failed, or some could not be read (standard error names them and
the reason; the others are listed); 2 wrong configuration.
`

// listOptions are those of claimdir archive list.
type listOptions struct {
	options

	names    []string // a namespace or a claim; empty means all
	retained bool
	output   string
}

func archiveListCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the archives on the shares", Long: archiveListHead, Annotations: endsWith(archiveListTail)}
	return p.command(c, &listOptions{options: newOptions()})
}

func (o *listOptions) flags() []*pflag.FlagSet {
	f := section("Archives")
	f.BoolVar(&o.retained, "retained", false, "list retained directories instead of archives")
	return []*pflag.FlagSet{o.shareFlags(), f, outputFlags(&o.output)}
}

func (o *listOptions) complete(args []string) []error {
	o.names = args
	return slices.Concat(o.checkShares(), checkOutput(o.output), checkOneName(args))
}

func (o *listOptions) run(_ context.Context, std streams) error {
	found, err := findArchives(o.options, std)
	if err != nil {
		return err
	}
	listed := found.of(o.retained)
	near := ""
	if len(o.names) > 0 {
		namespace, claim, _ := strings.Cut(o.names[0], "/")
		near = archives.Near(listed, output.Plural(kind(o.retained)), namespace, claim)
		listed = slices.DeleteFunc(listed, func(a archives.Archive) bool { return !a.Of(namespace, claim) })
	}
	if o.output == "json" {
		err = archives.WriteJSON(std.out, listed)
	} else if err = archives.WriteTable(std.out, listed, found.Found, time.Now(), std.width); len(listed) == 0 {
		fmt.Fprintln(std.err, noneFound(o, near))
	}
	return errors.Join(err, found.incomplete)
}

// noneFound says that nothing was found, and what there is near it.
func noneFound(o *listOptions, near string) string {
	text := fmt.Sprintf("No %s found", output.Plural(kind(o.retained)))
	if len(o.names) > 0 {
		text += fmt.Sprintf(" of %q", o.names[0])
	}
	if near != "" {
		text += "; " + near
	}
	return text + "."
}
