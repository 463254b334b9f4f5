package doctor

import (
	"cmp"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// rank orders volumes by who deletes their directory, most dangerous first.
type rank int

const (
	rankOurs   rank = iota
	rankTheirs      // another provisioner's, which removes its directory
	rankByHand      // made by hand: nobody removes its directory, and people use it to browse other volumes
)

// place is a directory on NFS with the volume that has it.
type place struct {
	server, path, name string
	rank               rank
	// key sorts a place before all places inside it, and those before all others.
	key string
}

func newPlace(server, dir, name string, r rank) place {
	server, dir = share.CanonicalServer(server), path.Clean(dir)
	return place{server, dir, name, r, server + " " + strings.TrimSuffix(dir, "/") + "/"}
}

// within reports whether p is the same directory as outer, or lies inside it.
func (p place) within(outer place) bool {
	return p.server == outer.server && pvs.Within(outer.path, p.path)
}

// pair is a place that is the same as or inside another one, and would be removed with it.
type pair struct{ outer, inner place }

func (p pair) same() bool { return p.outer.key == p.inner.key }

// how returns the words between the two in a problem's text.
func (p pair) how() string {
	if p.same() {
		return "is the same as"
	}
	return "lies inside"
}

// overlapping returns at most one pair for each place: with the nearest place around it,
// or the same as it, whose removal would remove its data. It sorts all, so that each place
// comes after those around it.
func overlapping(all []place) (pairs []pair) {
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	var around []place // the first place of each directory above: it has the most dangerous rank
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

// overlaps reports pairs of volumes, at least one of them ours, that have the same
// directory or one inside the other, if releasing one would remove data of the other.
func (r *Report) overlaps(c Cluster, sites []*Site) {
	for _, p := range overlapping(places(c, sites)) {
		remedy := "claimdir releases neither while both exist: move the data of one to another path, or set the reclaim policy of one to Retain and delete that PersistentVolume"
		if p.outer.rank == rankTheirs {
			remedy = "when the other volume is released, its provisioner removes this one's data too: move the data of one to another path, or set the reclaim policy of the other to Retain"
		}
		r.find(KindOverlap, p.inner.name, fmt.Sprintf("its directory %s %s that of %s, %s", p.inner.path, p.how(), p.outer.name, p.outer.path), remedy)
	}
}

// places returns all volumes on NFS, except volumes of a whole share: administrators use
// them to browse the share.
func places(c Cluster, sites []*Site) (all []place) {
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		nfs := pv.Spec.NFS
		if nfs == nil || !siteOf(sites, pv).holds(pv) && slices.ContainsFunc(sites, func(site *Site) bool { return share.SameServer(site.Source.Server, nfs.Server) }) {
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

// recordOverlaps reports records whose paths lie one inside the other. If both
// PersistentVolumes are in this cluster, overlaps reports the pair.
func (r *Report) recordOverlaps(c Cluster, site *Site) {
	volumes, owners := c.byName(), map[string]ledger.Record{}
	near := site.nested()
	var all []place
	for record := range site.records() {
		if near(record.Path) {
			owners[record.Path] = record
			all = append(all, newPlace("", "/"+record.Path, record.Path, rankOurs))
		}
	}
	for _, p := range overlapping(all) {
		inner, outer := owners[p.inner.name], owners[p.outer.name]
		if volumes[inner.PV] != nil && volumes[outer.PV] != nil {
			continue
		}
		r.find(KindOverlap, inner.Path, fmt.Sprintf("path %q of volume %s (%s) %s path %q of volume %s (%s), by their records",
			inner.Path, inner.PV, inner.State, p.how(), outer.Path, outer.PV, outer.State),
			"claimdir releases neither while both exist: move the data of one to another path, or remove the one that is not needed, and then remove "+fileOf(inner)+" or "+fileOf(outer))
	}
}

// nested returns a function that reports whether a path has several records, or a record above or
// below it.
func (s *Site) nested() func(string) bool {
	count, above := map[string]int{}, map[string]bool{}
	for p := range s.paths() {
		count[p]++
		for parent := range parents(p) {
			above[parent] = true
		}
	}
	return func(p string) bool {
		if count[p] > 1 || above[p] {
			return true
		}
		for parent := range parents(p) {
			if count[parent] > 0 {
				return true
			}
		}
		return false
	}
}

// parents yields the paths above p, the nearest first.
func parents(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(p, '/'); i > 0 && yield(p[:i]); i = strings.LastIndexByte(p[:i], '/') {
		}
	}
}

// adoptedInside reports adopted volumes inside the directory of a PersistentVolume that is not ours.
// The release archives them, even if they are to be deleted.
func (r *Report) adoptedInside(c Cluster, site *Site) {
	foreign := map[string]string{}
	for i := range c.Volumes {
		if pv := &c.Volumes[i]; !c.Names.Serve(pv) {
			if dir, here := pvs.On(site.Source, pv); here {
				foreign[dir] = pv.Name
			}
		}
	}
	for _, record := range site.living {
		if record.State != ledger.Active || !record.Adopted || record.Policy == "" || record.Cluster != c.ID {
			continue
		}
		for above := range parents(record.Path) {
			if name := foreign[above]; name != "" {
				r.find(KindOverlap, record.PV, fmt.Sprintf("its directory %q was adopted inside %q, the directory of PersistentVolume %s, which claimdir did not make", record.Path, above, name),
					"on release claimdir archives the directory, or keeps it, but does not delete it; if it is part of the other volume's data, set the reclaim policy of this one to Retain and delete it")
				break
			}
		}
	}
}
