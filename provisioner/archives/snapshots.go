package archives

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/steps"
)

// Snapshot is a snapshot on a share. Scripts read the JSON: its keys never change.
type Snapshot struct {
	Namespace string `json:"namespace"` // of the claim and of the VolumeSnapshot
	Claim     string `json:"claim"`
	Name      string `json:"name"`    // of the VolumeSnapshot
	Content   string `json:"content"` // name of the VolumeSnapshotContent
	// Handle is what the snapshotHandle of a VolumeSnapshotContent says that names the snapshot.
	Handle  string `json:"handle"`
	Share   string `json:"share,omitempty"`
	Cluster string `json:"cluster"` // UID of its namespace kube-system
	Class   string `json:"class,omitempty"`
	Size    string `json:"size"`            // the size of the claim, not of the data
	Bytes   int64  `json:"bytes,omitempty"` // of content
	Files   int64  `json:"files,omitempty"`
	// Began is when the copy began, and Ended when it was whole; nil before.
	Began time.Time  `json:"began"`
	Ended *time.Time `json:"ended,omitempty"`
	// Kept is since when nothing in the cluster names the snapshot, as far as claimdir knows; Until when it expires.
	Kept  *time.Time `json:"kept,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	Path  string     `json:"path"`

	record ledger.Snapshot
	on     Share
}

// FoundSnapshots is what was read of snapshots from the shares.
type FoundSnapshots struct {
	// Snapshots are sorted by claim and then by time.
	Snapshots []Snapshot
	// Clusters are those that have snapshots, sorted.
	Clusters []string
	// Unread has an error for each record and share that cannot be read.
	Unread []error
}

// FindSnapshots returns the snapshots on the shares.
func FindSnapshots(shares []Share) (found FoundSnapshots) {
	for _, s := range shares {
		for r, err := range s.Store.Records.Snapshots() {
			if err != nil {
				found.Unread = append(found.Unread, output.OfShare(s.Name, err))
				continue
			}
			found.Snapshots = append(found.Snapshots, s.snapshot(r))
			found.Clusters = append(found.Clusters, r.Cluster)
		}
	}
	slices.SortFunc(found.Snapshots, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim), a.Began.Compare(b.Began), cmp.Compare(a.Content, b.Content))
	})
	slices.Sort(found.Clusters)
	found.Clusters = slices.Compact(found.Clusters)
	return found
}

func (s Share) snapshot(r ledger.Snapshot) Snapshot {
	made := Snapshot{
		Namespace: r.Claim.Namespace, Claim: r.Claim.Name, Name: r.Name, Content: r.Content, Handle: s.Store.Records.ID() + "/" + r.Content,
		Share: s.Name, Cluster: r.Cluster, Class: r.Class, Size: r.Size, Began: r.Created, Kept: r.Released, Until: r.Until,
		Path: ledger.SnapshotPath(r.Own()), record: r, on: s,
	}
	if c := r.CopyOf; c != nil {
		made.Bytes, made.Files, made.Ended = c.Bytes, c.Files, c.Ended
	}
	return made
}

// Of reports whether the snapshot belongs to the claim, or, if claim is empty, to any claim of the namespace.
func (s Snapshot) Of(namespace, claim string) bool {
	return s.Namespace == namespace && (claim == "" || s.Claim == claim)
}

// called reports whether a name selects the snapshot: NAMESPACE/CLAIM, NAMESPACE or the name of a VolumeSnapshotContent.
func (s Snapshot) called(name string) bool {
	namespace, claim, isClaim := strings.Cut(name, "/")
	if isClaim {
		return claim != "" && s.Of(namespace, claim)
	}
	return s.Namespace == name || s.Content == name
}

// SelectSnapshots returns the snapshots that the names select, or all if there are none, of one cluster, if that is not empty, and of
// which the copies began longer ago than olderThan, if that is not 0. A name without a snapshot is an ErrNone.
func SelectSnapshots(all []Snapshot, names []string, cluster string, olderThan time.Duration, now time.Time) (selected []Snapshot, err error) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(s Snapshot) bool { return s.called(name) }) {
			return nil, fmt.Errorf("no snapshot belongs to %q: neither a claim, nor a namespace, nor a VolumeSnapshotContent; claimdir snapshot list has all", name)
		}
	}
	for _, s := range all {
		wanted := len(names) == 0 || slices.ContainsFunc(names, s.called)
		if wanted && (cluster == "" || s.Cluster == cluster) && (olderThan <= 0 || now.Sub(s.Began) > olderThan) {
			selected = append(selected, s)
		}
	}
	return selected, nil
}

// ErrNamed says that something in the cluster may name a snapshot.
var ErrNamed = errors.New("a VolumeSnapshotContent may name it")

// DiscardSnapshot moves a snapshot into the trash, which the controller empties. One that is not recorded as kept is an ErrNamed,
// unless force is true.
func DiscardSnapshot(ctx context.Context, s Snapshot, force bool) error {
	work := steps.New(steps.Config{Cluster: s.Cluster})
	return work.OnSnapshot(ctx, steps.Direct{Store: s.on.Store}, steps.SnapshotOf{Content: s.Content, Cluster: s.Cluster}, "purge snapshot "+s.Content, func(ctx context.Context, op steps.SnapshotOp) error {
		r, found, err := op.Record()
		switch {
		case err != nil:
			return err
		case !found:
			return fmt.Errorf("%w: it was removed meanwhile", steps.ErrNoTree)
		case !r.Kept() && !force:
			return fmt.Errorf("snapshot %s: %w: delete that", s.Content, ErrNamed)
		}
		return op.Discard(ctx)
	})
}

// WriteSnapshotsJSON writes a list of snapshots for programs.
func WriteSnapshotsJSON(w io.Writer, all []Snapshot) error {
	if all == nil {
		all = []Snapshot{}
	}
	return output.JSON(w, all)
}

// WriteSnapshots writes a table of snapshots for people, with ages as of now. It has a column for the share and one for the cluster if
// there are several. width is that of the terminal; 0 if there is none. It writes nothing if there are none.
func WriteSnapshots(w io.Writer, all []Snapshot, clusters []string, now time.Time, width int) error {
	if len(all) == 0 {
		return nil
	}
	shares := slices.ContainsFunc(all, func(s Snapshot) bool { return s.Share != "" })
	table := output.Table{Width: width}
	row := func(claim, name, share, cluster string, rest ...string) {
		cells := []string{claim, name}
		if shares {
			cells = append(cells, share)
		}
		if len(clusters) > 1 {
			cells = append(cells, cluster)
		}
		cells = append(cells, rest...)
		for i, text := range cells {
			cells[i] = cmp.Or(text, "-")
		}
		table.Row(cells...)
	}
	row("CLAIM", "SNAPSHOT", "SHARE", "CLUSTER", "SIZE", "HOLDS", "MADE", "STATE", "CONTENT", "PATH")
	for _, s := range all {
		holds := ""
		if s.Ended != nil {
			holds = class.FormatSize(float64(s.Bytes))
		}
		row(s.Namespace+"/"+s.Claim, s.Name, s.Share, s.Cluster, s.Size, holds, fmt.Sprintf("%s (%s)", s.Began.UTC().Format(time.DateOnly), duration.HumanDuration(now.Sub(s.Began))), s.state(now), s.Content, s.Path)
	}
	return table.Write(w)
}

// state says for people what becomes of the snapshot.
func (s Snapshot) state(now time.Time) string {
	switch {
	case s.Kept == nil && s.Ended == nil:
		return "being made"
	case s.Kept == nil:
		return "whole"
	case s.Until == nil:
		return "kept for ever"
	case !now.Before(*s.Until):
		return "kept, expired"
	}
	return fmt.Sprintf("kept until %s (in %s)", s.Until.UTC().Format(time.DateOnly), duration.HumanDuration(s.Until.Sub(now)))
}
