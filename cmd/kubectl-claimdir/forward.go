package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// forward makes a command one that runs in the pod, with its arguments and flags. asks reports whether the program
// there may ask the user; then it gets what the user types, and the terminal. nil is never.
func (a *app) forward(c *cobra.Command, asks func() bool, sections ...*pflag.FlagSet) *cobra.Command {
	for _, s := range sections {
		forPod(s)
	}
	addSections(c, sections...)
	if c.Args == nil {
		c.Args = noArguments
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		s := session{out: a.Out, err: a.ErrOut}
		if asks != nil && asks() {
			s.in, s.terminal = a.In, a.terminal
		}
		return a.inPod(c.Context(), s, podArguments(c, args))
	}
	return c
}

// pod connects to the cluster and finds the pod. It tells which one that is, unless the user has said in which namespace:
// whoever may create pods can give one the labels of claimdir's.
func (a *app) pod(ctx context.Context, tell io.Writer) (*cluster, place, error) {
	cluster, err := a.connect()
	if err != nil {
		return nil, place{}, err
	}
	at, err := cluster.find(ctx)
	if err == nil && cluster.namespace == "" {
		fmt.Fprintf(tell, "Using pod %s\n", at)
	}
	return cluster, at, err
}

// needsNamespace makes a command refuse to search for the pod. Of others the user sees which pod was taken, and that is enough;
// this one is for output that is applied or run, often without anybody looking.
func (a *app) needsNamespace(c *cobra.Command) *cobra.Command {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		cluster, err := a.connect()
		if err != nil {
			return err
		}
		if cluster.namespace != "" {
			return run(c, args)
		}
		found, err := cluster.installations(c.Context())
		if err != nil {
			return err
		}
		return fmt.Errorf("%s needs --namespace, that of claimdir: what it prints is for kubectl apply or a shell, and whoever may create pods can give one the labels of claimdir's; pods with these labels are in: %s",
			c.Name(), names(found))
	}
	return c
}

// inPod finds the pod and runs claimdir there.
func (a *app) inPod(ctx context.Context, s session, args []string) error {
	cluster, at, err := a.pod(ctx, s.err)
	if err != nil {
		return err
	}
	return cluster.run(ctx, at, s, args...)
}

// podArguments returns the command line in the pod: the command, its flags that are for the pod, and its arguments,
// of which none can be a flag there.
func podArguments(c *cobra.Command, args []string) []string {
	line := strings.Fields(below(c.Parent(), c.Name()))
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && annotation(f, forwarded) != "" {
			line = append(line, fmt.Sprintf("--%s=%s", f.Name, f.Value))
		}
	})
	if len(args) > 0 {
		line = append(line, "--")
	}
	return append(line, args...)
}

// claims refuses an argument that is neither a name nor NAMESPACE/CLAIM. The error says what is allowed.
func claims(args []string, allowed string) error {
	for _, name := range args {
		if parts := strings.Split(name, "/"); len(parts) > 2 || slices.Contains(parts, "") {
			return fmt.Errorf("argument %q: allowed are %s", name, allowed)
		}
	}
	return nil
}

// durationText is a duration that the program in the pod reads.
type durationText string

func (d *durationText) Set(s string) error {
	*d = durationText(s)
	return nil
}

func (d *durationText) String() string { return string(*d) }

func (d *durationText) Type() string { return "duration" }

// podOutput adds the flag for the format of a table that the program in the pod prints.
func podOutput() *pflag.FlagSet {
	f := newSection("Output")
	f.StringP("output", "o", "table", "table or json")
	return f
}

const usageHead = `kubectl claimdir usage lists how much the volumes, archives and retained directories on the shares hold, the
largest first: those of all claims, of the claims of one namespace, or of one claim.

It prints what claimdir measured last, if USAGE_INTERVAL is set in its Deployment, such as 6h. USED is what is
taken on the server's disk, as du(1) counts it; >= says that a part was not counted.

Usage: kubectl claimdir usage [NAMESPACE[/CLAIM]] [flags]
`

func (a *app) usageCommand() *cobra.Command {
	return a.forward(&cobra.Command{
		Use: "usage", Short: "list how much volumes, archives and snapshots hold", Long: usageHead, Args: oneName,
		ValidArgsFunction: a.completeVolumes,
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 all listed; 1 failed, or something could not be read (standard error says what; the rest is
listed); 2 wrong configuration.
`},
	}, nil, podOutput())
}

const doctorHead = `kubectl claimdir doctor compares the cluster with the shares, and reports each problem and its remedy. It
changes nothing, and may run beside the controller.

With --fix it then offers to fix each problem that it can fix, one by one, and checks again. It never
removes a file of a volume. If the volume of a record is gone, it removes the record, and the directory
if that is empty; it archives a directory that is not empty. If the directory of an archive or of a
retained volume is missing, it removes the record. If a PersistentVolume came back after its release,
it puts the directory back that is an archive by now, or in the trash.

Usage: kubectl claimdir doctor [flags]
`

func (a *app) doctorCommand() *cobra.Command {
	acting := newSection("Acting")
	fix := acting.Bool("fix", false, "fix what can be fixed, and ask before each fix")
	yes := acting.Bool("yes", false, "do not ask; answer every question with yes")
	return a.forward(&cobra.Command{
		Use: "doctor", Short: "compare the cluster with the share, and report problems", Long: doctorHead,
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 no problems; 1 failed, found problems, or stdin is not a terminal and --yes is missing;
2 wrong configuration.
`},
	}, func() bool { return *fix && !*yes }, podOutput(), acting)
}

const recoverHead = `kubectl claimdir recover prints the PersistentVolumes and claims of the volumes on the shares, from their
records. Apply them to a new cluster, with claimdir in it, to get the volumes of a lost cluster back:

    kubectl claimdir recover --namespace claimdir > volumes.yaml
    kubectl apply -f volumes.yaml

It changes nothing. It leaves out the volumes that are Bound in the cluster. --namespace, that of claimdir, is
required: others may give pods the labels of claimdir's, and what such a pod prints must not be applied.

With --readdress it prints something else: a shell script for a share whose server or path has changed. The
script gives the PersistentVolumes of the share its new address.

With --snapshots it prints the VolumeSnapshots and VolumeSnapshotContents of the snapshots on the share. Apply
them after the volumes, to a cluster that serves the snapshot API:

    kubectl claimdir recover --namespace claimdir --snapshots > snapshots.yaml
    kubectl apply -f snapshots.yaml

Usage: kubectl claimdir recover --namespace NAMESPACE [flags]
`

func (a *app) recoverCommand() *cobra.Command {
	volumes := newSection("Volumes")
	volumes.Bool("include-bound", false, "print also the volumes that are Bound in the cluster, or the snapshots that it has, such as for a backup; asks no cluster")
	volumes.Bool("readdress", false, "print a script that gives the share's PersistentVolumes the new address of the share")
	volumes.Bool("snapshots", false, "print the VolumeSnapshots of the snapshots on the share instead")
	return a.needsNamespace(a.forward(&cobra.Command{
		Use: "recover", Short: "print what creates the volumes on the share in a new cluster, or gives them a new address", Long: recoverHead,
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 all printed, except volumes that are Bound in the cluster; 1 failed, or others were left out
(standard error names them and the reason); 2 wrong configuration.
`},
	}, nil, volumes))
}

const versionHead = `kubectl claimdir version prints the version of the plugin, and that of claimdir in the pod.

Usage: kubectl claimdir version [flags]
`

func (a *app) versionCommand() *cobra.Command {
	var client bool
	f := newSection("Version")
	f.BoolVar(&client, "client", false, "print that of the plugin alone; asks no cluster")
	c := &cobra.Command{
		Use: "version", Short: "print the versions", Long: versionHead, Args: noArguments,
		Annotations: map[string]string{exitCodes: "\nExit codes: 0 printed; 1 failed; 2 wrong command line.\n"},
	}
	addSections(c, f)
	c.RunE = func(c *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(a.Out, "kubectl-claimdir", version)
		if err != nil || client {
			return err
		}
		return a.inPod(c.Context(), session{out: a.Out, err: a.ErrOut}, []string{"--version"})
	}
	return c
}
