package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"claimdir/provisioner/archives"
	"claimdir/provisioner/output"
)

const archiveRestoreHead = `claimdir archive restore prints a claim that gets an archive as its directory:

    claimdir archive restore team/data --to data2 | kubectl create -f -

The claim has the namespace, class, size and access modes of the archived claim. Use kubectl create,
which fails if a claim of that name exists; kubectl apply would change that claim. The class must be
one of claimdir's, and its volumes must go to the share that the archive is on. If the archive is of
another cluster, or of an earlier namespace of that name, the class needs onExisting: adopt. When the claim is bound, the archive has become
its directory.

The command needs no cluster and changes nothing. It does not create the claim itself, because
claimdir has no right to create claims in your namespaces; your kubectl has your rights.

Usage: claimdir archive restore NAMESPACE/CLAIM [flags]
`

const archiveRestoreTail = `
Exit codes: 0 claim printed; 1 failed, or there is no such archive; 2 wrong configuration.
`

// restoreOptions are those of claimdir archive restore.
type restoreOptions struct {
	options

	claim      string // NAMESPACE/CLAIM
	to, volume string
}

func archiveRestoreCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "restore", Short: "print a claim that restores an archive",
		Long: archiveRestoreHead, Annotations: endsWith(archiveRestoreTail),
	}
	return p.command(c, &restoreOptions{options: newOptions()})
}

func (o *restoreOptions) flags() []*pflag.FlagSet {
	f := section("Archives")
	f.StringVar(&o.to, "to", "", "the `name` of the new claim; default: the name of the archived claim")
	f.StringVar(&o.volume, "volume", "", "restore the archive of this `volume` (PersistentVolume); default: the claim's newest archive")
	return []*pflag.FlagSet{o.shareFlags(), f}
}

func (o *restoreOptions) complete(args []string) []error {
	problems := o.checkShares()
	if len(args) != 1 || !isName(args[0]) || !strings.Contains(args[0], "/") {
		problems = append(problems, fmt.Errorf("arguments %q: exactly one is required, NAMESPACE/CLAIM of the archived claim", args))
	} else {
		o.claim = args[0]
	}
	if o.to != "" {
		if wrong := validation.IsDNS1123Subdomain(o.to); len(wrong) > 0 {
			problems = append(problems, fmt.Errorf("--to %q: not a valid name of a claim: %s", o.to, strings.Join(wrong, "; ")))
		}
	}
	return problems
}

func (o *restoreOptions) run(_ context.Context, std streams) error {
	found, err := findArchives(o.options, std)
	if err != nil {
		return err
	}
	namespace, claim, _ := strings.Cut(o.claim, "/")
	chosen, others, err := archives.Choose(found.Archives, namespace, claim, o.volume)
	if err != nil {
		return err
	}
	name := claim
	if o.to != "" {
		name = o.to
	}
	manifest, err := archives.Manifest(chosen, name)
	if err != nil {
		return err
	}
	for _, text := range remarks(chosen, others, found) {
		fmt.Fprintln(std.err, "claimdir:", output.Cell(text))
	}
	if _, err := std.out.Write(manifest); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	// Unread records are reported above and are no failure: the manifest is complete.
	return nil
}

// remarks returns what the user should know before creating the claim.
func remarks(chosen archives.Archive, others []archives.Archive, found archivesFound) (texts []string) {
	remark := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if len(others) > 0 {
		var names []string
		for _, other := range others {
			names = append(names, released(other))
		}
		remark("chose the archive of volume %s; choose another one of the claim with --volume: %s", released(chosen), strings.Join(names, ", "))
	}
	if found.shares > 1 {
		remark("the archive is on share %q: class %q must put volumes on that share", chosen.Share, chosen.Class)
	}
	if len(found.Clusters) > 1 {
		remark("the archive is of cluster %s; in another cluster the class needs onExisting: adopt", chosen.Cluster)
	}
	if slices.Contains(found.Remade, chosen.Namespace) {
		remark("namespace %s was deleted and made anew; the archive is of the one with UID %s, and in another one the class needs onExisting: adopt", chosen.Namespace, cmp.Or(chosen.NamespaceUID, "unknown"))
	}
	if chosen.Class == "" {
		remark("the archive's record names no class, so the claim gets the cluster's default class; that must be one of claimdir's")
	}
	if chosen.Expired(time.Now()) {
		remark("the archive has expired: claimdir may remove it at any moment")
	}
	return texts
}

// released returns the volume of an archive, and when it was released.
func released(a archives.Archive) string {
	if a.Since == nil {
		return a.Volume
	}
	return fmt.Sprintf("%s (released %s)", a.Volume, a.Since.UTC().Format(time.DateTime))
}
