package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
)

// rank orders volumes by who deletes their directory, most dangerous first.
type rank int

const (
	rankOurs   rank = iota
	rankTheirs      // of another provisioner, which removes its directory
	rankByHand      // nobody removes its directory; people look at many volumes through one
)

// place is a directory on NFS and whose it is.
type place struct {
	server, path, name string
	rank               rank
	// key sorts a place before all places inside it, and those before all others.
	key string
}

func newPlace(server, dir, name string, r rank) place {
	dir = path.Clean(dir)
	return place{server, dir, name, r, server + " " + strings.TrimSuffix(dir, "/") + "/"}
}

// within reports whether p is the same directory as outer, or lies inside it.
func (p place) within(outer place) bool {
	return p.server == outer.server && pvs.Within(outer.path, p.path)
}

// pair is a place that lies on or in another one and would go with it.
type pair struct{ outer, inner place }

func (p pair) same() bool { return p.outer.key == p.inner.key }

// how joins the texts of the two.
func (p pair) how() string {
	if p.same() {
		return "is the same as"
	}
	return "lies inside"
}

// overlapping returns at most one pair for each place: the nearest one around
// it, or on it, that endangers it. It sorts all, so that each comes after those
// around it.
func overlapping(all []place) (pairs []pair) {
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	var around []place // the first of each directory above: if that is no danger, those after it are none
	for _, p := range all {
		for len(around) > 0 && !p.within(around[len(around)-1]) {
			around = around[:len(around)-1]
		}
		for _, outer := range slices.Backward(around) {
			if outer.rank == rankOurs || outer.rank == rankTheirs && p.rank == rankOurs {
				pairs = append(pairs, pair{outer, p})
				break
			}
		}
		if len(around) == 0 || around[len(around)-1].key != p.key {
			around = append(around, p)
		}
	}
	return pairs
}

// overlaps finds volumes in one directory, or one inside the other's, where
// releasing one would hit the other and one of them is ours.
func (r *Report) overlaps(c Cluster, sites []*Site) {
	for _, p := range overlapping(places(c, sites)) {
		remedy := "neither is released while both exist: move the data apart, or set one's reclaim policy to Retain and delete that PersistentVolume"
		if p.outer.rank == rankTheirs {
			remedy = "the other's provisioner takes this one's data with it on release: move the data apart, or set the other's reclaim policy to Retain"
		}
		r.find(KindOverlap, p.inner.name, fmt.Sprintf("its directory %s %s that of %s, %s", p.inner.path, p.how(), p.outer.name, p.outer.path), remedy)
	}
}

// places returns all volumes on NFS. A volume of the whole share is left out:
// people look at it through that.
func places(c Cluster, sites []*Site) (all []place) {
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		nfs := pv.Spec.NFS
		if nfs == nil || !siteOf(sites, pv).holds(pv) && slices.ContainsFunc(sites, func(site *Site) bool { return site.Source.Server == nfs.Server }) {
			continue
		}
		rank := rankByHand
		switch {
		case c.Names.Serve(pv):
			rank = rankOurs
		case pv.Annotations[pvs.AnnotationProvisionedBy] != "":
			rank = rankTheirs
		}
		all = append(all, newPlace(nfs.Server, nfs.Path, pv.Name, rank))
	}
	return all
}

// recordOverlaps finds records whose paths lie one inside the other. Where both
// have their PersistentVolumes here, overlaps says it.
func (r *Report) recordOverlaps(c Cluster, site *Site) {
	volumes, owners := c.byName(), map[string]ledger.Record{}
	var all []place
	for _, record := range site.Records {
		owners[record.Path] = record
		all = append(all, newPlace("", "/"+record.Path, record.Path, rankOurs))
	}
	for _, p := range overlapping(all) {
		inner, outer := owners[p.inner.name], owners[p.outer.name]
		if volumes[inner.PV] != nil && volumes[outer.PV] != nil {
			continue
		}
		r.find(KindOverlap, inner.Path, fmt.Sprintf("path %q of volume %s (%s) %s path %q of volume %s (%s), by their records",
			inner.Path, inner.PV, inner.State, p.how(), outer.Path, outer.PV, outer.State),
			"neither is released while both exist: move the data of one to another path, or remove what is not needed, and then "+fileOf(inner)+" or "+fileOf(outer))
	}
}
