package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/class"
)

// classes finds those of ours with mistakes in them: their claims wait.
func (r *Report) classes(c Cluster) {
	for _, sc := range c.Classes {
		if !slices.Contains(c.Names, sc.Provisioner) {
			continue
		}
		r.Checked.Classes++
		if _, err := class.Parse(sc.Parameters); err != nil {
			r.find(KindClass, sc.Name, strings.ReplaceAll(err.Error(), "\n", "; "),
				"delete the class and make it anew without the mistake; volumes keep their own policy")
		}
	}
}

// place is where on NFS a PersistentVolume lies.
type place struct {
	name, server, path string
	ours               bool
}

// overlaps finds volumes in one directory, or one inside the other's, where the
// outer one is ours or both have the same: releasing either would hit both.
func (r *Report) overlaps(c Cluster, site *Site) {
	var above []place // the directories that lie around the one that is looked at
	for _, p := range places(c, site) {
		for len(above) > 0 && !around(above[len(above)-1], p) {
			above = above[:len(above)-1]
		}
		for _, outer := range above {
			same := outer.path == p.path
			if !outer.ours && (!same || !p.ours) {
				continue
			}
			how := "lies inside"
			if same {
				how = "is the same as"
			}
			r.find(KindOverlap, p.name, fmt.Sprintf("its directory %s %s that of %s, %s", p.path, how, outer.name, outer.path),
				"neither is released while both exist: move the data apart, or set one's reclaim policy to Retain and delete that PersistentVolume")
		}
		above = append(above, p)
	}
}

// places returns all volumes on NFS, each after those around it. A volume of
// the whole share is left out: people look at it through that.
func places(c Cluster, site *Site) []place {
	var all []place
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		nfs := pv.Spec.NFS
		if nfs == nil || site != nil && nfs.Server == site.Source.Server && !inside(site.Source.Path, nfs.Path) {
			continue
		}
		all = append(all, place{pv.Name, nfs.Server, path.Clean(nfs.Path), c.serves(pv)})
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.server, b.server), slices.Compare(strings.Split(a.path, "/"), strings.Split(b.path, "/")), cmp.Compare(a.name, b.name))
	})
	return all
}

func around(outer, p place) bool {
	return outer.server == p.server && (outer.path == p.path || inside(outer.path, p.path))
}

// inside reports whether p lies strictly below outer.
func inside(outer, p string) bool {
	return strings.HasPrefix(path.Clean(p), strings.TrimSuffix(outer, "/")+"/") && path.Clean(p) != path.Clean(outer)
}

// claimOf names the claim of a volume, for people.
func claimOf(pv *v1.PersistentVolume) string {
	if ref := pv.Spec.ClaimRef; ref != nil {
		return fmt.Sprintf("claim %s/%s", ref.Namespace, ref.Name)
	}
	return "no claim"
}
