// Package doctor compares a cluster with its share and names what does not fit
// together, and what to do about it. It looks and changes nothing.
package doctor

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

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
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind    string `json:"kind"`
	Object  string `json:"object"`  // the name of a class or PersistentVolume, or a path on the share
	Problem string `json:"problem"` // for people
	Remedy  string `json:"remedy"`  // what to do, for people
}

// Report is what doctor has to say.
type Report struct {
	Findings []Finding `json:"findings"`
	Checked  Checked   `json:"checked"`
	// NotChecked says what was left out, and why.
	NotChecked []string `json:"notChecked,omitempty"`
}

// Checked counts what was looked at.
type Checked struct {
	Classes     int `json:"classes"`
	Volumes     int `json:"volumes"`
	Records     int `json:"records"`
	Directories int `json:"directories"`
}

// Cluster is what is known of a cluster.
type Cluster struct {
	// Names are the provisioner names that are served.
	Names []string
	// ID is the UID of the namespace kube-system.
	ID      string
	Volumes []v1.PersistentVolume // all, also those of others
	Classes []storagev1.StorageClass
}

// Site is what is known of a share.
type Site struct {
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

// Diagnose compares the cluster with the share at site, or looks at the cluster
// alone where site is nil. Findings are sorted by kind and object.
func Diagnose(c Cluster, site *Site) Report {
	r := Report{Findings: []Finding{}}
	for i := range c.Volumes {
		if c.serves(&c.Volumes[i]) {
			r.Checked.Volumes++
		}
	}
	r.classes(c)
	r.overlaps(c, site)
	if site != nil {
		volumes := r.volumes(c, site)
		r.records(c, site)
		r.directories(site, volumes)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Object, b.Object))
	})
	return r
}

func (r *Report) find(kind, object, problem, remedy string) {
	r.Findings = append(r.Findings, Finding{kind, object, problem, remedy})
}

// serves reports whether pv is of one of our names.
func (c Cluster) serves(pv *v1.PersistentVolume) bool {
	return slices.Contains(c.Names, pv.Annotations["pv.kubernetes.io/provisioned-by"]) ||
		slices.Contains(c.Names, pv.Annotations["pv.kubernetes.io/migrated-to"])
}
