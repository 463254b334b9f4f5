package doctor

import (
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/volume"
)

// unservedClass reports a class that was meant for claimdir and that nobody serves. That is
// known only of classes like those of our manifests, and another claimdir may serve one: its
// lease shows that, or a volume that it made.
func (r *Report) unservedClass(c Cluster, sc *storagev1.StorageClass) {
	likeOurs := strings.HasPrefix(sc.Provisioner, "claimdir/") || sc.Labels["app.kubernetes.io/name"] == "claimdir"
	if !likeOurs || c.madeBy(sc.Provisioner) || c.led(sc.Provisioner) {
		return
	}
	r.Checked.Classes++
	r.find(KindClass, sc.Name, fmt.Sprintf("its provisioner is %q, which this claimdir does not serve, and nothing shows that another one does; its claims stay Pending", sc.Provisioner),
		fmt.Sprintf("delete the class and create it again with provisioner %s, or add %q to ADDITIONAL_PROVISIONER_NAMES; "+
			"if another claimdir serves it, there is nothing to do, and this ends with its first volume", c.served(), sc.Provisioner))
}

// unservedVolumes reports the volumes of this cluster with records on the share that this
// claimdir would not release: its names were changed after it had made them or taken them
// over. It reports those of one provisioner together, because they have one remedy.
func (r *Report) unservedVolumes(c Cluster, site *Site) {
	at, by := c.at(site.Source), map[string][]string{}
	for _, record := range site.living {
		pv := at[record.Path]
		if record.State != ledger.Active || record.Cluster != c.ID || pv == nil || pv.Name != record.PV || c.Names.Serve(pv) {
			continue
		}
		name, marked := pv.Annotations[pvs.AnnotationProvisionedBy], pv.Annotations[volume.AnnotationPath] != ""
		if name != "" && (marked || pvs.HasFinalizer(pv)) { // else it was handed back to its provisioner
			by[name] = append(by[name], pv.Name)
		}
	}
	for name, volumes := range by {
		if c.led(name) {
			continue
		}
		slices.Sort(volumes)
		r.find(KindVolume, volumes[0], fmt.Sprintf("its provisioner is %q, which this claimdir does not serve, and nobody releases it; that provisioner made %s with records here", name, output.Count(len(volumes), "volume")),
			fmt.Sprintf("add %q to ADDITIONAL_PROVISIONER_NAMES; if another claimdir serves it, there is nothing to do", name))
	}
}

// madeBy reports whether there is a PersistentVolume of the provisioner.
func (c Cluster) madeBy(provisioner string) bool {
	for i := range c.Volumes {
		if c.Volumes[i].Annotations[pvs.AnnotationProvisionedBy] == provisioner {
			return true
		}
	}
	return false
}

func (c Cluster) led(provisioner string) bool { return c.Led != nil && c.Led(provisioner) }

// served returns the names that are served, for people.
func (c Cluster) served() string {
	var quoted []string
	for _, name := range c.Names {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	return strings.Join(quoted, " or ")
}
