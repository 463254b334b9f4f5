package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

const doctorHead = `claimdir doctor compares the cluster with the share and names what does not fit together,
with what to do about it. It changes nothing, and may run beside the controller.

In the pod it checks everything:

    ` + doctorAll + `

From a workstation, where the share is not mounted, it checks classes and volumes only. What it
finds it looks for a second time after two seconds, so that what is under way is not reported.

Usage: claimdir doctor [flags]
`

const doctorTail = `
Exit codes: 0 all well, 1 it found something or failed, 2 wrong configuration.
`

func doctorCommand() command {
	return command{
		name: "doctor", summary: "compare the cluster with the share, and say what is wrong",
		head: doctorHead, tail: doctorTail,
		flags: []string{"provisioner-name", "additional-provisioner-names", "mount-path", "nfs-server", "nfs-path", "kubeconfig", "output"},
		run:   diagnose,
	}
}

// doctorAll is the call that checks everything.
const doctorAll = "kubectl -n claimdir exec deploy/claimdir -- /claimdir doctor"

// settle is how long what is under way may look like a mistake.
const settle = 2 * time.Second

func diagnose(ctx context.Context, o options, stdout, _ io.Writer) error {
	if o.kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		o.kubeconfig = clientcmd.RecommendedHomeFile // as kubectl does
	}
	clients, err := connect(o)
	if err != nil {
		return err
	}
	report, err := examine(ctx, o, clients.Main)
	if err == nil && len(report.Findings) > 0 {
		report, err = confirm(ctx, o, clients.Main, report)
	}
	if err != nil {
		return err
	}
	write := report.WriteTable
	if o.output == "json" {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	if n := len(report.Findings); n > 0 {
		return fmt.Errorf("doctor found %d things that are not as they should be", n)
	}
	return nil
}

// confirm looks a second time: the controller goes on meanwhile, and a volume
// half-way looks like a mistake.
func confirm(ctx context.Context, o options, client kubernetes.Interface, first doctor.Report) (doctor.Report, error) {
	select {
	case <-ctx.Done():
		return first, ctx.Err()
	case <-time.After(settle):
	}
	again, err := examine(ctx, o, client)
	return again.Confirm(first), err
}

// examine looks once. What cannot be looked at is a finding, and the rest is
// looked at all the same; without the volumes there is no rest.
func examine(ctx context.Context, o options, client kubernetes.Interface) (doctor.Report, error) {
	var troubles []doctor.Finding
	site, left, err := readSite(o)
	if err != nil {
		troubles = append(troubles, doctor.Finding{Kind: doctor.KindAccess, Object: o.mountPath, Problem: err.Error(),
			Remedy: "mend what the error names; claimdir itself needs it too"})
		left = "records and directories, for the share cannot be used"
	}
	cluster := doctor.Cluster{Names: o.names()}
	if site != nil && site.Dirs != nil {
		if cluster.ID, err = systemUID(ctx, client); err != nil {
			return doctor.Report{}, err
		}
	}
	if cluster.Volumes, err = listVolumes(ctx, client); err != nil {
		return doctor.Report{}, fmt.Errorf("list volumes: %w", err)
	}
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		troubles = append(troubles, doctor.Finding{Kind: doctor.KindAccess, Object: "StorageClasses", Problem: err.Error(),
			Remedy: "allow listing them, as manifests/base/rbac.yaml does"})
	} else {
		cluster.Classes = classes.Items
	}
	report := doctor.Diagnose(cluster, site)
	report.Findings = append(troubles, report.Findings...)
	if report.Findings == nil {
		report.Findings = []doctor.Finding{} // JSON has a list, also an empty one
	}
	if left != "" {
		report.NotChecked = append(report.NotChecked, left)
	}
	return report, nil
}

// readSite reads the share before the cluster is asked: a PersistentVolume is
// saved after its record. Without a share it says what is left out, and returns
// what is known of it.
func readSite(o options) (site *doctor.Site, left string, err error) {
	mounted, found, err := share.FindSource(o.mountPath)
	if err != nil {
		return nil, "", err
	}
	dirs, err := share.Open(o.mountPath)
	told := o.nfsServer != "" && o.nfsPath != ""
	if errors.Is(err, os.ErrNotExist) || err == nil && !found && !told {
		left = fmt.Sprintf("records and directories, for no share is mounted at %s; this checks all: %s", o.mountPath, doctorAll)
		if told {
			site = &doctor.Site{}
			site.Source, err = agree(mounted, found, o)
			return site, left, err
		}
		return nil, left + ", or give --nfs-server and --nfs-path to check at least these of each volume", nil
	}
	if err != nil {
		return nil, "", err
	}
	source, err := agree(mounted, found, o)
	if err != nil {
		return nil, "", err
	}
	records, err := ledger.OpenReadOnly(dirs)
	if err != nil {
		return &doctor.Site{Source: source}, "", err
	}
	site = &doctor.Site{Source: source, Dirs: dirs, Lookup: records.Lookup}
	for r, err := range records.Records() {
		if err != nil {
			site.Damaged = append(site.Damaged, err)
		} else {
			site.Records = append(site.Records, r)
		}
	}
	return site, "", nil
}

func systemUID(ctx context.Context, client kubernetes.Interface) (string, error) {
	system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("identify the cluster: %w", err)
	}
	return string(system.UID), nil
}

// listVolumes reads them in pages of 500.
func listVolumes(ctx context.Context, client kubernetes.Interface) (volumes []v1.PersistentVolume, err error) {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().PersistentVolumes().List(ctx, o)
	})
	err = pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pv, ok := object.(*v1.PersistentVolume); ok {
			pv.ManagedFields = nil
			volumes = append(volumes, *pv)
		}
		return nil
	})
	return volumes, err
}
