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
func (r *Report) volumes(c Cluster, site *Site, moved moved) {
	owners, archives := site.ownersOf(c.at(site.Source)), site.archives(c)
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if !c.Names.Serve(pv) || !site.holds(pv) || moved.has(pv.Name) {
			continue
		}
		vol, err := volume.FromPV(site.Source, pv)
		if err != nil {
			r.find(KindVolume, pv.Name, refusal.Message(err), unclear(site, pv))
			continue
		}
		p := vol.Path
		if site.Dirs == nil || !r.volumeDirectory(site, pv, p, elsewhere{c.ID, archives[pv.Name]}) {
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
		right = append(right, volume.AnnotationArchiveRetention+"=30d")
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
func (r *Report) elsewhere(c Cluster, sites []*Site, moved moved) {
	var exports []string
	for _, site := range sites {
		exports = append(exports, fmt.Sprintf("%s:%s", site.Source.Server, site.Source.Path))
	}
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if len(sites) == 0 || !c.Names.Serve(pv) || siteOf(sites, pv) != nil || moved.has(pv.Name) {
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

// volumeDirectory reports whether the directory of a volume exists. If it is missing, from says where
// else it may be.
func (r *Report) volumeDirectory(site *Site, pv *v1.PersistentVolume, p volpath.Path, from elsewhere) bool {
	present, err := site.Dirs.Exists(p)
	released := pv.Status.Phase == v1.VolumeReleased
	switch {
	case err != nil:
		r.find(KindVolume, pv.Name, fmt.Sprintf("its directory cannot be checked: %v", err), "fix the cause named in the error; until then pods cannot mount it")
	case present:
	case released && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete: // its release is under way
	default:
		r.missing(site, pv, p, from)
	}
	return present
}

// elsewhere is where the directory of a volume may be that is not at its path: what the volume left
// when it was released, before its PersistentVolume came back.
type elsewhere struct {
	cluster string
	archive ledger.Record // the newest of the volume
}

// missing reports a volume whose directory is not at its path.
func (r *Report) missing(site *Site, pv *v1.PersistentVolume, p volpath.Path, from elsewhere) {
	released := pv.Status.Phase == v1.VolumeReleased
	holder := claimOf(pv)
	if released {
		holder = "released, " + holder
	}
	problem := fmt.Sprintf("its directory %q is missing (%s)", p, holder)
	const came = ": the objects came back after the volume was released"
	let := "; or, if it is not needed, delete the claim, and claimdir releases the volume"
	if released {
		let = "; or, if it is not needed: kubectl delete pv " + pv.Name
	}
	if from.archive.Origin == p.String() && !released {
		can := sameNamespace(pv, from.archive)
		r.find(KindVolume, pv.Name, fmt.Sprintf("%s, and its archive lies at %q%s", problem, from.archive.Path, came), backBy("the archive", from.archive, can)+let)
		r.fixable(can, from.archive, fixPutBack)
		return
	}
	var trashed ledger.Trashed
	var found bool
	if site.Trash != nil {
		var err error
		if trashed, found, err = site.Trash(pv.Name, from.cluster, p); err != nil {
			problem += fmt.Sprintf(", and it cannot be seen whether it is in the trash: %v", err)
		}
	}
	switch {
	case found && trashed.Begun:
		r.find(KindVolume, pv.Name, fmt.Sprintf("%s, and what is left of it lies in the trash at %q: claimdir had begun to remove it when the objects came back", problem, trashed.Path()),
			fmt.Sprintf("restore the data from a backup, or move what is left to %q by hand", p)+let)
	case found:
		can := sameNamespace(pv, trashed.Record)
		r.find(KindVolume, pv.Name, fmt.Sprintf("%s, and lies in the trash at %q%s", problem, trashed.Path(), came), backBy("it", trashed.Record, can)+let)
		r.fixable(can, trashed.Record, fixPutTrashBack)
	default:
		r.find(KindVolume, pv.Name, problem, "restore the data from a backup"+let)
	}
}

// sameNamespace reports whether a PersistentVolume belongs to a claim of the namespace that its volume
// was of. Only then the data goes back to it.
func sameNamespace(pv *v1.PersistentVolume, was ledger.Record) bool {
	return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == was.Claim.Namespace
}

// backBy says how a directory gets back to its place.
func backBy(what string, was ledger.Record, can bool) string {
	text := fmt.Sprintf("doctor --fix puts %s back to its place", what)
	if !can {
		text += fmt.Sprintf(" once the PersistentVolume is bound to a claim of namespace %s, whose data it is", was.Claim.Namespace)
	}
	return text
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
