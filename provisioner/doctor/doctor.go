// Package doctor compares a cluster with its share and names what does not fit
// together, and what to do about it. Diagnose looks and changes nothing; a Fixer
// mends some of what it found, one finding at a time.
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
	// KindAccess is what could not be looked at as a whole; whoever looks reports
	// it.
	KindAccess = "access"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind   string `json:"kind"`
	Object string `json:"object"` // the name of a class or PersistentVolume, or a path on the share
	// Share is the one that it was found on, as classes call it; empty where there is
	// only one.
	Share   string `json:"share,omitempty"`
	Problem string `json:"problem"` // for people
	Remedy  string `json:"remedy"`  // what to do, for people
	// Fix is what a Fixer does about it, for people; empty if that is nothing.
	Fix string `json:"fix,omitempty"`

	pv  string // what Fix is about, beside Object and Share
	fix fix
}

// Report is what doctor has to say.
type Report struct {
	Findings []Finding `json:"findings"`
	Checked  Checked   `json:"checked"`
	// NotChecked says what was left out, and why.
	NotChecked []string `json:"notChecked"`
}

// Checked counts what was looked at.
type Checked struct {
	Classes     int `json:"classes"`
	Volumes     int `json:"volumes"`
	Records     int `json:"records"`
	Directories int `json:"directories"`
}

// Site is what is known of a share. Without Dirs only its Source is.
type Site struct {
	Name    string // as classes call it
	Source  share.Source
	Records []ledger.Record
	Damaged []error // of the records that cannot be read
	Dirs    Directories
	// Lookup asks for the record of a path now: volumes come while we look.
	Lookup func(volpath.Path) (ledger.Record, bool, error)
}

// Directories is what is read of a share; *share.Share has it.
type Directories interface {
	Exists(path volpath.Path) (bool, error)
	List(path volpath.Path) ([]share.Entry, error)
}

// Diagnose compares the cluster with its shares, or looks at the cluster alone
// where there are none. Findings are sorted by kind, share and object.
func Diagnose(c Cluster, sites ...*Site) Report {
	r := Report{Findings: []Finding{}, NotChecked: []string{}}
	for i := range c.Volumes {
		if c.Names.Serve(&c.Volumes[i]) {
			r.Checked.Volumes++
		}
	}
	r.classes(c, sites)
	r.overlaps(c, sites)
	for _, site := range sites {
		r.site(c, *site)
	}
	r.elsewhere(c, sites)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Share, b.Share), cmp.Compare(a.Object, b.Object))
	})
	return r
}

func (r *Report) site(c Cluster, site Site) {
	var volumes map[string]bool
	if site.Dirs != nil {
		volumes = c.placesOn(&site)
		site.Dirs = listed{site.Dirs, volumes, map[volpath.Path]listing{}}
	}
	before := len(r.Findings)
	r.volumes(c, &site)
	if site.Dirs != nil {
		r.records(c, &site)
		r.recordOverlaps(c, &site)
		r.directories(&site, volumes)
	}
	for i := range r.Findings[before:] {
		r.Findings[before+i].Share = site.Name
	}
}

// Confirm returns r with those of its findings that an earlier look found too.
// Volumes come and go meanwhile, and half-way they look like mistakes.
func (r Report) Confirm(earlier Report) Report {
	before := make(map[Finding]bool, len(earlier.Findings))
	for _, f := range earlier.Findings {
		before[f] = true
	}
	r.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !before[f] })
	return r
}

// Directories returns the paths of the directories that nothing names.
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
