package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sweep"
)

// fixAll asks for each finding that can be mended, and mends it. What cannot be done
// after all is told, and is in the next report.
func fixAll(ctx context.Context, o options, client kubernetes.Interface, findings []doctor.Finding, std streams) error {
	fixer, err := newFixer(o, client)
	if err != nil {
		return err
	}
	answers := bufio.NewReader(std.in)
	for _, f := range findings {
		if f.Fix == "" || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(std.err, "%s %s: %s\n%s? [y/N] ", f.Kind, output.Cell(f.Object), output.Cell(f.Problem), f.Fix)
		if !o.yes && !answeredYes(answers) {
			fmt.Fprintln(std.err, "left as it is")
			continue
		}
		done, err := fixer.Fix(ctx, f)
		if err != nil {
			done = "not done: " + err.Error()
		}
		fmt.Fprintln(std.err, output.Cell(done))
	}
	return ctx.Err()
}

// answeredYes takes whatever is no clear yes, and the end of input, for a no.
func answeredYes(answers *bufio.Reader) bool {
	line, err := answers.ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (answer == "y" || answer == "yes")
}

func newFixer(o options, client kubernetes.Interface) (doctor.Fixer, error) {
	live := sweep.Live{Client: client}
	fixer := doctor.Fixer{Gone: live.GoneForGood, NoVolume: live.NoVolume, Shares: map[string]doctor.Mendable{}}
	fixer.Cluster = func(ctx context.Context) (c doctor.Cluster, err error) {
		c.Names = o.names()
		if c.ID, err = systemUID(ctx, client); err != nil {
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
	for _, mount := range mounts {
		dirs, err := share.Open(mount.Dir)
		if err != nil {
			return fixer, err
		}
		records, err := ledger.OpenReadOnly(dirs)
		if err != nil {
			return fixer, err
		}
		fixer.Shares[mount.Name] = doctor.Mendable{Source: mount.Source, Files: provisioner.Files{Dirs: dirs, Records: records}}
	}
	return fixer, nil
}
