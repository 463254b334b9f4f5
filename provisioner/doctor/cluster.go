package doctor

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Cluster is what was read of a cluster.
type Cluster struct {
	// Names are the provisioner names that are served.
	Names pvs.Names
	// ID is the UID of the namespace kube-system. Records are compared with it.
	ID      string
	Volumes []v1.PersistentVolume // all, including those of other provisioners
	Classes []storagev1.StorageClass
	// Contents are the VolumeSnapshotContents of ours.
	Contents []Content
	// Led reports whether a claimdir leads under a provisioner name that is not among Names. It
	// is asked only about names that a finding depends on. nil means that nobody can tell.
	Led func(provisioner string) bool
	// Overlapping returns the PersistentVolumes that share files with an exported path of the server
	// (see pvs.Names.Overlap), for a caller whose Volumes are not all. nil looks through Volumes.
	Overlapping func(server, export string) []*v1.PersistentVolume
	// Gone asks the API server and returns nil if neither the PersistentVolume of a record nor a claim of
	// its name exists. Without it young records are not judged, and no fix is offered for a record that a
	// claim may need.
	Gone func(ledger.Record) error
}

// gone reports whether nothing in the cluster needs a record any more, by a fresh look.
func (c Cluster) gone(record ledger.Record) bool { return c.Gone != nil && c.Gone(record) == nil }

func (c Cluster) byName() map[string]*v1.PersistentVolume {
	volumes := make(map[string]*v1.PersistentVolume, len(c.Volumes))
	for i := range c.Volumes {
		volumes[c.Volumes[i].Name] = &c.Volumes[i]
	}
	return volumes
}

// at returns the PersistentVolumes on the share by their paths there, including those of
// other provisioners. If several have one path, it returns one of ours if there is one.
func (c Cluster) at(source share.Source) map[string]*v1.PersistentVolume {
	volumes := make(map[string]*v1.PersistentVolume, len(c.Volumes))
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if p, here := pvs.On(source, pv); here && (volumes[p] == nil || c.Names.Serve(pv)) {
			volumes[p] = pv
		}
	}
	return volumes
}

// Uses returns the name of a PersistentVolume on the share that shares files with p
// (see pvs.Names.Overlap), or an empty string if there is none. A PersistentVolume of
// the whole share does not count: administrators use it to browse the share.
func (c Cluster) Uses(source share.Source, p volpath.Path) (name string) {
	export := path.Join(source.Path, p.String())
	if c.Overlapping != nil {
		for _, pv := range c.Overlapping(source.Server, export) {
			if _, here := pvs.On(source, pv); here {
				return pv.Name
			}
		}
		return ""
	}
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if _, here := pvs.On(source, pv); here && c.Names.Overlap(pv, source.Server, export) {
			return pv.Name
		}
	}
	return ""
}

// classes reports the classes of ours whose claims cannot be provisioned: they are invalid, or
// nobody serves them.
func (r *Report) classes(c Cluster, sites []*Site) {
	var names []string
	for _, site := range sites {
		names = append(names, site.Name)
	}
	for i := range c.Classes {
		sc := &c.Classes[i]
		if !slices.Contains(c.Names, sc.Provisioner) {
			r.unservedClass(c, sc)
			continue
		}
		r.Checked.Classes++
		if err := Mistakes(sc, names); err != nil {
			r.find(KindClass, sc.Name, strings.ReplaceAll(err.Error(), "\n", "; "),
				"delete the class and create it again without the mistake; existing volumes keep their policy")
		}
	}
}

// Mistakes returns what is wrong with a StorageClass of ours, joined, or nil. shares are the names of the shares; without
// any, the class may name what it likes.
func Mistakes(sc *storagev1.StorageClass, shares []string) error {
	parsed, err := class.Parse(sc.Parameters)
	if err == nil {
		err = checkShares(parsed, shares)
	}
	return errors.Join(err, class.CheckMountOptions(sc.MountOptions))
}

// checkShares refuses a class that names a share that does not exist, or names none of
// several.
func checkShares(c class.Class, names []string) error {
	if len(names) > 1 && len(c.Shares) == 0 {
		return fmt.Errorf("parameter \"share\" is missing, and there are several shares: %s", strings.Join(names, ", "))
	}
	for _, name := range c.Shares {
		if len(names) > 0 && !slices.Contains(names, name) {
			return fmt.Errorf("parameter \"share\": there is no share %q", name)
		}
	}
	return nil
}

// claimOf returns the claim of a volume, for people.
func claimOf(pv *v1.PersistentVolume) string {
	if ref := pv.Spec.ClaimRef; ref != nil {
		return fmt.Sprintf("claim %s/%s", ref.Namespace, ref.Name)
	}
	return "no claim"
}
