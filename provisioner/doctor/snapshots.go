package doctor

import (
	"errors"
	"fmt"
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

// snapshots reports the snapshots of this cluster without their data, those that should have expired, records that cannot be read,
// and VolumeSnapshotContents that name what is not there.
func (r *Report) snapshots(c Cluster, site *Site) {
	there := map[string]bool{}
	for _, s := range site.Snapshots {
		there[site.ID+"/"+s.Content] = true
		if s.Cluster == c.ID {
			r.snapshot(s)
		}
	}
	if r.damagedSnapshots(site) { // one may be what a VolumeSnapshotContent names
		return
	}
	for _, content := range c.Contents {
		if content.Handle != "" && strings.HasPrefix(content.Handle, site.ID+"/") && !there[content.Handle] {
			r.find(KindSnapshot, content.Name, "the VolumeSnapshotContent names snapshot "+content.Handle+", which is not on the share",
				"put it back from a copy of the share or, if it is not needed, delete its VolumeSnapshot")
		}
	}
}

// snapshot reports a snapshot without its data, and one that should have expired.
func (r *Report) snapshot(s Snapshot) {
	path, whose := ledger.SnapshotPath(s.Own()), fmt.Sprintf("snapshot %s of claim %s/%s", s.Content, s.Claim.Namespace, s.Claim.Name)
	remedy := fmt.Sprintf("put it back from a copy or, if it is not needed, delete VolumeSnapshot %s/%s", s.Claim.Namespace, s.Name)
	if s.Kept() {
		remedy = "put it back from a copy or, if it is not needed: claimdir snapshot purge " + s.Content
	}
	switch {
	case s.Whole() && s.Tree == nil:
		r.find(KindSnapshot, path, "the data of "+whose+" is missing", remedy)
	case s.Whole() && s.Directory.Match(s.Tree) == share.Different:
		r.find(KindSnapshot, path, "what is there is another directory than the data of "+whose, remedy)
	case s.Kept() && s.Until != nil && time.Since(*s.Until) > expiringSnapshots:
		r.find(KindSnapshot, path, whose+" should have expired at "+s.Until.Format(time.RFC3339), "read claimdir's log for the reason")
	}
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
