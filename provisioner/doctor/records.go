package doctor

import (
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// saving is how long a volume may be without its PersistentVolume, and an
// archive without its directory, while all is well.
const saving = time.Minute

// ending is how long after its end an archive may still be there: claimdir reads all
// of their records once an hour.
const ending = 2 * time.Hour

// stale is the age from which a record that is still being created was left by
// something that failed.
const stale = time.Hour

// records finds those that no PersistentVolume answers to, those whose
// directory is gone, and those that cannot be read.
func (r *Report) records(c Cluster, site *Site) {
	r.damaged(site)
	volumes, at := c.byName(), c.at(site.Source)
	restoring := site.restoring()
	for _, record := range site.Records {
		r.Checked.Records++
		pv := volumes[record.PV]
		switch {
		case record.State == ledger.Retained || record.State == ledger.Archived:
			r.kept(c, site, record, restoring)
		case record.Cluster != c.ID: // or it was recovered here, and volumes looks at it
		case record.State == ledger.Active && time.Since(record.Created) > saving:
			if other := at[record.Path]; other == nil || other.Name != record.PV && !c.Names.Serve(other) { // one of ours is looked at in volumes
				r.active(site, record, pv, other)
			}
		case record.State == ledger.Creating && time.Since(record.Created) > stale:
			r.creating(record, pv, at[record.Path])
		}
	}
	r.foreign(c, site, volumes)
}

// foreign says how much of other clusters is not looked at.
func (r *Report) foreign(c Cluster, site *Site, volumes map[string]*v1.PersistentVolume) {
	ended, foreign := 0, 0
	for _, record := range site.Records {
		switch {
		case record.Cluster == c.ID:
		case overdue(record):
			ended++
		case record.State != ledger.Retained && record.State != ledger.Archived && volumes[record.PV] == nil:
			foreign++
		}
	}
	if ended > 0 {
		r.NotChecked = append(r.NotChecked, fmt.Sprintf("%d archives of other clusters whose time is over: claimdir ends them there; if such a cluster is lost: claimdir archive purge --ended --cluster UID", ended))
	}
	if foreign > 0 {
		r.NotChecked = append(r.NotChecked, fmt.Sprintf("volumes of other clusters, by %d records: run doctor there; if such a cluster is lost, claimdir recover brings them back", foreign))
	}
}

// restoring are the archives on their way to a claim, whose directories may have
// moved already.
func (s *Site) restoring() map[string]bool {
	paths := map[string]bool{}
	for _, record := range s.Records {
		if record.Restoring() {
			paths[record.RestoredFrom] = true
		}
	}
	return paths
}

// damaged tells of the records that cannot be read.
func (r *Report) damaged(site *Site) {
	for _, err := range site.Damaged {
		remedy := "nothing is done on its path until then: fix the cause named in the error, or run the claimdir that wrote it"
		if errors.Is(err, ledger.ErrDamaged) {
			remedy = "nothing is done on its path until it is mended: put the file back from a copy or, if the directory is not needed either, remove both"
		}
		r.find(KindRecord, ".claimdir/records", err.Error(), remedy)
	}
}

// creating finds a volume that was never completed, or that was begun here and then
// made elsewhere, because its claim or class was another one by then.
// other is the PersistentVolume that has its directory, if any.
func (r *Report) creating(record ledger.Record, pv, other *v1.PersistentVolume) {
	if other != nil && other.Name == record.PV {
		return
	}
	if pv != nil {
		r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was begun here, and the PersistentVolume of that name has another directory", record.PV, claimBy(record)),
			"remove the directory, if it is empty, and "+fileOf(record))
		return
	}
	if record.Restoring() {
		r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was to be made from archive %s, and never completed", record.PV, claimBy(record), record.RestoredFrom),
			"if the claim is gone, claimdir gives the archive back by itself: see ORPHAN_GRACE and SWEEP_INTERVAL")
		return
	}
	r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was never completed", record.PV, claimBy(record)),
		"a claim of that name takes it up; otherwise remove the directory, if it is empty, and "+fileOf(record))
	r.fixable(other == nil, record, fixOrphan)
}

// active finds a volume whose PersistentVolume is gone, or is another one now.
// other is the PersistentVolume of somebody else that has its directory, if any.
func (r *Report) active(site *Site, record ledger.Record, pv, other *v1.PersistentVolume) {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		r.find(KindRecord, record.Path, err.Error(), "mend or remove "+fileOf(record))
		return
	}
	// A release ends its record before its PersistentVolume: asked now, the
	// record is still there only if something is wrong.
	now, known, err := site.Lookup(p)
	if err != nil || !known || now.PV != record.PV || now.State != ledger.Active {
		return
	}
	missing := "there is no such PersistentVolume"
	if pv != nil {
		missing = "the PersistentVolume of that name has another directory"
	}
	remedy := "bring it back with what claimdir recover prints for it; or, if the data is not needed, remove the directory and then " + fileOf(record)
	if other != nil {
		missing += fmt.Sprintf(", while %s has this one", other.Name)
		remedy = fmt.Sprintf("leave the directory alone, and remove %s if %s is to keep it", fileOf(record), other.Name)
	}
	r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s is active by its record, and %s", record.PV, claimBy(record), missing), remedy)
	r.fixable(pv == nil && other == nil, record, fixOrphan)
}

// kept finds the retained directory or archive that somebody removed, and the archive
// that stays for longer than it was to.
func (r *Report) kept(c Cluster, site *Site, record ledger.Record, restoring map[string]bool) {
	if restoring[record.Path] {
		return
	}
	if record.Released != nil && time.Since(*record.Released) < saving {
		return // an archive's record comes before its directory
	}
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		r.find(KindRecord, record.Path, err.Error(), "mend or remove "+fileOf(record))
		return
	}
	switch present, err := site.Dirs.Exists(p); {
	case err != nil:
		r.find(KindRecord, record.Path, fmt.Sprintf("its directory cannot be looked at: %v", err), "fix the cause named in the error")
	case !present:
		r.find(KindRecord, record.Path, fmt.Sprintf("it is %s by its record, and the directory is missing", record.State),
			"put the data back from a copy, or remove "+fileOf(record))
		r.fixable(record.Cluster == c.ID, record, fixMissing)
	case record.Cluster == c.ID && overdue(record) && c.Uses(site.Source, p) == "": // one that somebody's PersistentVolume shows waits for that
		r.find(KindRecord, record.Path, fmt.Sprintf("this archive of claim %s was to end on %s, and is still there", claimBy(record), record.Until.UTC().Format(time.RFC3339)),
			fmt.Sprintf("claimdir tries again every ten minutes, and its log says what is in the way; or move it into the trash yourself: claimdir archive purge %s --cluster %s", record.PV, record.Cluster))
	}
}

// overdue reports whether an archive should be gone.
func overdue(record ledger.Record) bool {
	return record.State == ledger.Archived && record.Until != nil && time.Since(*record.Until) > ending
}

func claimBy(record ledger.Record) string { return record.Claim.Namespace + "/" + record.Claim.Name }

// fileOf is the file of a record, for people who are to remove it: nobody else's lies in
// it, while an older copy may lie beside it in the directory of the path.
func fileOf(record ledger.Record) string {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		return "its file below .claimdir/records"
	}
	return "the file " + ledger.File(p, record)
}
