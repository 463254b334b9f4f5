package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// KindSnapshot is a snapshot on a share, or a VolumeSnapshotContent.
const KindSnapshot = "snapshot"

// expiringSnapshots is how long after its expiry a kept snapshot may still exist before that is a problem: claimdir keeps one that it
// finds late for another day.
const expiringSnapshots = 26 * time.Hour

// Snapshot is a snapshot on a share.
type Snapshot struct {
	ledger.Snapshot

	// Tree is which directory its tree is; nil if there is none, neither beside the record nor where it was copied.
	Tree *share.Identity
}

// Content is a VolumeSnapshotContent of ours.
type Content struct {
	Name string
	// Handle is the snapshot on a share that it names; empty if it names none yet.
	Handle string
}

// ReadSnapshots adds the snapshots on a share. The error is that of the whole share, or of ctx.
func (s *Site) ReadSnapshots(ctx context.Context, store ledger.Store) error {
	s.ID = store.Records.ID()
	for r, err := range store.Records.Snapshots() {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case share.IsStale(err):
			return err
		case err != nil:
			s.DamagedSnapshots = append(s.DamagedSnapshots, err)
			continue
		}
		tree, err := store.Dirs.SnapshotOrCopy(r.Own())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.AddSnapshot(Snapshot{r, tree})
	}
	return nil
}

// AddSnapshot adds a snapshot. Of one that is as it should be only the name is kept, because a share may have very many.
func (s *Site) AddSnapshot(made Snapshot) {
	if s.snapshots == nil {
		s.snapshots = map[string]bool{}
	}
	s.snapshots[made.Own()] = true
	if problem, _ := made.problem(); problem != "" {
		s.broken = append(s.broken, made)
	}
}

// HasSnapshot reports whether a snapshot with that own name was added.
func (s *Site) HasSnapshot(own string) bool { return s.snapshots[own] }

// inSnapshots reports the snapshots of this cluster without their data, those that should have expired, records that cannot be read,
// and VolumeSnapshotContents that name what is not there.
func (r *Report) inSnapshots(c Cluster, site *Site) {
	for _, s := range site.broken {
		if problem, remedy := s.problem(); s.Cluster == c.ID {
			r.find(KindSnapshot, ledger.SnapshotPath(s.Own()), problem, remedy)
		}
	}
	if r.damagedSnapshots(site) { // one may be what a VolumeSnapshotContent names
		return
	}
	for _, content := range c.Contents {
		name, here := strings.CutPrefix(content.Handle, site.ID+"/")
		name, cluster, _ := strings.Cut(name, "@") // see ledger.SnapshotHandle
		if here && site.ID != "" && !site.HasSnapshot(ledger.SnapshotOwn(name, cmp.Or(cluster, c.ID))) {
			r.find(KindSnapshot, content.Name, "the VolumeSnapshotContent names snapshot "+content.Handle+", which is not on the share",
				"put it back from a copy of the share or, if it is not needed, delete its VolumeSnapshot")
		}
	}
}

// problem says that a snapshot has no data, or should have expired, and what to do; or returns empty texts.
func (s Snapshot) problem() (problem, remedy string) {
	whose := fmt.Sprintf("snapshot %s of claim %s/%s", s.Content, s.Claim.Namespace, s.Claim.Name)
	remedy = fmt.Sprintf("put it back from a copy or, if it is not needed, delete VolumeSnapshot %s/%s", s.Claim.Namespace, s.Name)
	if s.Kept() {
		remedy = "put it back from a copy or, if it is not needed: claimdir snapshot purge " + s.Content
	}
	switch {
	case s.Whole() && s.Tree == nil:
		return "the data of " + whose + " is missing", remedy
	case s.Whole() && s.Directory.Match(s.Tree) == share.Different:
		return "what is there is another directory than the data of " + whose, remedy
	case s.Kept() && s.Until != nil && time.Since(*s.Until) > expiringSnapshots:
		return whose + " should have expired at " + s.Until.Format(time.RFC3339), "read claimdir's log for the reason"
	}
	return "", ""
}

// damagedSnapshots reports the records of snapshots that cannot be read, and whether one of them is damaged.
func (r *Report) damagedSnapshots(site *Site) (damaged bool) {
	for _, err := range site.DamagedSnapshots {
		remedy := "fix the cause named in the error, or run the version of claimdir that wrote it"
		if errors.Is(err, ledger.ErrDamaged) {
			remedy = "restore the file from a backup or, if the snapshot is not needed, remove its directory"
			damaged = true
		}
		r.find(KindSnapshot, ".claimdir/"+share.SnapshotsDir, err.Error(), remedy)
	}
	return damaged
}
