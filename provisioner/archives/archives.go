// Package archives lists what released volumes left on the shares, says how one
// comes back, and moves those that are no longer wanted into the trash. It looks
// at the shares alone and asks no cluster.
//
// It prints the claim that gets an archive back and does not create it: claimdir
// has no right to create claims, so that nobody who gets hold of it gets into a
// namespace, and kubectl has the rights of whoever runs it.
//
// It takes no lease. Archives are moved by rename, here as well as by the
// controller, and of two that rename one directory the second finds it gone: both call
// steps.Op.DiscardArchive.
package archives

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/volpath"
)

// Share is one share with archives.
type Share struct {
	Name  string // as classes call it; empty where it is the only one
	Store ledger.Store
}

// Archive is the directory of a released volume. Of one without a record, which
// another provisioner made, only Share and Path are known. The keys of its JSON
// are for scripts: none changes.
type Archive struct {
	Namespace string `json:"namespace,omitempty"` // of the claim
	Claim     string `json:"claim,omitempty"`
	Volume    string `json:"volume,omitempty"` // name of the PersistentVolume
	Share     string `json:"share,omitempty"`
	Cluster   string `json:"cluster,omitempty"` // UID of its namespace kube-system
	Class     string `json:"class,omitempty"`
	Size      string `json:"size,omitempty"` // of the claim, not of what is in it
	// Since is when the volume was released, Until when the archive ends: for ever
	// where it is nil.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	Path  string     `json:"path"`
	// Origin is the path that it had as a volume.
	Origin string `json:"origin,omitempty"`

	record ledger.Record
	on     Share
}

// Recorded reports whether claimdir has a record of the archive. Others are
// listed, and nothing else is done with them.
func (a Archive) Recorded() bool { return a.Volume != "" }

// Ended reports whether the time is over that the archive was to be kept.
func (a Archive) Ended(now time.Time) bool { return a.Until != nil && !now.Before(*a.Until) }

// Of reports whether the archive is of a claim of the namespace, and of the claim
// of that name unless it is empty.
func (a Archive) Of(namespace, claim string) bool {
	return a.Recorded() && a.Namespace == namespace && (claim == "" || a.Claim == claim)
}

// Found is what is on some shares.
type Found struct {
	// Archives are sorted by claim, and those of a claim from the earliest on; what is
	// no claim's comes last.
	Archives []Archive
	// Clusters are those that have records there, of volumes or archives: the UIDs of
	// their namespaces kube-system, sorted.
	Clusters []string
	// Unread are the records and shares that cannot be read. The rest is found all the
	// same.
	Unread []error
}

// Find looks for archives on the shares.
func Find(shares []Share) (found Found) {
	for _, s := range shares {
		there := s.find()
		found.Archives = append(found.Archives, there.Archives...)
		found.Clusters = append(found.Clusters, there.Clusters...)
		for _, err := range there.Unread {
			found.Unread = append(found.Unread, output.OfShare(s.Name, err))
		}
	}
	slices.Sort(found.Clusters)
	found.Clusters = slices.Compact(found.Clusters)
	slices.SortFunc(found.Archives, func(a, b Archive) int {
		if a.Recorded() != b.Recorded() {
			return cmp.Compare(b.Volume, a.Volume) // the empty one last
		}
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim),
			a.since().Compare(b.since()), cmp.Compare(a.Share, b.Share), cmp.Compare(a.Path, b.Path))
	})
	return found
}

func (a Archive) since() time.Time {
	if a.Since == nil {
		return time.Time{}
	}
	return *a.Since
}

// find reads the records first and then what is there: a record without its
// directory is no archive yet, and to discard it would leave the one that it is
// to be without a record. One that stays so is doctor's to name.
func (s Share) find() (found Found) {
	var archived []ledger.Record
	recorded, listed := map[string]bool{}, true
	for r, err := range s.Store.Records.Records() {
		if err != nil {
			found.Unread = append(found.Unread, err)
			listed = listed && errors.Is(err, ledger.ErrDamaged)
			continue
		}
		recorded[r.Path] = true
		if r.Cluster != "" {
			found.Clusters = append(found.Clusters, r.Cluster)
		}
		if r.State == ledger.Archived {
			archived = append(archived, r)
		}
	}
	entries, err := s.Store.Dirs.List(volpath.Path{})
	if err != nil {
		found.Unread = append(found.Unread, fmt.Errorf("list archives: %w", err))
		return found
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name] = e.Dir
		// Without all records, one that has its own would be taken for another
		// provisioner's.
		if listed && e.Dir && volpath.NamedAsArchive(e.Name) && !recorded[e.Name] && !s.known(e.Name) {
			found.Archives = append(found.Archives, Archive{Share: s.Name, Path: e.Name, on: s})
		}
	}
	for _, r := range archived {
		if present[r.Path] {
			found.Archives = append(found.Archives, s.archive(r))
		}
	}
	return found
}

func (s Share) archive(r ledger.Record) Archive {
	return Archive{
		Namespace: r.Claim.Namespace, Claim: r.Claim.Name, Volume: r.PV, Share: s.Name, Cluster: r.Cluster, Class: r.Class, Size: r.Size,
		Since: r.Released, Until: r.Until, Path: r.Path, Origin: r.Origin,
		record: r, on: s,
	}
}

// known reports whether a directory has a record after all: a damaged one, which
// is said already, or one that was made since the records were read.
func (s Share) known(name string) bool {
	p, err := volpath.ParseRecorded(name)
	if err != nil {
		return false
	}
	_, known, err := s.Store.Records.Lookup(p)
	return known || err != nil
}
