package main

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claimdir/provisioner/quota"
)

const quotaHead = `claimdir quota makes the NFS server hold each volume to the size of its claim, by project quotas. It runs on
the NFS server itself, as root, and needs no cluster: it reads claimdir's records in the exported directory.

    claimdir quota --share /exports/data --dry-run    see what it would do
    claimdir quota --share /exports/data              do it, and again every 30 seconds, until it is stopped

The exported directory must lie on XFS that is mounted with prjquota, or on ext4 with the features quota and
project that is mounted with prjquota; docs/quota.md says how to prepare them, and has a unit for systemd.

Each volume's directory, with all that is in it, gets a project id of its own, and a limit: the size of the
claim and the slack. df in a pod then shows the limit as the size of the volume. An expansion of the claim
raises the limit with the next pass. Archives, retained directories and the trash have none. The ids are kept
in .claimdir/projects.json in the exported directory. A volume in which something has a project id that is
not the volume's is left alone and named; so is one whose directory is not the one on record.

Usage: claimdir quota --share DIR [flags]
`

const quotaTail = `
Exit codes: 0 stopped by a signal, or one pass has set all quotas; 1 failed, or some volumes were left alone
(each is named with the reason); 2 wrong configuration.
`

// quotaOptions are those of claimdir quota.
type quotaOptions struct {
	share       string
	dryRun      bool
	once        bool
	every       time.Duration
	slack       string
	projectBase uint32
}

func quotaCommand(p program) *cobra.Command {
	c := &cobra.Command{Use: "quota", Short: "on the NFS server: limit each volume to the size of its claim", Long: quotaHead, Annotations: endsWith(quotaTail)}
	return p.command(c, &quotaOptions{every: 30 * time.Second, slack: "0", projectBase: quota.DefaultBase})
}

func (o *quotaOptions) flags() []*pflag.FlagSet {
	f := section("Quotas")
	f.StringVar(&o.share, "share", o.share, "the exported `directory` on this server, in which .claimdir lies; required")
	f.BoolVar(&o.dryRun, "dry-run", o.dryRun, "make one pass that changes nothing and prints what it would do")
	f.BoolVar(&o.once, "once", o.once, "make one pass, give all directories their project ids, and stop")
	durationVar(f, &o.every, "every", "how often to read the records and bring the limits up to date")
	f.StringVar(&o.slack, "slack", o.slack, "what a volume may hold beyond the size of its claim: a `size` such as 100Mi, or a percentage such as 5%")
	f.Uint32Var(&o.projectBase, "project-base", o.projectBase,
		"the first project `id` to give out; ids that have a limit or files already are passed over, and none is given out twice")
	return []*pflag.FlagSet{f}
}

func (o *quotaOptions) complete(args []string) []error {
	problems := unexpected(args)
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case o.share == "":
		problem("--share is required: the exported directory on this server, in which .claimdir lies")
	case !path.IsAbs(o.share):
		problem("--share %q: must be absolute", o.share)
	}
	if o.every < time.Second {
		problem("--every %s: must be at least 1s", o.every)
	}
	if _, err := quota.ParseSlack(o.slack); err != nil {
		problem("--slack %q: %w", o.slack, err)
	}
	if err := quota.CheckBase(o.projectBase); err != nil {
		problem("--project-base %d: %w", o.projectBase, err)
	}
	return problems
}

func (o *quotaOptions) run(ctx context.Context, std streams) error {
	slack, err := quota.ParseSlack(o.slack)
	if err != nil {
		return err
	}
	job, err := quota.Open(quota.Config{
		Dir: path.Clean(o.share), Base: o.projectBase, Slack: slack, DryRun: o.dryRun, Once: o.once, Every: o.every, Out: std.out,
	})
	if err != nil {
		return fmt.Errorf("--share %q: %w", o.share, err)
	}
	defer job.Close()
	return job.Run(ctx)
}
