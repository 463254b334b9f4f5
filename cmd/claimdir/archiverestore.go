package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"claimdir/provisioner/archives"
	"claimdir/provisioner/output"
)

const archiveRestoreHead = `claimdir archive restore prints a claim that gets an archive back as its directory:

    claimdir archive restore team/data --to data2 | kubectl create -f -

The claim is in the namespace of the one that the archive was of, with the class, size and access
modes from the archive's record; no claim of its name may exist: kubectl create says so, kubectl apply
would change the old one. The class must be one of
claimdir's, and its share the one that the archive is on. If another cluster left the archive, the class needs
onExisting: adopt. Once the claim is bound, the archive is gone.

It prints the claim instead of creating it because claimdir has no right to create claims: the
namespaces are yours, and your kubectl has your rights. So it needs no cluster and changes nothing.

Usage: claimdir archive restore NAMESPACE/CLAIM [flags]
`

const archiveRestoreTail = `
Exit codes: 0 printed, 1 there is no such archive or it failed, 2 wrong configuration.
`

// restoreOptions are those of claimdir archive restore.
type restoreOptions struct {
	options

	claim      string // NAMESPACE/CLAIM
	to, volume string
}

func archiveRestoreCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "restore", Short: "print a claim that gets an archive back",
		Long: archiveRestoreHead, Annotations: endsWith(archiveRestoreTail),
	}
	return p.command(c, &restoreOptions{options: newOptions()})
}

func (o *restoreOptions) flags() []*pflag.FlagSet {
	f := section("Archives")
	f.StringVar(&o.to, "to", "", "the `name` of the claim that gets the archive; default: as before")
	f.StringVar(&o.volume, "volume", "", "the `volume` (PersistentVolume) that the archive was; default: the claim's newest archive")
	return []*pflag.FlagSet{o.shareFlags(), f}
}

func (o *restoreOptions) complete(args []string) []error {
	problems := o.checkShares()
	if len(args) != 1 || !isName(args[0]) || !strings.Contains(args[0], "/") {
		problems = append(problems, fmt.Errorf("arguments %q: one is needed, NAMESPACE/CLAIM, the claim that the archive was of", args))
	} else {
		o.claim = args[0]
	}
	if o.to != "" {
		if wrong := validation.IsDNS1123Subdomain(o.to); len(wrong) > 0 {
			problems = append(problems, fmt.Errorf("--to %q: no claim can have that name: %s", o.to, strings.Join(wrong, "; ")))
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
	// What could not be read is said, and no reason to fail: the manifest is whole.
	return nil
}

// remarks are what somebody should know before the manifest is applied.
func remarks(chosen archives.Archive, others []archives.Archive, found archivesFound) (texts []string) {
	remark := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if len(others) > 0 {
		var names []string
		for _, other := range others {
			names = append(names, released(other))
		}
		remark("took the archive of volume %s; the claim has others, which --volume takes: %s", released(chosen), strings.Join(names, ", "))
	}
	if found.shares > 1 {
		remark("the archive is on share %q: class %q must be one whose volumes may be there", chosen.Share, chosen.Class)
	}
	if len(found.Clusters) > 1 {
		remark("the archive is of cluster %s; in another one it is given only to a class with onExisting: adopt", chosen.Cluster)
	}
	if chosen.Class == "" {
		remark("the archive's record names no class: the cluster's default class will be taken; it must be one of claimdir's")
	}
	if chosen.Expired(time.Now()) {
		remark("the archive's time is over: it may be removed at any moment")
	}
	return texts
}

// released names the volume that an archive was, and its end.
func released(a archives.Archive) string {
	if a.Since == nil {
		return a.Volume
	}
	return fmt.Sprintf("%s (released %s)", a.Volume, a.Since.UTC().Format(time.DateTime))
}
