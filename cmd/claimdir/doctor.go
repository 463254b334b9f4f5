package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

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

    kubectl -n claimdir exec deploy/claimdir -- /claimdir doctor

From a workstation, where the share is not mounted, it checks classes and volumes only.

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

func diagnose(ctx context.Context, o options, stdout, _ io.Writer) error {
	if o.kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		o.kubeconfig = clientcmd.RecommendedHomeFile // as kubectl does
	}
	clients, err := connect(o)
	if err != nil {
		return err
	}
	site, left, err := readSite(o)
	if err != nil {
		return err
	}
	cluster, err := readCluster(ctx, clients.Main, o.names())
	if err != nil {
		return err
	}
	report := doctor.Diagnose(cluster, site)
	if site == nil {
		report.NotChecked = append(report.NotChecked, left)
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

// readSite reads the share before the cluster is asked: a PersistentVolume is
// saved after its record. Without a share it says what is left out.
func readSite(o options) (site *doctor.Site, left string, err error) {
	const run = "kubectl -n claimdir exec deploy/claimdir -- /claimdir doctor"
	dirs, err := share.Open(o.mountPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "records and directories, for no share is mounted at " + o.mountPath + "; this checks all: " + run, nil
	}
	if err != nil {
		return nil, "", err
	}
	records, err := ledger.OpenReadOnly(dirs)
	if errors.Is(err, ledger.ErrNoRecords) {
		return nil, fmt.Sprintf("records and directories: %v This checks all: %s", err, run), nil
	}
	if err != nil {
		return nil, "", err
	}
	source, err := findSource(o)
	if err != nil {
		return nil, "", err
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

func readCluster(ctx context.Context, client kubernetes.Interface, names []string) (doctor.Cluster, error) {
	cluster := doctor.Cluster{Names: names}
	system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return cluster, fmt.Errorf("identify the cluster: %w", err)
	}
	cluster.ID = string(system.UID)
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return cluster, fmt.Errorf("list classes: %w", err)
	}
	cluster.Classes = classes.Items
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().PersistentVolumes().List(ctx, o)
	})
	err = pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pv, ok := object.(*v1.PersistentVolume); ok {
			pv.ManagedFields = nil
			cluster.Volumes = append(cluster.Volumes, *pv)
		}
		return nil
	})
	if err != nil {
		return cluster, fmt.Errorf("list volumes: %w", err)
	}
	return cluster, nil
}
