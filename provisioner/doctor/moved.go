package doctor

import (
	"cmp"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// moved are the volumes whose PersistentVolumes name an earlier address of their share: the
// share that has the record of each, by the name of the PersistentVolume.
type moved map[string]movedVolume

type movedVolume struct {
	to     *Site
	from   share.Source
	record ledger.Record
}

func (m moved) has(pv string) bool {
	_, is := m[pv]
	return is
}

// moved finds the volumes of shares that have a new address. A volume that one of the shares
// serves where its PersistentVolume says has not moved to another.
func (c Cluster) moved(sites []*Site) moved {
	found, volumes := moved{}, c.byName()
	for _, site := range sites {
		for _, record := range site.living {
			pv := volumes[record.PV]
			if pv == nil || !c.Names.Serve(pv) || heldByOther(sites, site, pv) {
				continue
			}
			if from, is := volume.MovedFrom(site.Source, pv, record, c.ID); is {
				found[pv.Name] = movedVolume{site, from, record}
			}
		}
	}
	return found
}

func heldByOther(sites []*Site, site *Site, pv *v1.PersistentVolume) bool {
	return slices.ContainsFunc(sites, func(other *Site) bool { return other.Source != site.Source && other.holds(pv) })
}

// readdressed reports the volumes that have moved to a share: once for each earlier address, because
// hundreds have the same, and one by one those whose directories have not come along.
func (r *Report) readdressed(site *Site, all moved) {
	counts, first := map[share.Source]int{}, map[share.Source]string{}
	for name, m := range all {
		if m.to.Source != site.Source {
			continue
		}
		counts[m.from]++
		first[m.from] = min(cmp.Or(first[m.from], name), name)
		r.movedDirectory(site, name, m.record)
	}
	for from, n := range counts {
		r.find(KindAddress, fmt.Sprintf("%s:%s", from.Server, from.Path),
			fmt.Sprintf("%s of %s:%s, such as %s, with records on this share, which is %s:%s now: pods use the earlier address, and claimdir does not release the volumes",
				output.Count(n, "volume"), from.Server, from.Path, first[from], site.Source.Server, site.Source.Path),
			"leave their directories and records as they are. If the share has moved here, run claimdir recover --readdress: it prints a script that gives the volumes the new address. "+
				"If it is still in use at the earlier address, this is a copy: mount the share of the earlier address in claimdir")
	}
}

func (r *Report) movedDirectory(site *Site, name string, record ledger.Record) {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		return // records reports it
	}
	if present, err := site.Dirs.Exists(p); err == nil && !present {
		r.find(KindVolume, name, fmt.Sprintf("its directory %q is missing on the share, and its PersistentVolume names an earlier address of the share (claim %s)", p, claimBy(record)),
			"copy the directory from the earlier address; claimdir recover --readdress leaves the volume out until then")
	}
}
