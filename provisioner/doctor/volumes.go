package doctor

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// volumes compares our PersistentVolumes with the share.
func (r *Report) volumes(c Cluster, site *Site) {
	owners, archives := site.ownersOf(c.at(site.Source)), site.archives(c)
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if !c.Names.Serve(pv) || !site.holds(pv) {
			continue
		}
		vol, err := volume.FromPV(site.Source, pv)
		if err != nil {
			r.find(KindVolume, pv.Name, refusal.Message(err), unclear(site, pv))
			continue
		}
		p := vol.Path
		if site.Dirs == nil || !r.volumeDirectory(site, pv, p, archives[pv.Name]) {
			continue
		}
		var record ledger.Record
		owner, known := owners[p.String()]
		if known {
			record = *owner
		} else { // it may have been written after the records were read
			if record, known, err = site.Lookup(p); err != nil {
				continue // the record is damaged, which damaged reports
			}
		}
		r.volumeRecord(c, pv, p, record, known)
	}
}

// ownersOf returns the records of the paths that the volumes have.
func (s *Site) ownersOf(volumes map[string]*v1.PersistentVolume) map[string]*ledger.Record {
	owners := map[string]*ledger.Record{}
	for _, k := range s.kept {
		if volumes[k.path] != nil {
			owners[k.path] = new(k.record())
		}
	}
	for i := range s.living {
		owners[s.living[i].Path] = &s.living[i]
	}
	return owners
}

// archives returns the newest archive of each PersistentVolume that exists, by its name.
func (s *Site) archives(c Cluster) map[string]ledger.Record {
	volumes, newest := c.byName(), map[string]ledger.Record{}
	for _, k := range s.kept {
		if !k.archived || k.cluster != c.ID || k.released == 0 || volumes[k.pv] == nil {
			continue
		}
		if known, there := newest[k.pv]; !there || k.released > known.Released.UnixNano() {
			newest[k.pv] = k.record()
		}
	}
	return newest
}

// unclear returns the remedy for a volume whose release claimdir will refuse, because its
// PersistentVolume does not say which directory of this share it has, or what to do with
// the directory.
func unclear(site *Site, pv *v1.PersistentVolume) string {
	const byHand = "set its reclaim policy to Retain; once it is released, delete it and its data by hand"
	if pv.Spec.NFS == nil {
		return byHand
	}
	dir, here := pvs.On(site.Source, pv)
	if !here {
		return "claimdir will refuse its release: mount that share in claimdir too; or " + byHand
	}
	right, notes := rightAnnotations(pv, dir)
	if len(right) == 0 {
		return "claimdir will refuse its release: " + byHand
	}
	return fmt.Sprintf("claimdir will refuse its release until this is fixed: kubectl annotate --overwrite pv %s %s%s", pv.Name, strings.Join(right, " "), strings.Join(notes, ""))
}

// rightAnnotations returns correct values for the invalid annotations of the volume of dir,
// and notes with the alternatives. It returns none if the annotations are not the problem.
func rightAnnotations(pv *v1.PersistentVolume, dir string) (right, notes []string) {
	parse := volpath.ParseRecorded // as claimdir reads a peer's
	path, ours := pv.Annotations[volume.AnnotationPath]
	if ours {
		parse = volpath.Parse
	}
	if _, err := parse(dir); err != nil || !ours && pv.Spec.ClaimRef == nil {
		return nil, nil
	}
	if ours && path != dir {
		right = append(right, volume.AnnotationPath+"="+dir)
	}
	if _, err := class.ParsePolicy(pv.Annotations[volume.AnnotationOnDelete]); ours && err != nil {
		right = append(right, volume.AnnotationOnDelete+"=archive")
		notes = append(notes, " (or delete, or retain)")
	}
	if _, err := class.ParseRetention(pv.Annotations[volume.AnnotationArchiveRetention]); err != nil {
		right = append(right, volume.AnnotationArchiveRetention+"=720h")
		notes = append(notes, fmt.Sprintf(" (or %s- to keep archives for ever)", volume.AnnotationArchiveRetention))
	}
	return right, notes
}

// holds reports whether a PersistentVolume lies on the share.
func (s *Site) holds(pv *v1.PersistentVolume) bool {
	if s == nil {
		return false
	}
	_, here := pvs.On(s.Source, pv)
	return here
}

// siteOf returns the share that a PersistentVolume lies on, or nil.
func siteOf(sites []*Site, pv *v1.PersistentVolume) *Site {
	for _, site := range sites {
		if site.holds(pv) {
			return site
		}
	}
	return nil
}

// elsewhere reports our PersistentVolumes that lie on none of the shares.
func (r *Report) elsewhere(c Cluster, sites []*Site) {
	var exports []string
	for _, site := range sites {
		exports = append(exports, fmt.Sprintf("%s:%s", site.Source.Server, site.Source.Path))
	}
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if len(sites) == 0 || !c.Names.Serve(pv) || siteOf(sites, pv) != nil {
			continue
		}
		if _, err := volume.FromPV(sites[0].Source, pv); len(sites) == 1 || pv.Spec.NFS == nil {
			r.find(KindVolume, pv.Name, refusal.Message(err), unclear(sites[0], pv))
			continue
		}
		r.find(KindVolume, pv.Name, fmt.Sprintf("%s:%s is on none of the shares that this claimdir serves (%s)", pv.Spec.NFS.Server, pv.Spec.NFS.Path, strings.Join(exports, ", ")),
			unclear(sites[0], pv))
	}
}

// volumeDirectory reports whether the directory of a volume exists.
func (r *Report) volumeDirectory(site *Site, pv *v1.PersistentVolume, p volpath.Path, archive ledger.Record) bool {
	present, err := site.Dirs.Exists(p)
	released := pv.Status.Phase == v1.VolumeReleased
	switch {
	case err == nil && !present && !released && archive.Origin == p.String():
		r.find(KindVolume, pv.Name, fmt.Sprintf("its directory %q is missing (%s), and its archive lies at %q: the objects came back after the volume was released", p, claimOf(pv), archive.Path),
			"doctor --fix puts the archive back to its place; or, if it is not needed, delete the claim, and claimdir releases the volume")
		r.fixable(true, archive, fixPutBack)
	case err != nil:
		r.find(KindVolume, pv.Name, fmt.Sprintf("its directory cannot be checked: %v", err), "fix the cause named in the error; until then pods cannot mount it")
	case present:
	case released && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete: // its release is under way
	case released:
		r.find(KindVolume, pv.Name, fmt.Sprintf("its directory %q is missing (released, %s)", p, claimOf(pv)),
			"restore the data from a backup; or, if it is not needed: kubectl delete pv "+pv.Name)
	default:
		r.find(KindVolume, pv.Name, fmt.Sprintf("its directory %q is missing (%s)", p, claimOf(pv)),
			"restore the data from a backup; or, if it is not needed, delete the claim, and claimdir releases the volume")
	}
	return present
}

// volumeRecord compares a volume whose directory exists with the record of its path.
func (r *Report) volumeRecord(c Cluster, pv *v1.PersistentVolume, p volpath.Path, record ledger.Record, known bool) {
	recoveredFrom := pv.Annotations[volume.AnnotationRecoveredFrom]
	switch {
	case !known && pv.Annotations[volume.AnnotationPath] == "" && pv.Status.Phase == v1.VolumeBound:
		r.find(KindVolume, pv.Name, fmt.Sprintf("directory %q has no record yet: another provisioner made the volume", p),
			"claimdir writes the record at its next start and within SWEEP_INTERVAL, or logs why it cannot take the volume over")
	case !known && pv.Annotations[volume.AnnotationPath] == "":
		r.find(KindVolume, pv.Name, fmt.Sprintf("directory %q has no record, and no claim is bound to the volume, which another provisioner made; claimdir does not delete the directory", p),
			fmt.Sprintf("make sure that no other cluster uses the directory, and decide: kubectl annotate --overwrite pv %[1]s %[2]s=retain keeps the directory and lets the PersistentVolume go; "+
				"%[2]s=archive makes it an archive", pv.Name, volume.AnnotationOnDelete))
	case !known:
		r.find(KindVolume, pv.Name, fmt.Sprintf("directory %q has no record; claimdir will refuse its release", p),
			fmt.Sprintf("restore its record below .claimdir/records from a backup; or let claimdir take it over like a volume of another provisioner, with the policy of its class: "+
				"kubectl annotate pv %s %s- %s-, and restart claimdir", pv.Name, volume.AnnotationPath, volume.AnnotationOnDelete))
	case record.PV != pv.Name:
		r.find(KindVolume, pv.Name, fmt.Sprintf("the record says that directory %q belongs to volume %s; claimdir will refuse its release", p, record.PV),
			"find out to which volume the data belongs, set the reclaim policy of the other one to Retain and delete that PersistentVolume")
	case record.Cluster != c.ID && record.Cluster != recoveredFrom:
		r.find(KindVolume, pv.Name, fmt.Sprintf("the record says that directory %q belongs to cluster %s; claimdir will refuse its release", p, record.Cluster),
			fmt.Sprintf("if that cluster is lost: kubectl annotate --overwrite pv %s %s=%s, and restart claimdir; if not, two volumes use one directory: "+
				"set the reclaim policy of one to Retain and delete that PersistentVolume", pv.Name, volume.AnnotationRecoveredFrom, record.Cluster))
	case record.State == ledger.Active && pv.Status.Phase == v1.VolumeBound && claimOf(pv) != "claim "+claimBy(record):
		r.find(KindVolume, pv.Name, fmt.Sprintf("it belongs to %s, and its record still names claim %s", claimOf(pv), claimBy(record)),
			"claimdir corrects the record within SWEEP_INTERVAL, and on release at the latest; until then claimdir recover prints the volume for the claim in the record")
	}
}
