package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
)

const doctorHead = `claimdir doctor compares the cluster with the share, and reports each problem and its remedy. It changes
nothing, and may run beside the controller.

With --fix it then offers to fix each problem that it can fix, one by one, and checks again. It never
removes a file of a volume. If the volume of a record is gone, it removes the record, and the directory
if that is empty; it archives a directory that is not empty. If the directory of an archive or of a
retained volume is missing, it removes the record. If a PersistentVolume came back after its release,
it puts the directory back that is an archive by now, or in the trash.

In the pod it checks everything:

    ` + doctorAll + `

On a workstation, where the share is not mounted, it checks only classes and volumes. It checks twice,
two seconds apart, and reports only problems that it finds both times, because a volume that is just being
created or released looks like a problem.

Usage: claimdir doctor [flags]
`

const doctorTail = `
Exit codes: 0 no problems; 1 failed, found problems, or stdin is not a terminal and --yes is missing;
2 wrong configuration.
`

// doctorOptions are those of claimdir doctor.
type doctorOptions struct {
	options

	output   string
	fix, yes bool
}

func doctorCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "doctor", Short: "compare the cluster with the share, and report problems",
		Long: doctorHead, Annotations: endsWith(doctorTail),
	}
	return p.command(c, &doctorOptions{options: newOptions()})
}

func (o *doctorOptions) flags() []*pflag.FlagSet {
	names, cluster, acting := section("Provisioner"), section("Cluster"), section("Acting")
	o.addName(names)
	o.addMoreNames(names)
	o.addKubeconfig(cluster)
	o.addNamespace(cluster)
	acting.BoolVar(&o.fix, "fix", false, "fix what can be fixed, and ask before each fix")
	acting.BoolVar(&o.yes, "yes", false, "do not ask; answer every question with yes")
	return []*pflag.FlagSet{withVariables(names), o.shareFlags(), withVariables(cluster), outputFlags(&o.output), acting}
}

func (o *doctorOptions) complete(args []string) []error {
	o.findNamespace()
	problems := slices.Concat(unexpected(args), o.checkNames(), o.checkShares(), checkOutput(o.output))
	if o.yes && !o.fix {
		problems = append(problems, errors.New("--yes requires --fix"))
	}
	if o.fix && !o.yes && o.output == "json" {
		problems = append(problems, errors.New("--fix with --output json requires --yes"))
	}
	return problems
}

// doctorAll is the command line that checks everything.
const doctorAll = "kubectl -n claimdir exec deploy/claimdir -- /claimdir doctor"

// settle is the pause between the two checks: a volume that is being created or released
// looks like a problem for a moment.
const settle = 2 * time.Second

func (o *doctorOptions) run(ctx context.Context, std streams) error {
	clients, err := connectCommand(o.options)
	if err != nil {
		return err
	}
	return diagnose(ctx, *o, clients.Main, std)
}

// diagnose checks and prints the report. With --fix it then fixes what it can, checks again
// and prints the second report. JSON output is one object: the last report.
func diagnose(ctx context.Context, o doctorOptions, client kubernetes.Interface, std streams) error {
	report, err := examineTwice(ctx, o.options, client)
	if err != nil {
		return err
	}
	if o.fix && slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Fix != "" }) {
		if o.output == "table" {
			if err := report.WriteTable(std.out, std.width); err != nil {
				return err
			}
		}
		ctx := klog.NewContext(ctx, klog.Logger{}) // each fix is reported beside its question, so it is not logged too
		if err := fixAll(ctx, o, client, report.Findings, std); err != nil {
			return err
		}
		if report, err = examineTwice(ctx, o.options, client); err != nil {
			return err
		}
	}
	if o.output == "json" {
		err = report.WriteJSON(std.out)
	} else {
		err = report.WriteTable(std.out, std.width)
	}
	if err != nil {
		return err
	}
	switch n := len(report.Findings); n {
	case 0:
		return nil
	case 1:
		return errors.New("doctor found 1 problem")
	default:
		return fmt.Errorf("doctor found %d problems", n)
	}
}

func examineTwice(ctx context.Context, o options, client kubernetes.Interface) (doctor.Report, error) {
	report, err := examine(ctx, o, client)
	if err == nil && len(report.Findings) > 0 {
		report, err = confirm(ctx, o, client, report)
	}
	return report, err
}

// confirm checks a second time, because a volume that the controller is creating or
// releasing looks like a problem.
func confirm(ctx context.Context, o options, client kubernetes.Interface, first doctor.Report) (doctor.Report, error) {
	select {
	case <-ctx.Done():
		return first, ctx.Err()
	case <-time.After(settle):
	}
	again, err := examine(ctx, o, client)
	return again.Confirm(first), err
}

// examine checks once. A share or a list that cannot be read is a finding, and everything
// else is checked. If the volumes cannot be listed, examine fails.
func examine(ctx context.Context, o options, client kubernetes.Interface) (report doctor.Report, err error) {
	read := readSites(ctx, o)
	live := cluster.Live{Client: client}
	known := doctor.Cluster{Names: o.names(), Gone: func(r ledger.Record) error { return live.GoneForGood(ctx, r) }}
	if slices.ContainsFunc(read.sites, func(site *doctor.Site) bool { return site.Dirs != nil }) {
		if known.ID, err = clusterID(ctx, client); err != nil {
			return doctor.Report{}, err
		}
	}
	if known.Volumes, err = live.Volumes(ctx); err != nil {
		return doctor.Report{}, fmt.Errorf("list volumes: %w", err)
	}
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		read.troubles = append(read.troubles, doctor.Finding{Kind: doctor.KindAccess, Object: "StorageClasses", Problem: err.Error(),
			Remedy: "allow listing them, as manifests/base/rbac.yaml does"})
	} else {
		known.Classes = classes.Items
	}
	var contentsErr error
	if known.Contents, contentsErr = contentsOf(ctx, o); contentsErr != nil {
		read.troubles = append(read.troubles, doctor.Finding{Kind: doctor.KindAccess, Object: "VolumeSnapshotContents", Problem: contentsErr.Error(),
			Remedy: "fix the cause named in the error; the controller needs this too"})
	}
	known.Led = func(provisioner string) bool {
		holders, err := leaseHolders(ctx, client, o.podNamespace, provisioner)
		return err == nil && len(holders) > 0 // the finding says what to do if another claimdir serves it
	}
	report = doctor.Diagnose(known, read.sites...)
	report.Findings = append(read.troubles, report.Findings...)
	if report.Findings == nil {
		report.Findings = []doctor.Finding{} // JSON must have a list, even if it is empty
	}
	report.NotChecked = append(report.NotChecked, read.left...)
	return report, nil
}

// sitesRead is what was read from the shares, and what could not be read.
type sitesRead struct {
	sites    []*doctor.Site
	left     []string // what is not checked, and why
	troubles []doctor.Finding
}

func (r *sitesRead) trouble(name, object string, err error) {
	r.troubles = append(r.troubles, doctor.Finding{Kind: doctor.KindAccess, Share: name, Object: object, Problem: err.Error(),
		Remedy: "fix the cause named in the error; the controller needs this too"})
	which := "the share"
	if name != "" {
		which = fmt.Sprintf("share %q", name)
	}
	r.left = append(r.left, fmt.Sprintf("records and directories, because %s cannot be used", which))
}
