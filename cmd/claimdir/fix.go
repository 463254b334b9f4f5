package main

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/output"
	"claimdir/provisioner/steps"
)

// fixAll asks before each fix, and fixes. It prints the reason if a fix fails; the finding
// is then in the next report, too.
func fixAll(ctx context.Context, o doctorOptions, client kubernetes.Interface, findings []doctor.Finding, std streams) error {
	fixer, err := newFixer(o.options, client)
	if err != nil {
		return err
	}
	asker, fixed := newAsker(std), 0
	for _, f := range findings {
		if f.Fix == "" || ctx.Err() != nil {
			continue
		}
		on := ""
		if f.Share != "" {
			on = fmt.Sprintf(" (share %s)", f.Share)
		}
		question := fmt.Sprintf("%s %s%s: %s\n%s?", f.Kind, output.Cell(f.Object), on, output.Cell(f.Problem), f.Fix)
		if o.yes {
			fmt.Fprint(std.err, question, " ")
		} else if yes, err := asker.ask(ctx, question); err != nil {
			return fmt.Errorf("stopped after fixing %d: %w", fixed, err)
		} else if !yes {
			fmt.Fprintln(std.err, "not fixed")
			continue
		}
		done, err := fixer.Fix(ctx, f)
		if err != nil {
			fmt.Fprintln(std.err, "cannot fix it:", output.Line(err))
			continue
		}
		fixed++
		fmt.Fprintln(std.err, output.Cell(done))
	}
	return ctx.Err()
}

func newFixer(o options, client kubernetes.Interface) (doctor.Fixer, error) {
	live := cluster.Live{Client: client}
	fixer := doctor.Fixer{Gone: live.GoneForGood, NoVolume: live.NoVolume, Shares: map[string]steps.Direct{}}
	fixer.Cluster = func(ctx context.Context) (c doctor.Cluster, err error) {
		c.Names = o.names()
		if c.ID, err = clusterID(ctx, client); err != nil {
			return c, err
		}
		if c.Volumes, err = live.Volumes(ctx); err != nil {
			return c, fmt.Errorf("list volumes: %w", err)
		}
		return c, nil
	}
	mounts, err := findShares(o)
	if err != nil {
		return fixer, err
	}
	opened, _ := openShares(mounts) // a share that cannot be opened has one finding, which cannot be fixed here
	for _, s := range opened {
		fixer.Shares[s.Name] = steps.Direct{From: s.Source, Store: s.store()}
	}
	return fixer, nil
}
