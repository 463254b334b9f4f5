package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// stateSnapshot is the state in the record of a snapshot. No path has a record of this state, so it is no State.
const stateSnapshot = "snapshot"

// snapshotRecord is the file name of a snapshot's record, beside its tree.
const snapshotRecord = trashRecord

// Snapshot is the record of a snapshot: a tree in .claimdir/snapshots that is a copy of a volume's directory. It is written before the
// copy begins, and lies in the directory of the snapshot, which is called by the snapshot's own name. The Record in it describes
// the source: its path, PersistentVolume, claim and size, and CopyOf says how the copy went. Cluster is the snapshot's; Class is its
// VolumeSnapshotClass; Created is when the copy began; ArchiveRetention is how long the snapshot is kept once nothing in the cluster
// names it; Released is when that was, and Until when that time is over. Directory is the identity of the tree, and nil until the
// copy is whole.
type Snapshot struct {
	Record

	// Content is the name of the VolumeSnapshotContent, which does not change and is never used again.
	Content string `json:"content"`
	// Name is that of the VolumeSnapshot, in the namespace of the claim.
	Name string `json:"name"`
}

// Own is the snapshot's own name.
func (s Snapshot) Own() string { return SnapshotOwn(s.Content, s.Cluster) }

// Whole reports whether the copy was complete.
func (s Snapshot) Whole() bool { return s.Directory != nil }

// Kept reports whether the snapshot was kept although nothing in the cluster names it any more.
func (s Snapshot) Kept() bool { return s.Released != nil }

// SnapshotOwn is the own name of the snapshot of a VolumeSnapshotContent.
func SnapshotOwn(content, cluster string) string { return volpath.Own(content, cluster) }

// SnapshotHandle is what the snapshotHandle of a VolumeSnapshotContent says that names a snapshot on the share of that identity:
// `<share>/<content>`, and `<share>/<content>@<cluster>` in another cluster than the snapshot's, whose UID cluster is.
func SnapshotHandle(share, content, cluster string) string {
	if cluster != "" {
		content += "@" + cluster
	}
	return share + "/" + content
}

// SnapshotPath returns where a snapshot lies, relative to the share, for messages.
func SnapshotPath(own string) string { return volpath.SnapshotTree(own).String() }

// OfSnapshot reports whether a record, such as one in the trash, is that of a snapshot.
func (r Record) OfSnapshot() bool { return r.State == State(stateSnapshot) }

func snapshotDir(own string) string { return share.SnapshotsDir + "/" + own }

// BeginSnapshot writes the record of a snapshot whose copy begins.
func (l *Ledger) BeginSnapshot(s Snapshot) error {
	s.Created = now()
	return l.writeSnapshot(s, func(data []byte) error {
		if err := l.share.MakeSnapshot(s.Own()); err != nil {
			return err
		}
		return l.share.WriteFile(snapshotDir(s.Own()), snapshotRecord, data)
	})
}

// UpdateSnapshot replaces the record of a snapshot. The error is ErrLost if it has none any more.
func (l *Ledger) UpdateSnapshot(s Snapshot) error {
	return l.writeSnapshot(s, func(data []byte) error {
		err := l.share.ExchangeFile(snapshotDir(s.Own()), snapshotRecord, data)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		return err
	})
}

// KeepSnapshot records that nothing in the cluster names the snapshot any more, and that it is kept.
func (l *Ledger) KeepSnapshot(s Snapshot) error {
	s.Released, s.Until = new(now()), nil
	if kept, err := time.ParseDuration(s.ArchiveRetention); err == nil {
		s.Until = new(s.Released.Add(kept))
	}
	return l.UpdateSnapshot(s)
}

func (l *Ledger) writeSnapshot(s Snapshot, write func(data []byte) error) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	s.Layout, s.State = Layout, State(stateSnapshot)
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = write(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("record snapshot %s: %w", s.Content, err)
	}
	return nil
}

// Snapshot returns the record of the snapshot of a VolumeSnapshotContent, and false if there is none.
func (l *Ledger) Snapshot(content, cluster string) (Snapshot, bool, error) {
	s, err := l.readSnapshot(SnapshotOwn(content, cluster))
	if errors.Is(err, fs.ErrNotExist) {
		return Snapshot{}, false, nil
	}
	if err == nil && (s.Content != content || s.Cluster != cluster) { // an own name may be cut
		err = fmt.Errorf("%w: it is for VolumeSnapshotContent %q of cluster %q", ErrDamaged, s.Content, s.Cluster)
	}
	if err != nil {
		return Snapshot{}, false, fmt.Errorf("record of snapshot %s: %w", content, err)
	}
	return s, true, nil
}

// SnapshotOf is Snapshot for a snapshot whose own name is known.
func (l *Ledger) SnapshotOf(own string) (Snapshot, bool, error) {
	s, err := l.readSnapshot(own)
	if errors.Is(err, fs.ErrNotExist) {
		return Snapshot{}, false, nil
	}
	if err != nil {
		return Snapshot{}, false, fmt.Errorf("record of snapshot %s: %w", own, err)
	}
	return s, true, nil
}

func (l *Ledger) readSnapshot(own string) (Snapshot, error) {
	data, err := l.share.ReadFile(snapshotDir(own), snapshotRecord)
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return Snapshot{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.Layout > Layout {
		return Snapshot{}, fmt.Errorf("it has layout %d and this claimdir knows %d: run a newer one", s.Layout, Layout)
	}
	if s.State != State(stateSnapshot) || s.Content == "" || s.Own() != own {
		return Snapshot{}, fmt.Errorf("%w: it is for VolumeSnapshotContent %q, state %q", ErrDamaged, s.Content, s.State)
	}
	return s, nil
}

// Snapshots yields the records of all snapshots, of any cluster, in the order of their own names. For one that cannot be read it
// yields an error that names it, and goes on. It skips those that are removed meanwhile.
func (l *Ledger) Snapshots() iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		names, err := l.share.ListMeta(share.SnapshotsDir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Snapshot{}, fmt.Errorf("list the snapshots: %w", err))
			return
		}
		for _, own := range names {
			s, err := l.readSnapshot(own)
			l.share.Drop(snapshotDir(own)) // otherwise the view would keep every directory open
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				err = fmt.Errorf("record of snapshot %s: %w", own, err)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// DiscardSnapshot moves the record of a snapshot into the trash, beside the tree that was moved there as trash. In a repeat the
// record is gone, which is no error.
func (l *Ledger) DiscardSnapshot(s Snapshot, trash string) error {
	err := l.mayWrite()
	if err == nil {
		err = l.share.RenameFile(snapshotDir(s.Own()), snapshotRecord, share.TrashDir+"/"+trash, trashRecord)
	}
	if errors.Is(err, fs.ErrNotExist) { // either the record or the tree in the trash is gone
		return l.RemoveSnapshot(s)
	}
	if err == nil {
		err = l.share.RemoveEmptyDirectory(share.SnapshotsDir, s.Own())
	}
	if err != nil {
		return fmt.Errorf("record that snapshot %s is in the trash: %w", s.Content, err)
	}
	return nil
}

// RemoveSnapshot removes the record of a snapshot that has no tree. It is no error if it is gone.
func (l *Ledger) RemoveSnapshot(s Snapshot) error {
	err := l.mayWrite()
	if err == nil {
		err = l.share.RemoveFile(snapshotDir(s.Own()), snapshotRecord)
	}
	if err == nil {
		err = l.share.RemoveEmptyDirectory(share.SnapshotsDir, s.Own())
	}
	if err != nil {
		return fmt.Errorf("remove the record of snapshot %s: %w", s.Content, err)
	}
	return nil
}
