package doctor

import (
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/volpath"
)

// saving is how long a volume may lack its PersistentVolume, and an archive its directory,
// before that is a problem: the record is written first. A volume whose claim is gone waits for
// nothing.
const saving = time.Minute

// expiring is how long after its expiry an archive may still exist before that is a problem:
// claimdir reads all records of archives once an hour.
const expiring = 2 * time.Hour

// stale is the age at which a volume that is still being created is reported.
const stale = time.Hour

// records reports the records without a PersistentVolume, those without a directory, and
// those that cannot be read.
func (r *Report) records(c Cluster, site *Site, moved moved) {
	r.damaged(site)
	volumes, at := c.byName(), c.at(site.Source)
	restoring := site.restoring()
	for record := range site.records() {
		r.Checked.Records++
		pv := volumes[record.PV]
		switch {
		case record.State == ledger.Retained || record.State == ledger.Archived:
			r.released(c, site, record, pv, restoring[record.Path])
		case moved.has(record.PV) && moved[record.PV].record.Path == record.Path: // readdressed reports it
		case record.Cluster != c.ID: // another cluster's; volumes checks it if it was recovered here
		case record.State == ledger.Active:
			if other := at[record.Path]; other == nil || other.Name != record.PV && !c.Names.Serve(other) { // volumes checks those of ours
				r.active(c, site, record, pv, other)
			}
		case record.State == ledger.Creating && (time.Since(record.Created) > stale || c.gone(record)):
			r.creating(c, site, record, pv, at[record.Path])
		}
	}
	r.foreign(c, site, volumes)
}

// foreign reports how many records of other clusters are not checked.
func (r *Report) foreign(c Cluster, site *Site, volumes map[string]*v1.PersistentVolume) {
	expired, foreign := 0, 0
	for record := range site.records() {
		switch {
		case record.Cluster == c.ID:
		case overdue(record):
			expired++
		case record.State != ledger.Retained && record.State != ledger.Archived && volumes[record.PV] == nil:
			foreign++
		}
	}
	if expired > 0 {
		r.NotChecked = append(r.NotChecked, fmt.Sprintf("%s of other clusters: claimdir removes such archives there; if such a cluster is lost, run claimdir archive purge --ended --cluster UID", output.Count(expired, "expired archive")))
	}
	if foreign > 0 {
		r.NotChecked = append(r.NotChecked, fmt.Sprintf("%s of volumes of other clusters: run doctor in those clusters; if such a cluster is lost, run claimdir recover to get its volumes back", output.Count(foreign, "record")))
	}
}

// restoring returns the paths of the archives that are being restored: their directories
// may have moved already.
func (s *Site) restoring() map[string]bool {
	paths := map[string]bool{}
	for _, record := range s.living {
		if record.Restoring() {
			paths[record.RestoredFrom] = true
		}
	}
	return paths
}

// damaged reports the records that cannot be read.
func (r *Report) damaged(site *Site) {
	for _, err := range site.Damaged {
		remedy := "claimdir does nothing on its path until it can read the record: fix the cause named in the error, or run the version of claimdir that wrote it"
		if errors.Is(err, ledger.ErrDamaged) {
			remedy = "claimdir does nothing on its path until the record is fixed: restore the file from a backup or, if the directory is not needed, remove both"
		}
		r.find(KindRecord, ".claimdir/records", err.Error(), remedy)
	}
}

// creating reports a volume that was never completed. The volume may exist with another
// directory, because its claim or class changed after the first attempt.
// other is the PersistentVolume that has the directory, if any.
func (r *Report) creating(c Cluster, site *Site, record ledger.Record, pv, other *v1.PersistentVolume) {
	if other != nil && other.Name == record.PV {
		return
	}
	if record.Copying() {
		r.copying(c, record, pv)
		return
	}
	if pv != nil {
		r.find(KindRecord, record.Path, fmt.Sprintf("creating volume %s of claim %s was started here, but its PersistentVolume has another directory", record.PV, claimBy(record)),
			"remove the directory, if it is empty, and "+fileOf(record))
		return
	}
	if record.Restoring() {
		r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was being restored from archive %s, and was never completed", record.PV, claimBy(record), record.RestoredFrom),
			"if the claim still exists, claimdir retries; if it is gone, claimdir undoes the restore within ORPHAN_GRACE and SWEEP_INTERVAL")
		return
	}
	r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was never completed", record.PV, claimBy(record)),
		"if the claim still exists, claimdir retries; otherwise remove the directory, if it is empty, and "+fileOf(record))
	r.fixable(other == nil && c.unused(site, record), record, fixOrphan)
}

// copying reports a volume that is made by a copy and is not complete. That takes as long as it takes: it is no problem while
// the claim exists.
func (r *Report) copying(c Cluster, record ledger.Record, pv *v1.PersistentVolume) {
	from := fmt.Sprintf("%s %s", record.CopyOf.Kind, record.CopyOf.Claim.Name)
	switch {
	case pv != nil:
		r.find(KindRecord, record.Path, fmt.Sprintf("copying %s for volume %s of claim %s was begun here, but its PersistentVolume has another directory", from, record.PV, claimBy(record)),
			"claimdir moves what it has copied into the trash within SWEEP_INTERVAL")
	case c.Gone != nil && !c.gone(record):
		r.Copying++
	default:
		r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was being made as a copy of %s, and was never completed", record.PV, claimBy(record), from),
			"if the claim still exists, claimdir goes on with the copy, and events of the claim say how far it is; if it is gone, claimdir moves what it has copied into the trash within ORPHAN_GRACE and SWEEP_INTERVAL")
	}
}

// unused reports whether a Fixer may act on a record: nothing in the cluster needs it, and no
// PersistentVolume shares files with its directory.
func (c Cluster) unused(site *Site, record ledger.Record) bool {
	p, err := volpath.ParseRecorded(record.Path)
	return err == nil && c.gone(record) && c.Uses(site.Source, p) == ""
}

// active reports a volume whose PersistentVolume is gone or has another directory.
// other is the foreign PersistentVolume that has its directory, if any.
func (r *Report) active(c Cluster, site *Site, record ledger.Record, pv, other *v1.PersistentVolume) {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		r.find(KindRecord, record.Path, err.Error(), "fix or remove "+fileOf(record))
		return
	}
	// A release removes the record before the PersistentVolume. So a record that is still
	// there now is a problem.
	now, known, err := site.Lookup(p)
	if err != nil || !known || now.PV != record.PV || now.State != ledger.Active {
		return
	}
	unused := pv == nil && other == nil && c.unused(site, record)
	if time.Since(record.Created) < saving && !unused {
		r.TooYoung++
		return
	}
	missing := "there is no such PersistentVolume"
	if pv != nil {
		missing = "the PersistentVolume of that name has another directory"
	}
	remedy := "create it again with the manifest that claimdir recover prints for it; or, if the data is not needed, remove the directory and then " + fileOf(record)
	if !unused && c.Gone != nil {
		remedy += fmt.Sprintf("; doctor --fix does it once no claim %s and no PersistentVolume needs it", claimBy(record))
	}
	if other != nil {
		missing += fmt.Sprintf(", and PersistentVolume %s has this one", other.Name)
		remedy = fmt.Sprintf("do not remove the directory; if %[2]s shall keep it, remove %[1]s", fileOf(record), other.Name)
	}
	r.find(KindRecord, record.Path, fmt.Sprintf("the record says that volume %s of claim %s is active, but %s", record.PV, claimBy(record), missing), remedy)
	r.fixable(unused, record, fixOrphan)
}

// released reports a retained directory or archive that is missing, and an archive that has
// expired and still exists.
func (r *Report) released(c Cluster, site *Site, record ledger.Record, pv *v1.PersistentVolume, restoring bool) {
	if restoring {
		return
	}
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		r.find(KindRecord, record.Path, err.Error(), "fix or remove "+fileOf(record))
		return
	}
	switch present, err := site.Dirs.Exists(p); {
	case err != nil:
		r.find(KindRecord, record.Path, fmt.Sprintf("its directory cannot be checked: %v", err), "fix the cause named in the error")
	case !present && record.State == ledger.Archived && record.Released != nil && time.Since(*record.Released) < saving:
		r.TooYoung++ // an archive's record is written before its directory is moved
	case !present:
		r.find(KindRecord, record.Path, fmt.Sprintf("the record says that it is %s, but its directory is missing", record.State),
			"restore the data from a backup, or remove "+fileOf(record))
		r.fixable(record.Cluster == c.ID && pv == nil && c.Uses(site.Source, p) == "", record, fixMissing)
	case record.State == ledger.Retained:
		r.Retained++
	case record.Cluster == c.ID && overdue(record) && c.Uses(site.Source, p) == "": // an archive that a PersistentVolume uses does not expire
		r.find(KindRecord, record.Path, fmt.Sprintf("this archive of claim %s should have expired on %s, and still exists", claimBy(record), record.Until.UTC().Format(time.RFC3339)),
			fmt.Sprintf("claimdir retries, and logs the reason; one that it found long after its end it keeps for a day, and one that a claim is to be a copy of until that claim is bound or deleted; or move it into the trash yourself: claimdir archive purge %s --cluster %s", record.PV, record.Cluster))
	}
}

// overdue reports whether an archive should have been removed by now.
func overdue(record ledger.Record) bool {
	return record.State == ledger.Archived && record.Until != nil && time.Since(*record.Until) > expiring
}

func claimBy(record ledger.Record) string { return record.Claim.Namespace + "/" + record.Claim.Name }

// fileOf returns the file of a record, for people who remove it. It names the file and not
// its directory, because an older copy may lie beside it.
func fileOf(record ledger.Record) string {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		return "its file below .claimdir/records"
	}
	return "the file " + ledger.File(p, record)
}
