package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
)

// SnapshotShare is one share whose snapshots are to be recovered.
type SnapshotShare struct {
	Name  string // as classes call it; empty if it is the only share
	Store ledger.Store
}

// SnapshotOptions say what PrintSnapshots prints.
type SnapshotOptions struct {
	// Provisioner is the name of the provisioner that will serve the snapshots, which is their driver.
	Provisioner string
	// Cluster is the UID of the cluster for which the objects are; empty if it is not known, as where it was not asked.
	Cluster string
	// Here are the names of the VolumeSnapshotContents of that cluster. Their snapshots are left out.
	Here []string
	// NotAsked says why the cluster was not asked, for people; empty if it was.
	NotAsked string
}

// LeftOutSnapshots are the snapshots that PrintSnapshots has left out.
type LeftOutSnapshots struct {
	// Here is how many have their VolumeSnapshotContent in the cluster, and Kept how many none had in the lost one either.
	Here, Kept int
	// Problems has an error for each other one, with the reason and the remedy.
	Problems []error
}

// lostSnapshot is the record of a snapshot, and the identity of its share.
type lostSnapshot struct {
	ledger.Snapshot
	share string
}

// PrintSnapshots writes the manifests of every whole snapshot that the lost cluster had an object of, ready for kubectl apply: their
// namespaces, VolumeSnapshotContents and VolumeSnapshots, bound to each other. The contents keep their data when they are deleted. It
// returns what it left out, and an error if it cannot write.
func PrintSnapshots(w io.Writer, shares []SnapshotShare, o SnapshotOptions) (LeftOutSnapshots, error) {
	found, left := collectSnapshots(shares, o)
	if _, err := io.WriteString(w, headOfSnapshots(o, len(found), left)); err != nil {
		return left, fmt.Errorf("write manifest: %w", err)
	}
	out := manifests{w: w}
	for _, r := range found {
		if err := out.write(r.Claim.Namespace, r.content(o), r.snapshot()); err != nil {
			return left, err
		}
	}
	return left, nil
}

// headOfSnapshots returns the comments before the manifests.
func headOfSnapshots(o SnapshotOptions, found int, left LeftOutSnapshots) string {
	checked := fmt.Sprintf("# Left out: %s, with a VolumeSnapshotContent in the cluster that was asked.", output.Count(left.Here, "snapshot"))
	if o.NotAsked != "" {
		checked = "# NO CLUSTER WAS ASKED which of them it has already: " + output.Cell(o.NotAsked) + "."
	}
	return fmt.Sprintf("# ONLY FOR A CLUSTER THAT HAS LOST ITS VOLUMESNAPSHOTS, and after its volumes were recovered. It needs the snapshot API.\n"+
		"# %s, from the records on the share.\n%s\n", output.Count(found, "snapshot"), checked)
}

// collectSnapshots returns the snapshots to print, sorted by claim and time, and those left out.
func collectSnapshots(shares []SnapshotShare, o SnapshotOptions) (found []lostSnapshot, left LeftOutSnapshots) {
	for _, s := range shares {
		for r, err := range s.Store.Records.Snapshots() {
			switch {
			case err != nil:
				left.Problems = append(left.Problems, output.OfShare(s.Name, err))
			case slices.Contains(o.Here, r.Content):
				left.Here++
			case r.Kept():
				left.Kept++
			default:
				if err := recoverableSnapshot(r, s.Store); err != nil {
					left.Problems = append(left.Problems, output.OfShare(s.Name, err))
					continue
				}
				found = append(found, lostSnapshot{r, s.Store.Records.ID()})
			}
		}
	}
	slices.SortFunc(found, func(a, b lostSnapshot) int { // of one name, the newest comes first
		return cmp.Or(cmp.Compare(a.Claim.Namespace, b.Claim.Namespace), cmp.Compare(a.Claim.Name, b.Claim.Name), b.Created.Compare(a.Created), cmp.Compare(a.Own(), b.Own()))
	})
	type name struct{ namespace, name string }
	taken, contents := map[name]bool{}, map[string]bool{}
	found = slices.DeleteFunc(found, func(r lostSnapshot) bool {
		of := name{r.Claim.Namespace, r.Name}
		if taken[of] || contents[r.Content] {
			left.Problems = append(left.Problems, leaveSnapshot(r.Snapshot, "a newer one of that name was printed; recover this one with a VolumeSnapshotContent and a VolumeSnapshot of another name, written by hand"))
			return true
		}
		taken[of], contents[r.Content] = true, true
		return false
	})
	return found, left
}

// recoverableSnapshot returns an error for a snapshot that must be left out.
func recoverableSnapshot(r ledger.Snapshot, store ledger.Store) error {
	if !r.Whole() {
		return leaveSnapshot(r, "it was being made; make another one. If its cluster is lost, remove this one: claimdir snapshot purge --force --cluster %s %s", r.Cluster, r.Content)
	}
	tree, err := store.Dirs.SnapshotOrCopy(r.Own()) // a kill may have come just before it was moved
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return leaveSnapshot(r, "its data is missing; restore %s from a backup of the share", ledger.SnapshotPath(r.Own()))
	case err != nil:
		return leaveSnapshot(r, "%w", err)
	case r.Directory.Match(tree) == share.Different:
		return leaveSnapshot(r, "%s is another directory than the one that was made", ledger.SnapshotPath(r.Own()))
	}
	return nil
}

func leaveSnapshot(r ledger.Snapshot, format string, args ...any) error {
	return fmt.Errorf("left out snapshot %s of claim %s/%s (%s): %w", r.Name, r.Claim.Namespace, r.Claim.Name, r.Content, fmt.Errorf(format, args...))
}

// content is the VolumeSnapshotContent of a snapshot that is there. It names the VolumeSnapshot without its UID, so that it is bound to the
// recreated one.
func (r lostSnapshot) content(o SnapshotOptions) *snapshots.VolumeSnapshotContent {
	cluster := r.Cluster
	if cluster == o.Cluster {
		cluster = ""
	}
	return &snapshots.VolumeSnapshotContent{
		TypeMeta:   metav1.TypeMeta{APIVersion: snapshots.APIVersion, Kind: snapshots.KindContent},
		ObjectMeta: metav1.ObjectMeta{Name: r.Content},
		Spec: snapshots.ContentSpec{
			DeletionPolicy: snapshots.Retain, Driver: o.Provisioner, SourceVolumeMode: new(v1.PersistentVolumeFilesystem),
			Source:   snapshots.ContentSource{SnapshotHandle: new(ledger.SnapshotHandle(r.share, r.Content, cluster))},
			Snapshot: v1.ObjectReference{APIVersion: snapshots.APIVersion, Kind: snapshots.KindSnapshot, Namespace: r.Claim.Namespace, Name: r.Name},
		},
	}
}

func (r lostSnapshot) snapshot() *snapshots.VolumeSnapshot {
	return &snapshots.VolumeSnapshot{
		TypeMeta:   metav1.TypeMeta{APIVersion: snapshots.APIVersion, Kind: snapshots.KindSnapshot},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Claim.Namespace, Name: r.Name},
		Spec:       snapshots.SnapshotSpec{Source: snapshots.SnapshotSource{Content: new(r.Content)}},
	}
}
