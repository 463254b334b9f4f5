// Package doctor compares a cluster with its shares, and reports each mismatch with its
// remedy. Diagnose changes nothing. A Fixer fixes some of the findings, one at a time.
package doctor

import (
	"cmp"
	"slices"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Kinds of findings.
const (
	KindClass     = "class"
	KindVolume    = "volume"
	KindOverlap   = "overlap"
	KindRecord    = "record"
	KindDirectory = "directory"
	// KindAddress is an earlier address of a share, which PersistentVolumes still name.
	KindAddress = "address"
	// KindAccess is a share, or a list of the cluster, that could not be read at all. The
	// caller of Diagnose adds these findings.
	KindAccess = "access"
)

// Finding is one problem.
type Finding struct {
	Kind string `json:"kind"`
	// Object is the name of a class or PersistentVolume, a path on the share, or SERVER:/EXPORT.
	Object string `json:"object"`
	// Share is the name of the share with the problem, as classes call it; empty if there
	// is only one share.
	Share   string `json:"share,omitempty"`
	Problem string `json:"problem"` // for people
	Remedy  string `json:"remedy"`  // what to do, for people
	// Fix says what a Fixer does about the problem, for people; empty if it cannot fix it.
	Fix string `json:"fix,omitempty"`

	pv  string // the volume of the record, which Fix compares
	fix fix
}

// Report is the result of Diagnose.
type Report struct {
	Findings []Finding `json:"findings"`
	Checked  Checked   `json:"checked"`
	// TooYoung counts the records that miss something which may be about to come. Within a minute it
	// has come, or is a finding.
	TooYoung int `json:"tooYoung"`
	// Retained counts the directories that released volumes with the policy retain have left at their
	// paths. They are no problem, and nothing else lists them.
	Retained int `json:"retained"`
	// Copying counts the volumes that have been made by a copy for more than an hour and are not complete. They are no problem
	// as long as their claims exist, whose events say how far the copies are.
	Copying int `json:"copying"`
	// NotChecked lists what Diagnose did not check, and why.
	NotChecked []string `json:"notChecked"`
}

// Checked counts what Diagnose checked.
type Checked struct {
	Classes     int `json:"classes"`
	Volumes     int `json:"volumes"`
	Records     int `json:"records"`
	Directories int `json:"directories"`
}

// Site is what was read of a share; Add adds its records. If the share could not be read, Dirs is
// nil and only Name and Source are known.
type Site struct {
	Name    string // as classes call it
	Source  share.Source
	Damaged []error // one for each record that cannot be read
	Dirs    Directories
	// Lookup reads the record of a path again: volumes are created while doctor runs.
	Lookup func(volpath.Path) (ledger.Record, bool, error)
	// Trash reads what the trash has of a volume: see ledger.TrashOf. Without it the trash is not looked
	// into. It is called for volumes whose directories are missing.
	Trash func(pv, cluster string, path volpath.Path) (ledger.Trashed, bool, error)
	// ID is the identity of the share, and DamagedSnapshots has an error for each snapshot whose record cannot be read. ReadSnapshots
	// sets them.
	ID               string
	DamagedSnapshots []error

	// The records that Add was called with.
	living []ledger.Record // of volumes
	kept   []kept          // of archives and retained directories
	names  map[string]string
	places []string // that AddPath was called with

	snapshots map[string]bool // own names of those that AddSnapshot was called with
	broken    []Snapshot      // those of them with a problem
}

// Directories reads the directories of a share. *share.Share implements it.
type Directories interface {
	Exists(path volpath.Path) (bool, error)
	List(path volpath.Path) ([]share.Entry, error)
}

// Diagnose compares the cluster with its shares. Without shares it checks the cluster
// alone. Findings are sorted by kind, share and object.
func Diagnose(c Cluster, sites ...*Site) Report {
	r := Report{Findings: []Finding{}, NotChecked: []string{}}
	for i := range c.Volumes {
		if c.Names.Serve(&c.Volumes[i]) {
			r.Checked.Volumes++
		}
	}
	r.classes(c, sites)
	r.overlaps(c, sites)
	moved := c.moved(sites)
	for _, site := range sites {
		r.site(c, site, moved)
	}
	r.elsewhere(c, sites, moved)
	r.sort()
	return r
}

// Orphans returns what Diagnose finds about the records, the directories and the snapshots of a share, and nothing
// else. others are the addresses of the other shares. It is for a caller that looks again and again: of
// the PersistentVolumes it needs only those that Site.Needs. Of all others on the share, and of records
// of volumes that are as they should be, the path is enough (AddPath).
func Orphans(c Cluster, read *Site, others ...share.Source) Report {
	r := Report{Findings: []Finding{}, NotChecked: []string{}}
	sites, site := []*Site{read}, *read
	for _, source := range others { // a volume of theirs is not one of this share with an earlier address
		sites = append(sites, &Site{Source: source})
	}
	volumes := c.placesOn(&site)
	site.Dirs = listed{site.Dirs, volumes, map[volpath.Path]listing{}}
	r.records(c, &site, c.moved(sites))
	r.directories(&site, volumes)
	r.inSnapshots(c, &site)
	for i := range r.Findings {
		r.Findings[i].Share = site.Name
	}
	r.sort()
	return r
}

func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Share, b.Share), cmp.Compare(a.Object, b.Object))
	})
}

func (r *Report) site(c Cluster, read *Site, moved moved) {
	site, volumes := *read, map[string]bool{}
	if site.Dirs != nil {
		volumes = c.placesOn(&site)
		site.Dirs = listed{site.Dirs, volumes, map[volpath.Path]listing{}}
	}
	before := len(r.Findings)
	r.volumes(c, &site, moved)
	if site.Dirs != nil {
		r.readdressed(&site, moved)
		r.records(c, &site, moved)
		r.unservedVolumes(c, &site)
		r.recordOverlaps(c, &site)
		r.adoptedInside(c, &site)
		r.directories(&site, volumes)
		r.inSnapshots(c, &site)
	}
	for i := range r.Findings[before:] {
		r.Findings[before+i].Share = site.Name
	}
}

// Confirm returns r with only those findings that the earlier report has too. A volume
// that is being created or released looks like a problem, and is gone from the second
// report.
func (r Report) Confirm(earlier Report) Report {
	before := make(map[Finding]bool, len(earlier.Findings))
	for _, f := range earlier.Findings {
		before[f] = true
	}
	r.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !before[f] })
	return r
}

// Directories returns the paths of the directories that no PersistentVolume and no record
// names.
func (r Report) Directories() (paths []string) {
	for _, f := range r.Findings {
		if f.Kind == KindDirectory {
			paths = append(paths, f.Object)
		}
	}
	return paths
}

func (r *Report) find(kind, object, problem, remedy string) {
	r.Findings = append(r.Findings, Finding{Kind: kind, Object: object, Problem: problem, Remedy: remedy})
}
