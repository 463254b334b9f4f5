// Package recovery prints what brings volumes back from the records on a share:
//
//	recovery.go   manifests, for a cluster that has lost its objects (Print)
//	inuse.go      which volumes the cluster has already, and Print therefore leaves out
//	readdress.go  a script, for a share that has a new server or path (Readdress)
//	snapshots.go  manifests of snapshots (PrintSnapshots)
//
// The package reads the share and never writes to it. It asks no cluster: it is given the
// PersistentVolumes.
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

	v1 "k8s.io/api/core/v1"

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

// Options say what Print prints.
type Options struct {
	// Provisioner is the name of the provisioner that will serve the volumes.
	Provisioner string
	// Partial means that other shares could not be read. Print then leaves out Retained
	// records, because their claims may have volumes on those shares.
	Partial bool
	// Here are the PersistentVolumes of the cluster. Print leaves out the volumes that are
	// Bound there.
	Here []v1.PersistentVolume
	// NotAsked says why the cluster was not asked, for people; empty if it was.
	NotAsked string
}

// LeftOut are the volumes that Print has left out.
type LeftOut struct {
	// Bound names each volume that is Bound in the cluster and so needs no recovery, with its
	// claim.
	Bound []string
	// Problems has an error for each other one, with the reason and the remedy.
	Problems []error
}

// Print writes the manifests of every Active and Retained record to w, ready for kubectl
// apply: PersistentVolumes, claims and their namespaces. It returns what it left out, and an
// error if it cannot write.
func Print(w io.Writer, shares []Share, o Options) (LeftOut, error) {
	found, left := collect(shares, o)
	if _, err := io.WriteString(w, head(shares, o, len(found), len(left.Bound))); err != nil {
		return left, fmt.Errorf("write manifest: %w", err)
	}
	out := manifests{w: w}
	for _, r := range found {
		pv, claim, err := r.objects(o.Provisioner)
		if err != nil {
			left.Problems = append(left.Problems, r.leave("%w; fix the record", err))
			continue
		}
		if err := out.write(r.Claim.Namespace, pv, claim); err != nil {
			return left, err
		}
	}
	return left, nil
}

// manifests writes the manifests of objects that come sorted by namespace.
type manifests struct {
	w         io.Writer
	namespace string // of the last objects
}

// write writes objects of a namespace, and before the first ones the namespace itself, unless every cluster has it.
func (m *manifests) write(namespace string, objects ...any) error {
	if namespace != m.namespace && !builtin(namespace) {
		objects = slices.Insert(objects, 0, any(namespaceOf(namespace)))
	}
	m.namespace = namespace
	for _, object := range objects {
		text, err := output.Manifest(object)
		if err != nil {
			return err
		}
		if _, err := m.w.Write(text); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
	}
	return nil
}

// head returns the comments before the manifests.
func head(shares []Share, o Options, found, bound int) string {
	var exports []string
	for _, s := range shares {
		exports = append(exports, s.Source.Server+":"+s.Source.Path)
	}
	checked := fmt.Sprintf("# Left out: %s, Bound in the cluster that was asked.", output.Count(bound, "volume"))
	if o.NotAsked != "" {
		checked = "# NO CLUSTER WAS ASKED which of them it has already: " + output.Cell(o.NotAsked) + "."
	}
	return fmt.Sprintf("# WARNING: ONLY FOR A CLUSTER THAT HAS LOST ITS VOLUMES AND CLAIMS. In any other cluster this changes or creates again what is in use.\n"+
		"# %s of %s, from the records on the share.\n"+
		"# The cluster they come from must be gone, or must no longer run claimdir.\n%s\n", output.Count(found, "volume"), strings.Join(exports, ", "), checked)
}

// collect returns the records to print, sorted by claim, and those left out.
func collect(shares []Share, o Options) (found []lost, left LeftOut) {
	here, bound := newInUse(o.Here), []lost{}
	for _, s := range shares {
		for r, err := range s.Records.Records() {
			switch {
			case err != nil:
				left.Problems = append(left.Problems, output.OfShare(s.Name, err))
			case r.State != ledger.Active && r.State != ledger.Retained:
			case here.bound(r):
				bound = append(bound, lost{r, s})
				left.Bound = append(left.Bound, fmt.Sprintf("%s (%s/%s)", r.PV, r.Claim.Namespace, r.Claim.Name))
			default:
				if err := recoverable(r, s, o.Partial, here); err != nil {
					left.Problems = append(left.Problems, output.OfShare(s.Name, err))
				} else {
					found = append(found, lost{r, s})
				}
			}
		}
	}
	found, earlier := ofNewestNamespaces(found, bound)
	left.Problems = append(left.Problems, earlier...)
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
			left.Problems = append(left.Problems, r.leave("a claim and a volume can have one directory only, and %s was printed; "+
				"recover this one with a PersistentVolume written by hand, or remove it", other.place()))
			return true
		}
		claims[claim], volumes[r.PV] = r, r
		return false
	})
	return found, left
}

// recoverable returns an error for a record that must be left out.
func recoverable(r ledger.Record, s Share, partial bool, here inUse) error {
	if partial && r.State == ledger.Retained {
		return leave(r, "its claim may have a volume on the share that cannot be read; make that share readable and run claimdir recover again")
	}
	if other := here.ofClaim(r.Claim); other != "" {
		return leave(r, "its claim is Bound to PersistentVolume %s in this cluster; if it shall have this directory instead, delete the claim and run claimdir recover again", other)
	}
	return checkDirectory(r, s.Dirs)
}

// ofNewestNamespaces leaves out what claims of an earlier namespace retained, where the lost cluster
// had deleted that and made it anew: claims of the later one do not get it. Volumes that are bound
// are not among all, and tell which namespace is the later one as well.
func ofNewestNamespaces(all, bound []lost) (found []lost, leftOut []error) {
	type name struct{ cluster, namespace string }
	newest := map[name]lost{}
	for _, r := range slices.Concat(all, bound) {
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
