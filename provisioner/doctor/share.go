package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// saving is how long a volume may be without its PersistentVolume while all is
// well.
const saving = time.Minute

// stale is the age from which a record that is still being created was left by
// something that failed.
const stale = time.Hour

// volumes compares our PersistentVolumes with the share, and returns the paths
// of those that lie on it.
func (r *Report) volumes(c Cluster, site *Site) map[string]bool {
	owners := map[string]ledger.Record{}
	for _, record := range site.Records {
		owners[record.Path] = record
	}
	paths := map[string]bool{}
	for i := range c.Volumes {
		pv := &c.Volumes[i]
		if !c.serves(pv) {
			continue
		}
		p, err := provisioner.PathOf(site.Source, pv)
		if err != nil {
			r.find(KindVolume, pv.Name, strings.ReplaceAll(err.Error(), "; nothing was touched", ""),
				"its release will be refused: let the claimdir of that share serve it, or set its reclaim policy to Retain and delete it by hand")
			continue
		}
		paths[p.String()] = true
		present, err := site.Dirs.Exists(p)
		record, known := owners[p.String()]
		switch {
		case err != nil:
			r.find(KindVolume, pv.Name, fmt.Sprintf("its directory cannot be looked at: %v", err), "mend what the error names; pods that mount it fail meanwhile")
		case !present && pv.Status.Phase == v1.VolumeReleased: // it is going
		case !present:
			r.find(KindVolume, pv.Name, fmt.Sprintf("its directory %q is missing (%s)", p, claimOf(pv)),
				"put the data back from a copy; or, if it is not needed, delete the claim: the volume then goes")
		case !known && pv.Annotations[provisioner.AnnotationPath] == "":
			r.find(KindVolume, pv.Name, fmt.Sprintf("directory %q has no record yet: another provisioner made the volume", p),
				"restart claimdir, which writes it; what it cannot take over its log names")
		case !known:
			r.find(KindVolume, pv.Name, fmt.Sprintf("no record says that directory %q is this volume's", p),
				"put the file back into .claimdir/volumes from a copy; without it the release is refused")
		case record.PV != pv.Name:
			r.find(KindVolume, pv.Name, fmt.Sprintf("directory %q belongs to volume %s by its record", p, record.PV),
				"its release is refused; find out whose the data is, set the other's reclaim policy to Retain and delete it")
		}
	}
	return paths
}

// records finds those that no PersistentVolume answers to, those whose
// directory is gone, and those that cannot be read.
func (r *Report) records(c Cluster, site *Site) {
	for _, err := range site.Damaged {
		r.find(KindRecord, ".claimdir/volumes", err.Error(), "nothing is done on its path until it is mended or, if the directory is not needed, removed")
	}
	volumes := map[string]bool{}
	for i := range c.Volumes {
		volumes[c.Volumes[i].Name] = true
	}
	for _, record := range site.Records {
		r.Checked.Records++
		claim := record.Claim.Namespace + "/" + record.Claim.Name
		switch {
		case record.Cluster != c.ID && record.State != ledger.Archived:
			continue // another cluster's, which may be well
		case record.State == ledger.Active && !volumes[record.PV] && time.Since(record.Created) > saving:
			r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s is active by its record, and there is no such PersistentVolume", record.PV, claim),
				"bring it back with what claimdir recover prints for it; or, if the data is not needed, remove the directory and its file in .claimdir/volumes")
		case record.State == ledger.Creating && !volumes[record.PV] && time.Since(record.Created) > stale:
			r.find(KindRecord, record.Path, fmt.Sprintf("volume %s of claim %s was never completed", record.PV, claim),
				"a claim of that name takes it up; otherwise remove the directory, if it is empty, and its file in .claimdir/volumes")
		case record.State == ledger.Retained || record.State == ledger.Archived:
			r.kept(site, record)
		}
	}
}

// kept finds the retained directory or archive that somebody removed.
func (r *Report) kept(site *Site, record ledger.Record) {
	p, err := volpath.ParseRecorded(record.Path)
	if err != nil {
		r.find(KindRecord, record.Path, err.Error(), "mend or remove its file in .claimdir/volumes")
		return
	}
	present, err := site.Dirs.Exists(p)
	if err != nil {
		r.find(KindRecord, record.Path, fmt.Sprintf("its directory cannot be looked at: %v", err), "mend what the error names")
	} else if !present {
		r.find(KindRecord, record.Path, fmt.Sprintf("it is %s by its record, and the directory is missing", record.State),
			"put the data back from a copy, or remove its file in .claimdir/volumes")
	}
}

// directories finds those that are nobody's. It looks into no volume, only into
// what lies above one.
func (r *Report) directories(site *Site, volumes map[string]bool) {
	above := map[string]bool{}
	for _, record := range site.Records {
		volumes[record.Path] = true
	}
	for p := range volumes {
		for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
			above[p[:i]] = true
		}
	}
	r.look(site, volpath.Path{}, volumes, above)
}

func (r *Report) look(site *Site, dir volpath.Path, volumes, above map[string]bool) {
	entries, err := site.Dirs.List(dir)
	if err != nil {
		r.find(KindDirectory, dir.String(), fmt.Sprintf("cannot be looked into: %v", err), "mend what the error names")
		return
	}
	for _, e := range slices.DeleteFunc(entries, func(e share.Entry) bool { return !e.Dir }) {
		p, err := below(dir, e.Name)
		switch {
		case errors.Is(err, errArchive):
		case err != nil:
			r.find(KindDirectory, fmt.Sprintf("%q", e.Name), "no volume has it: "+err.Error(), "remove it if it is not needed")
		case volumes[p.String()]:
			r.Checked.Directories++
		case above[p.String()]:
			r.look(site, p, volumes, above)
		default:
			r.Checked.Directories++
			if _, known, err := site.Lookup(p); known || err != nil {
				continue // made since the records were read, or damaged, which is said already
			}
			r.find(KindDirectory, p.String(), "no PersistentVolume and no record names it",
				"remove it if it is not needed; a claim whose path it is gets it with onExisting: adopt")
		}
	}
}

// errArchive marks an archive, which is nobody's and well so.
var errArchive = errors.New("an archive")

// below is the path of a directory in dir.
func below(dir volpath.Path, name string) (volpath.Path, error) {
	if dir == (volpath.Path{}) {
		if strings.HasPrefix(name, "archived-") {
			return volpath.Path{}, errArchive
		}
		return volpath.Parse(name)
	}
	return volpath.Parse(dir.String() + "/" + name)
}
