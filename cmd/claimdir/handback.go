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
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/handback"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
)

const handbackHead = `claimdir handback prepares volumes for nfs-subdir-external-provisioner: it takes claimdir's finalizer and
annotations off their PersistentVolumes. It touches no share and nothing else of the PersistentVolumes.
It lists the volumes and asks before it changes them.

Run it on a workstation, after you have scaled the Deployment of claimdir to 0, and before you start the
other provisioner. Names are those that claimdir had; the share is that of the other provisioner:

    claimdir handback --provisioner-name claimdir/nfs --nfs-server nas.example.com --nfs-path /exports/data

From then on the class of a volume decides what happens on its release, as it does with the other
provisioner; the table shows it. The command leaves out volumes that would lose data by that, that are
not on the share, or that are to be released, and says what to do. It refuses to work while a claimdir
leads. It cannot see one that runs with ENABLE_LEADER_ELECTION=false.

Usage: claimdir handback [flags]
`

const handbackTail = `
Exit codes: 0 handed back, nothing to hand back, or the answer was no; 1 failed, some volumes were left
out, or stdin is not a terminal and --yes is missing; 2 wrong configuration.
`

// handbackOptions are those of claimdir handback.
type handbackOptions struct {
	options

	yes bool
}

func handbackCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "handback", Short: "prepare volumes for nfs-subdir-external-provisioner, when claimdir is to go",
		Long: handbackHead, Annotations: endsWith(handbackTail),
	}
	return p.command(c, &handbackOptions{options: newOptions()})
}

func (o *handbackOptions) flags() []*pflag.FlagSet {
	names, there, cluster, acting := section("Provisioner"), section("Share of the other provisioner"), section("Cluster"), section("Acting")
	o.addName(names)
	o.addMoreNames(names)
	there.StringVar(&o.nfsServer, "nfs-server", "", "its NFS `server`; required")
	there.StringVar(&o.nfsPath, "nfs-path", "", "its exported `path`; required")
	o.addKubeconfig(cluster)
	cluster.StringVar(&o.podNamespace, "pod-namespace", "", "the `namespace` of claimdir's Lease; default: the pod's own or, outside a pod, every namespace is searched")
	acting.BoolVar(&o.yes, "yes", false, "do not ask; answer every question with yes")
	return []*pflag.FlagSet{withVariables(names), withVariables(there), withVariables(cluster), acting}
}

func (o *handbackOptions) complete(args []string) []error {
	o.findNamespace()
	problems := slices.Concat(unexpected(args), o.checkNames())
	if err := share.CheckServer(o.nfsServer); err != nil {
		problems = append(problems, fmt.Errorf("--nfs-server (NFS_SERVER): %w", err))
	}
	if !strings.HasPrefix(o.nfsPath, "/") {
		problems = append(problems, fmt.Errorf("--nfs-path (NFS_PATH) %q: must begin with a slash", o.nfsPath))
	}
	return problems
}

func (o *handbackOptions) run(ctx context.Context, std streams) error {
	clients, err := connectCommand(o.options)
	if err != nil {
		return err
	}
	return handBack(ctx, *o, clients.Main, std)
}

// handBack hands the volumes back that it may. It checks twice that nobody leads, because time
// passes until the answer, and afterwards whether a claimdir has taken a volume up again.
func handBack(ctx context.Context, o handbackOptions, client kubernetes.Interface, std streams) error {
	if err := checkNobodyLeads(ctx, client, o.options); err != nil {
		return err
	}
	volumes, left, err := readHandback(ctx, o, client)
	if err != nil {
		return err
	}
	for _, v := range left {
		fmt.Fprintf(std.err, "claimdir: %s is left: %s\n", v.PV.Name, output.Cell(v.Left))
	}
	if len(volumes) == 0 {
		fmt.Fprintln(std.err, "No volumes to hand back.")
		return leftOut(left)
	}
	if err := handback.WriteTable(std.out, volumes); err != nil {
		return err
	}
	if !o.yes {
		question := fmt.Sprintf("Take claimdir's finalizer and annotations off %s?", output.Count(len(volumes), "PersistentVolume"))
		if yes, err := newAsker(std).ask(ctx, question); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		} else if !yes {
			fmt.Fprintln(std.err, "Nothing was changed.")
			return nil
		}
		if err := checkNobodyLeads(ctx, client, o.options); err != nil {
			return err
		}
	}
	if err := unmarkAll(ctx, client, volumes, std); err != nil {
		return errors.Join(err, leftOut(left))
	}
	return errors.Join(checkUnmarked(ctx, client, volumes), leftOut(left))
}

// readHandback reads the volumes that can be handed back, and those that must be left.
func readHandback(ctx context.Context, o handbackOptions, client kubernetes.Interface) (volumes, left []handback.Volume, err error) {
	all, err := (cluster.Live{Client: client}).Volumes(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list volumes: %w", err)
	}
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list classes: %w", err)
	}
	source := share.Source{Server: share.Unbracket(o.nfsServer), Path: cleanExport(o.nfsPath)}
	for _, v := range handback.Choose(all, classes.Items, o.names(), source) {
		if v.Left != "" {
			left = append(left, v)
		} else {
			volumes = append(volumes, v)
		}
	}
	return volumes, left, nil
}

// leftOut returns an error if volumes were left, because the other provisioner would serve them too.
func leftOut(left []handback.Volume) error {
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("left %s (see above): do not start the other provisioner before this is settled, because it serves all volumes of its name", output.Count(len(left), "volume"))
}

// unmarkAll patches all volumes that it can, and reports those that it cannot.
func unmarkAll(ctx context.Context, client kubernetes.Interface, volumes []handback.Volume, std streams) error {
	done := 0
	for _, v := range volumes {
		patch, err := v.Patch()
		if err == nil {
			_, err = client.CoreV1().PersistentVolumes().Patch(ctx, v.PV.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
		if err != nil {
			fmt.Fprintf(std.err, "claimdir: %s: %s\n", v.PV.Name, output.Line(err))
			continue
		}
		done++
	}
	fmt.Fprintf(std.out, "Handed back %d of %s.\n", done, output.Count(len(volumes), "volume"))
	if done < len(volumes) {
		return fmt.Errorf("could not change %s: run it again", output.Count(len(volumes)-done, "volume"))
	}
	return nil
}

// checkUnmarked returns an error if one of the volumes has something of claimdir's again.
func checkUnmarked(ctx context.Context, client kubernetes.Interface, volumes []handback.Volume) error {
	changed := map[types.UID]bool{}
	for _, v := range volumes {
		changed[v.PV.UID] = true
	}
	all, err := (cluster.Live{Client: client}).Volumes(ctx)
	if err != nil {
		return fmt.Errorf("check the volumes: %w", err)
	}
	for i := range all {
		if pv := &all[i]; changed[pv.UID] && handback.Marked(pv) {
			return fmt.Errorf("%s has claimdir's finalizer again: a claimdir still runs; scale its Deployment to 0, and run this again", pv.Name)
		}
	}
	return nil
}

// checkNobodyLeads returns an error if a claimdir leads under one of the names. A lease that still
// names a leader is no proof, because one that was killed does not give it back: so it waits as long
// as a replica would, and looks whether the lease was renewed. It compares no clocks.
func checkNobodyLeads(ctx context.Context, client kubernetes.Interface, o options) error {
	for _, name := range o.names() {
		before, err := leaseHolders(ctx, client, o.podNamespace, name)
		if err != nil {
			return fmt.Errorf("check that no claimdir leads: %w", err)
		}
		if len(before) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(longest(before)):
		}
		after, err := leaseHolders(ctx, client, o.podNamespace, name)
		if err != nil {
			return fmt.Errorf("check that no claimdir leads: %w", err)
		}
		for _, lease := range after {
			if !slices.ContainsFunc(before, func(b coordinationv1.Lease) bool {
				return b.UID == lease.UID && b.ResourceVersion == lease.ResourceVersion
			}) {
				return fmt.Errorf("a claimdir leads (%s, by lease %s/%s); nothing was changed: scale its Deployment to 0 first: kubectl -n %[2]s scale deployment claimdir --replicas=0",
					*lease.Spec.HolderIdentity, lease.Namespace, lease.Name)
			}
		}
	}
	return nil
}

// longest returns how long a replica waits at most before it takes one of the leases over.
func longest(leases []coordinationv1.Lease) time.Duration {
	most := time.Second
	for _, lease := range leases {
		if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil {
			most = max(most, time.Duration(*seconds)*time.Second)
		}
	}
	return min(most, time.Minute)
}
