// Package recovery prints the PersistentVolumes and claims of the records on a share. After
// the loss of a cluster, these create its volumes again in another cluster, with the same
// directories. The package reads the share and never writes to it.
package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Records reads the records of a share.
type Records interface {
	Records() iter.Seq2[ledger.Record, error]
}

// Directories reads the directories of a share.
type Directories interface {
	Exists(path volpath.Path) (bool, error)
}

// Share is one share to recover from.
type Share struct {
	Name    string       // as classes call it; empty if it is the only share
	Source  share.Source // server and path of the PersistentVolumes
	Records Records
	Dirs    Directories
}

// lost is the record of a volume, and its share.
type lost struct {
	ledger.Record
	on Share
}

// Print writes the manifests of every Active and Retained record to w, ready for kubectl
// apply: PersistentVolumes, claims and their namespaces. It returns an error for each
// record that it left out, with the reason and the remedy. provisionerName is the name of
// the provisioner that will serve the volumes.
//
// partial means that other shares could not be read. Print then leaves out Retained
// records, because their claims may have volumes on those shares.
func Print(w io.Writer, shares []Share, partial bool, provisionerName string) (leftOut []error, err error) {
	found, leftOut := collect(shares, partial)
	var exports []string
	for _, s := range shares {
		exports = append(exports, s.Source.Server+":"+s.Source.Path)
	}
	if _, err := fmt.Fprintf(w, "# %d volumes of %s, from the records on the share.\n"+
		"# The cluster they come from must be gone, or must no longer run claimdir.\n", len(found), strings.Join(exports, ", ")); err != nil {
		return leftOut, err
	}
	namespace := ""
	for _, r := range found {
		pv, claim, err := r.objects(provisionerName)
		if err != nil {
			leftOut = append(leftOut, r.leave("%w; fix the record", err))
			continue
		}
		objects := []any{pv, claim}
		if r.Claim.Namespace != namespace && !builtin(r.Claim.Namespace) {
			objects = slices.Insert(objects, 0, any(namespaceOf(r.Claim.Namespace)))
		}
		namespace = r.Claim.Namespace
		for _, object := range objects {
			text, err := output.Manifest(object)
			if err != nil {
				return leftOut, err
			}
			if _, err := w.Write(text); err != nil {
				return leftOut, fmt.Errorf("write manifest: %w", err)
			}
		}
	}
	return leftOut, nil
}

// collect returns the records to print, sorted by claim, and those left out.
func collect(shares []Share, partial bool) (found []lost, leftOut []error) {
	for _, s := range shares {
		for r, err := range s.Records.Records() {
			switch {
			case err != nil:
				leftOut = append(leftOut, output.OfShare(s.Name, err))
				continue
			case r.State != ledger.Active && r.State != ledger.Retained:
				continue
			}
			if partial && r.State == ledger.Retained {
				leftOut = append(leftOut, output.OfShare(s.Name, leave(r, "its claim may have a volume on the share that cannot be read; make that share readable and run claimdir recover again")))
				continue
			}
			if err := checkDirectory(r, s.Dirs); err != nil {
				leftOut = append(leftOut, output.OfShare(s.Name, err))
				continue
			}
			found = append(found, lost{r, s})
		}
	}
	found, earlier := ofNewestNamespaces(found)
	leftOut = append(leftOut, earlier...)
	// Of the records of one claim, the active one comes first, then the latest.
	slices.SortFunc(found, func(a, b lost) int {
		return cmp.Or(cmp.Compare(a.Claim.Namespace, b.Claim.Namespace), cmp.Compare(a.Claim.Name, b.Claim.Name),
			cmp.Compare(a.State, b.State), b.Created.Compare(a.Created), cmp.Compare(a.Path, b.Path))
	})
	claims, volumes := map[string]lost{}, map[string]lost{}
	found = slices.DeleteFunc(found, func(r lost) bool {
		claim := r.Claim.Namespace + "/" + r.Claim.Name
		other, taken := claims[claim]
		if !taken {
			other, taken = volumes[r.PV]
		}
		if taken {
			leftOut = append(leftOut, r.leave("a claim and a volume can have one directory only, and %s was printed; "+
				"recover this one with a PersistentVolume written by hand, or remove it", other.place()))
			return true
		}
		claims[claim], volumes[r.PV] = r, r
		return false
	})
	return found, leftOut
}

// ofNewestNamespaces leaves out what claims of an earlier namespace retained, where the lost cluster
// had deleted that and made it anew: claims of the later one do not get it.
func ofNewestNamespaces(all []lost) (found []lost, leftOut []error) {
	type name struct{ cluster, namespace string }
	newest := map[name]lost{}
	for _, r := range all {
		key := name{r.Cluster, r.Claim.Namespace}
		known, is := newest[key]
		// An active volume is in use, so its namespace exists.
		if r.Claim.NamespaceUID != "" && (!is || cmp.Or(cmp.Compare(r.State, known.State), known.Created.Compare(r.Created)) < 0) {
			newest[key] = r
		}
	}
	for _, r := range all {
		now, is := newest[name{r.Cluster, r.Claim.Namespace}]
		if is && r.State == ledger.Retained && !r.Claim.LeavesTo(now.Claim) {
			leftOut = append(leftOut, r.leave("it is of an earlier namespace of that name, which was deleted and made anew; "+
				"recover it with a PersistentVolume written by hand, or remove it"))
			continue
		}
		found = append(found, r)
	}
	return found, leftOut
}

func checkDirectory(r ledger.Record, dirs Directories) error {
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return leave(r, "%w; fix the record", err)
	}
	present, err := dirs.Exists(path)
	if err != nil {
		return leave(r, "%w", err)
	}
	if !present {
		return leave(r, "%w; restore its data from a backup, or remove the file %s", errNoDirectory, ledger.File(path, r))
	}
	return nil
}

func (v lost) leave(format string, args ...any) error {
	return output.OfShare(v.on.Name, leave(v.Record, format, args...))
}

// place returns the path for people, with the share if there are several.
func (v lost) place() string {
	if v.on.Name == "" {
		return strconv.Quote(v.Path)
	}
	return fmt.Sprintf("%q on share %q", v.Path, v.on.Name)
}

var errNoDirectory = errors.New("its directory is missing")

func leave(r ledger.Record, format string, args ...any) error {
	return fmt.Errorf("left out path %q of claim %s/%s (%s, volume %s): %w", r.Path, r.Claim.Namespace, r.Claim.Name, r.State, r.PV, fmt.Errorf(format, args...))
}
