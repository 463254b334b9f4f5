package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Keep records that nothing in the cluster names the snapshot any more, and that it is kept, as its VolumeSnapshotContent says. One
// whose copy is not whole is worth nothing, and goes.
func (op SnapshotOp) Keep(ctx context.Context) error {
	r, found, err := op.Find(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrNoTree), !found, r.Kept():
		return err
	case !r.Whole():
		return op.Discard(ctx)
	}
	if err := op.Store.Records.KeepSnapshot(r); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Kept snapshot, although its VolumeSnapshotContent goes", "snapshot", op.of.Content, "path", ledger.SnapshotPath(op.Own()))
	return nil
}

// Found records that an object of the cluster names a kept snapshot again.
func (op SnapshotOp) Found(r ledger.Snapshot) error {
	if !r.Kept() {
		return nil
	}
	r.Released, r.Until = nil, nil
	return op.Store.Records.UpdateSnapshot(r)
}

// Expire is Discard for a kept snapshot whose time is over.
func (op SnapshotOp) Expire(ctx context.Context, over func(end *time.Time) bool) error {
	r, found, err := op.Store.Records.Snapshot(op.of.Content, op.of.Cluster)
	if err != nil || !found || !r.Kept() || !over(r.Until) {
		return err
	}
	return op.Discard(ctx)
}

// Discard moves the tree of the snapshot, or what there is of its copy, into the trash, and its record after it. It is no error if
// there is none. A tree that is not the one on record is not removed.
func (op SnapshotOp) Discard(ctx context.Context) error {
	r, found, err := op.Store.Records.Snapshot(op.of.Content, op.of.Cluster)
	if err != nil {
		return err
	}
	if !found { // an earlier operation may have been cut off before it removed the directory
		return op.Store.Dirs.RemoveEmptyDirectory(share.SnapshotsDir, op.Own())
	}
	trash, err := op.discardTree(r)
	if err != nil {
		return err
	}
	if trash == "" {
		if trash, err = op.discardCopied(&r); err != nil {
			return err
		}
	}
	if trash == "" { // an earlier call may have moved it, and the trash may be empty by now
		if trash, err = op.inTrash(); err != nil {
			return err
		}
	}
	if trash == "" {
		err = op.Store.Records.RemoveSnapshot(r)
	} else {
		err = op.Store.Records.DiscardSnapshot(r, trash)
	}
	if err == nil {
		klog.FromContext(ctx).Info("Removed snapshot", "snapshot", op.of.Content, "trash", trash)
	}
	return err
}

// discardTree moves the tree beside the record into the trash, and returns its name there, or an empty one if there is no tree.
func (op SnapshotOp) discardTree(r ledger.Snapshot) (trash string, err error) {
	there, err := op.Store.Dirs.Snapshot(op.Own())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && r.Directory.Match(there) == share.Different {
		err = fmt.Errorf("%s is another directory than the one that was made; remove it by hand", ledger.SnapshotPath(op.Own()))
	}
	if err != nil {
		return "", err
	}
	return op.trashName(func(trash string) error { return op.Store.Dirs.DiscardSnapshot(op.Own(), trash, r.Directory) })
}

// discardCopied moves what there is of the copy into the trash, and returns its name there, or an empty one if there was nothing.
func (op SnapshotOp) discardCopied(r *ledger.Snapshot) (trash string, err error) {
	names, err := op.Store.Dirs.HasCopy(op.Own())
	if err != nil || !names {
		return "", err
	}
	if r.Whole() { // what goes into the trash is the directory around the tree, which the record must not say is another one
		r.Directory = nil
		if err := op.Store.Records.UpdateSnapshot(*r); err != nil {
			return "", err
		}
	}
	found := false
	trash, err = op.trashName(func(trash string) (err error) {
		found, err = op.Store.Dirs.DiscardCopy(op.Own(), trash)
		return err
	})
	if err != nil || !found {
		return "", err
	}
	return trash, nil
}

// trashName calls move with the snapshot's names in the trash until one is free, which it returns.
func (op SnapshotOp) trashName(move func(trash string) error) (trash string, err error) {
	return trashName(ledger.Record{PV: op.of.Content, Cluster: op.of.Cluster}, move)
}

// inTrash returns what an earlier call has moved into the trash and whose record did not follow, or an empty name.
func (op SnapshotOp) inTrash() (string, error) {
	names, err := op.Store.Records.ListTrash()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if !volpath.IsOwnOf(name, op.of.Content, op.of.Cluster) {
			continue
		}
		_, recorded, err := op.Store.Records.Discarded(name)
		if err != nil {
			return "", err
		}
		if !recorded {
			return name, nil
		}
	}
	return "", nil
}

// DiscardUnfinished is Discard for a snapshot that is not whole, also for one that has no record any more.
func (op SnapshotOp) DiscardUnfinished(ctx context.Context) error {
	r, found, err := op.Record()
	switch {
	case err != nil || r.Whole():
		return err
	case found:
		return op.Discard(ctx)
	}
	trash, err := op.discardCopied(&r)
	if err == nil && trash != "" {
		klog.FromContext(ctx).Info("Removed what was copied for a snapshot that is gone", "snapshot", op.of.Content, "trash", trash)
	}
	return err
}
