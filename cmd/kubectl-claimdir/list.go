package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/tools/pager"

	"claimdir/provisioner/output"
)

const listHead = `kubectl claimdir list lists claimdir's volumes: those of all claims, of the claims of one namespace, or of one
claim.

It reads the PersistentVolumes of the cluster with your rights, and no share. POLICY is what happens to the
directory when the claim is deleted: delete, archive or retain; class if the StorageClass says it then; and
Retain if Kubernetes keeps the PersistentVolume, so that claimdir does nothing.

claimdir's pods say which provisioner names are its own. If you may not list them, give the names with
--provisioner-name.

Usage: kubectl claimdir list [NAMESPACE[/CLAIM]] [flags]
`

// Annotations of PersistentVolumes: the first two are the provisioner library's.
const (
	annotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
	annotationMigratedTo    = "pv.kubernetes.io/migrated-to"
	annotationPath          = "claimdir/path"
	annotationOnDelete      = "claimdir/on-delete"
)

// row is a volume in the list.
type row struct {
	Namespace string    `json:"namespace,omitempty"` // of the claim
	Claim     string    `json:"claim,omitempty"`
	Volume    string    `json:"volume"` // name of the PersistentVolume
	Share     string    `json:"share,omitempty"`
	Path      string    `json:"path"`
	Policy    string    `json:"policy"`
	Size      string    `json:"size"`
	Status    string    `json:"status"`
	Class     string    `json:"class,omitempty"`
	Created   time.Time `json:"created"`
}

func (a *app) listCommand() *cobra.Command {
	var format string
	var names []string
	f := newSection("Provisioner")
	f.StringSliceVar(&names, "provisioner-name", nil, "list the volumes of these provisioner `names`, and ask no pod for them")
	c := &cobra.Command{
		Use: "list", Short: "list the volumes", Long: listHead, ValidArgsFunction: a.completeVolumes,
		Annotations: map[string]string{exitCodes: "\nExit codes: 0 listed, also if there are none; 1 failed; 2 wrong configuration.\n"},
	}
	addSections(c, f, tableOrJSON(&format))
	c.Args = func(c *cobra.Command, args []string) error {
		if err := oneName(c, args); err != nil {
			return err
		}
		return checkOutput(format)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		cluster, err := a.connect()
		if err != nil {
			return err
		}
		rows, err := cluster.volumes(c.Context(), names)
		if err != nil {
			return err
		}
		of := ""
		if len(args) > 0 {
			of = fmt.Sprintf(" of %q", args[0])
			rows = slices.DeleteFunc(rows, func(r row) bool { return r.Namespace != args[0] && r.Namespace+"/"+r.Claim != args[0] })
		}
		if format == "json" {
			return output.JSON(a.Out, append([]row{}, rows...))
		}
		if len(rows) == 0 {
			fmt.Fprintf(a.ErrOut, "No volumes found%s.\n", of)
		}
		return a.table(rows, time.Now())
	}
	return c
}

func (a *app) table(rows []row, now time.Time) error {
	if len(rows) == 0 {
		return nil
	}
	shares := slices.ContainsFunc(rows, func(r row) bool { return r.Share != "" })
	table := output.Table{Width: a.width}
	add := func(claim, volume, share string, rest ...string) {
		cells := []string{claim, volume}
		if shares {
			cells = append(cells, cmp.Or(share, "-"))
		}
		table.Row(append(cells, rest...)...)
	}
	add("CLAIM", "VOLUME", "SHARE", "PATH", "POLICY", "SIZE", "STATUS", "AGE")
	for _, r := range rows {
		claim := "-"
		if r.Claim != "" {
			claim = r.Namespace + "/" + r.Claim
		}
		add(claim, r.Volume, r.Share, r.Path, r.Policy, r.Size, r.Status, duration.HumanDuration(now.Sub(r.Created)))
	}
	return table.Write(a.Out)
}

// volumes returns the volumes of claimdir, by claim. Without names, claimdir's pods say them.
func (c *cluster) volumes(ctx context.Context, names []string) (rows []row, err error) {
	var mounts []mount
	if len(names) == 0 {
		found, err := c.installations(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w; or give claimdir's names with --provisioner-name", err)
		}
		names, mounts = namesOf(found), mountsOf(found)
	}
	var all []corev1.PersistentVolume
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.core.PersistentVolumes().List(ctx, options)
	})
	err = list.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pv, is := object.(*corev1.PersistentVolume); is && (serves(names, pv) || isOneOf(mounts, pv)) {
			all = append(all, *pv)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the PersistentVolumes: %w", err)
	}
	shares := sharesOf(mounts, all)
	for i := range all {
		if pv := &all[i]; serves(names, pv) {
			rows = append(rows, rowOf(pv, shares))
		}
	}
	slices.SortFunc(rows, func(x, y row) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Claim, y.Claim), cmp.Compare(x.Volume, y.Volume))
	})
	return rows, nil
}

// serves reports whether a PersistentVolume is of one of the provisioner names.
func serves(names []string, pv *corev1.PersistentVolume) bool {
	return slices.Contains(names, pv.Annotations[annotationProvisionedBy]) || slices.Contains(names, pv.Annotations[annotationMigratedTo])
}

func rowOf(pv *corev1.PersistentVolume, shares []share) row {
	r := row{
		Volume: pv.Name, Policy: cmp.Or(pv.Annotations[annotationOnDelete], "class"), Class: pv.Spec.StorageClassName,
		Status: string(pv.Status.Phase), Created: pv.CreationTimestamp.UTC(),
	}
	if size, there := pv.Spec.Capacity[corev1.ResourceStorage]; there {
		r.Size = size.String()
	}
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
		r.Policy = string(corev1.PersistentVolumeReclaimRetain)
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		r.Namespace, r.Claim = ref.Namespace, ref.Name
	}
	r.Path = pv.Annotations[annotationPath]
	nfs := pv.Spec.NFS
	if nfs == nil {
		return r
	}
	for _, s := range shares {
		if relative, below := strings.CutPrefix(path.Clean(nfs.Path), strings.TrimSuffix(s.path, "/")+"/"); below && s.server == nfs.Server {
			r.Share, r.Path = s.name, relative
			return r
		}
	}
	r.Path = cmp.Or(r.Path, nfs.Server+":"+nfs.Path)
	return r
}
