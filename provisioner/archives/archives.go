// Package archives lists the archives on the shares, prints the claim that restores one,
// and moves archives that are no longer needed into the trash. It reads the shares only; before
// it moves an archive it asks the archive's cluster, by a function that it is given, whether the
// PersistentVolume exists again.
//
// It prints the claim and does not create it, because claimdir has no right to create
// claims: somebody who takes claimdir over must not get into a namespace. kubectl has the
// rights of the user who runs it.
//
// It takes no lease. This package and the controller both move an archive with
// steps.Op.DiscardArchive, which renames it: if both try, one fails because the archive is
// gone.
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

// Archive is the directory of a released volume: an archive, or a retained directory, which stays at
// the volume's path. If another provisioner made it, it has no
// record, and only Share and Path are known. Scripts read the JSON: its keys never change.
type Archive struct {
	Namespace string `json:"namespace,omitempty"` // of the claim
	// NamespaceUID tells the namespace from an earlier or later one of that name; empty if the
	// record does not say it.
	NamespaceUID string `json:"namespaceUID,omitempty"`
	Claim        string `json:"claim,omitempty"`
	Volume       string `json:"volume,omitempty"` // name of the PersistentVolume
	Share        string `json:"share,omitempty"`
	Cluster      string `json:"cluster,omitempty"` // UID of its namespace kube-system
	Class        string `json:"class,omitempty"`
	Size         string `json:"size,omitempty"` // the size of the claim, not of its data
	// Since is when the volume was released. Until is when the archive expires; nil means
	// never.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	Path  string     `json:"path"`
	// Origin is the path of the directory while it was a volume.
	Origin string `json:"origin,omitempty"`

	record ledger.Record
	on     Share
}

// Recorded reports whether the archive has a record. Archives without one are only listed.
func (a Archive) Recorded() bool { return a.Volume != "" }

// Expired reports whether the archive has expired.
func (a Archive) Expired(now time.Time) bool { return a.Until != nil && !now.Before(*a.Until) }

// Of reports whether the archive belongs to the claim, or, if claim is empty, to any claim
// of the namespace.
func (a Archive) Of(namespace, claim string) bool {
	return a.Recorded() && a.Namespace == namespace && (claim == "" || a.Claim == claim)
}

// Found is what was read from the shares.
type Found struct {
	// Archives are sorted by claim and then by time of release. Those without a record come
	// last.
	Archives []Archive
	// Retained are the retained directories, sorted alike.
	Retained []Archive
	// Clusters are the clusters that have records of volumes or archives on the shares: the
	// UIDs of their namespaces kube-system, sorted.
	Clusters []string
	// Remade are the names of the namespaces of which the records of one cluster name several: such
	// a namespace was deleted and made anew. They are sorted.
	Remade []string
	// Unread has an error for each record and share that cannot be read. All others are in
	// Archives.
	Unread []error
}

// Find returns the archives on the shares.
func Find(shares []Share) (found Found) {
	uids := namespaces{}
	for _, s := range shares {
		there := s.find(uids)
		found.Archives = append(found.Archives, there.Archives...)
		found.Retained = append(found.Retained, there.Retained...)
		found.Clusters = append(found.Clusters, there.Clusters...)
		for _, err := range there.Unread {
			found.Unread = append(found.Unread, output.OfShare(s.Name, err))
		}
	}
	slices.Sort(found.Clusters)
	found.Clusters = slices.Compact(found.Clusters)
	found.Remade = uids.remade()
	slices.SortFunc(found.Archives, compare)
	slices.SortFunc(found.Retained, compare)
	return found
}

// namespaces are the UIDs of the namespaces in records, by cluster and name.
type namespaces map[[2]string]map[string]bool

func (n namespaces) add(r ledger.Record) {
	key := [2]string{r.Cluster, r.Claim.Namespace}
	if n[key] == nil {
		n[key] = map[string]bool{}
	}
	if r.Claim.NamespaceUID != "" {
		n[key][r.Claim.NamespaceUID] = true
	}
}

func (n namespaces) remade() (names []string) {
	for key, uids := range n {
		if len(uids) > 1 {
			names = append(names, key[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func compare(a, b Archive) int {
	if a.Recorded() != b.Recorded() {
		return cmp.Compare(b.Volume, a.Volume) // the empty one last
	}
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim),
		a.since().Compare(b.since()), cmp.Compare(a.Share, b.Share), cmp.Compare(a.Path, b.Path))
}

func (a Archive) since() time.Time {
	if a.Since == nil {
		return time.Time{}
	}
	return *a.Since
}

// find reads the records before it lists the directories, and ignores a record without its
// directory: that archive is still being made, and discarding it now would remove the
// record of a directory that is about to appear. If the directory never appears, doctor
// reports the record.
func (s Share) find(uids namespaces) (found Found) {
	archived, recorded, listed := s.read(&found, uids)
	entries, err := s.Store.Dirs.List(volpath.Path{})
	if err != nil {
		found.Unread = append(found.Unread, fmt.Errorf("list archives: %w", err))
		return found
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name] = e.Dir
		// If some records could not be listed, an archive that has a record would be
		// taken for another provisioner's.
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

// read returns the records of archives, the paths that have records, and whether all could be listed.
// It adds the rest to found and uids.
func (s Share) read(found *Found, uids namespaces) (archived []ledger.Record, recorded map[string]bool, listed bool) {
	recorded, listed = map[string]bool{}, true
	for r, err := range s.Store.Records.Records() {
		if err != nil {
			found.Unread = append(found.Unread, err)
			listed = listed && errors.Is(err, ledger.ErrDamaged)
			continue
		}
		recorded[r.Path] = true
		uids.add(r)
		if r.Cluster != "" {
			found.Clusters = append(found.Clusters, r.Cluster)
		}
		switch r.State {
		case ledger.Archived:
			archived = append(archived, r)
		case ledger.Retained:
			if s.present(r) {
				found.Retained = append(found.Retained, s.archive(r))
			}
		case ledger.Creating, ledger.Active:
		}
	}
	return archived, recorded, listed
}

// present reports whether the directory of a record may be there.
func (s Share) present(r ledger.Record) bool {
	p, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return false // doctor reports it
	}
	present, err := s.Store.Dirs.Exists(p)
	return present || err != nil
}

func (s Share) archive(r ledger.Record) Archive {
	return Archive{
		Namespace: r.Claim.Namespace, NamespaceUID: r.Claim.NamespaceUID, Claim: r.Claim.Name, Volume: r.PV, Share: s.Name, Cluster: r.Cluster, Class: r.Class, Size: r.Size,
		Since: r.Released, Until: r.Until, Path: r.Path, Origin: r.Origin,
		record: r, on: s,
	}
}

// known reports whether a directory has a record that was not listed: a damaged one, which
// is in Unread already, or one that was written after the records were listed.
func (s Share) known(name string) bool {
	p, err := volpath.ParseRecorded(name)
	if err != nil {
		return false
	}
	_, known, err := s.Store.Records.Lookup(p)
	return known || err != nil
}
