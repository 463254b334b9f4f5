package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// A snapshot is made in three steps, each of which may be cut off and repeated: its record is written, which says when it began
// (Begin); the tree is copied under the snapshot's own name (package copies); it is recorded as whole, and moved beside the record
// (Complete, and Find where that was cut off). It ends with its tree in the trash, and then its record (Discard).

// SnapshotOp is one operation on one snapshot of one share, which no other operation of this process is on.
type SnapshotOp struct {
	*Steps

	Store ledger.Store

	content, cluster string
}

// OnSnapshot runs work on the snapshot of a VolumeSnapshotContent, alone: see On. cluster is the snapshot's.
func (s *Steps) OnSnapshot(ctx context.Context, on Share, content, cluster, name string, work func(ctx context.Context, op SnapshotOp) error) error {
	path, err := volpath.ParseRecorded(ledger.SnapshotOwn(content, cluster)) // no volume has such a path, and the lock needs one
	if err != nil {
		return refusal.Refuse(refusal.ReasonVolume, "snapshot %s: %w", content, err)
	}
	return s.On(ctx, on, path, name, func(ctx context.Context, op Op) error {
		return work(ctx, SnapshotOp{Steps: s, Store: op.Store, content: content, cluster: cluster})
	})
}

// Own is the snapshot's own name.
func (op SnapshotOp) Own() string { return ledger.SnapshotOwn(op.content, op.cluster) }

// Find returns the record of the snapshot, and false if there is none. If the copy is whole and its tree was not moved beside the
// record, because an earlier operation was cut off, Find moves it. The error is ErrNoTree if the tree of a whole snapshot is gone.
func (op SnapshotOp) Find(ctx context.Context) (ledger.Snapshot, bool, error) {
	r, found, err := op.Store.Records.Snapshot(op.content, op.cluster)
	if err != nil || !found || !r.Whole() {
		return r, found, err
	}
	there, err := op.Store.Dirs.Snapshot(op.Own())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, true, op.keepCopy(ctx, r)
	case err != nil:
		return r, true, err
	case r.Directory.Match(there) == share.Different:
		return r, true, fmt.Errorf("%w: %s is another directory than the one that was made", ErrNoTree, ledger.SnapshotPath(op.Own()))
	}
	return r, true, op.Store.Dirs.RemoveEmptyDirectory(share.CopiesDir, op.Own()) // an earlier operation may have been cut off before it
}

// ErrNoTree says that the tree of a snapshot is gone.
var ErrNoTree = errors.New("the data of the snapshot is gone")

// keepCopy moves the tree of a whole copy beside its record.
func (op SnapshotOp) keepCopy(ctx context.Context, r ledger.Snapshot) error {
	tree, err := op.Store.Dirs.Copied(op.Own())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: neither %s nor %s/%s is there; put it back from a copy, or delete the snapshot", ErrNoTree, ledger.SnapshotPath(op.Own()), share.CopiesDir, op.Own())
	}
	if err == nil && r.Directory.Match(tree) == share.Different {
		err = fmt.Errorf("%w: the copy is another directory than the one that was made", ErrNoTree)
	}
	if err == nil {
		err = op.Store.Dirs.KeepCopy(op.Own(), op.Own(), r.Directory)
	}
	if err == nil {
		klog.FromContext(ctx).Info("Made snapshot", "snapshot", op.content, "path", ledger.SnapshotPath(op.Own()))
	}
	return err
}

// Begin records a snapshot that is to be made as r says, unless an earlier call has, and returns the record as it is now.
// unusedSince is since when no pod has used the source, or empty.
func (op SnapshotOp) Begin(r ledger.Snapshot, unusedSince string) (ledger.Snapshot, error) {
	known, found, err := op.Store.Records.Snapshot(op.content, op.cluster)
	if err != nil || found {
		return known, err
	}
	begun := *r.CopyOf
	begun.Began, begun.UnusedSince = new(time.Now().UTC().Truncate(time.Microsecond)), unusedSince
	r.Content, r.Cluster, r.CopyOf = op.content, op.cluster, &begun
	r.Created = *begun.Began
	return r, op.Store.Records.BeginSnapshot(r)
}

// Complete records that the copy is whole and how it went, and moves the tree beside the record, which it returns.
func (op SnapshotOp) Complete(ctx context.Context, result share.Copied, used ledger.Use) (ledger.Snapshot, error) {
	r, found, err := op.Find(ctx)
	if err == nil && !found {
		err = fmt.Errorf("snapshot %s: %w", op.content, ledger.ErrLost)
	}
	if err != nil || r.Whole() {
		return r, err
	}
	if r.Directory, err = op.Store.Dirs.Copied(op.Own()); err != nil {
		return r, fmt.Errorf("look at the copy: %w", err)
	}
	whole := *r.CopyOf
	whole.Ended, whole.Used = new(time.Now().UTC().Truncate(time.Microsecond)), used
	whole.Files, whole.Bytes = result.Files, result.Cloned+result.Server+result.Read
	whole.Changed, whole.FirstChanged = result.Changed, result.FirstChanged
	whole.LeftOut, whole.FirstLeftOut = result.LeftOut, result.FirstLeftOut
	r.CopyOf = &whole
	if err := op.Store.Records.UpdateSnapshot(r); err != nil {
		return r, err
	}
	return r, op.keepCopy(ctx, r)
}

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
	klog.FromContext(ctx).Info("Kept snapshot, although its VolumeSnapshotContent goes", "snapshot", op.content, "path", ledger.SnapshotPath(op.Own()))
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
	r, found, err := op.Store.Records.Snapshot(op.content, op.cluster)
	if err != nil || !found || !r.Kept() || !over(r.Until) {
		return err
	}
	return op.Discard(ctx)
}

// Discard moves the tree of the snapshot, or what there is of its copy, into the trash, and its record after it. It is no error if
// there is none. A tree that is not the one on record is not removed.
func (op SnapshotOp) Discard(ctx context.Context) error {
	r, found, err := op.Store.Records.Snapshot(op.content, op.cluster)
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
		if trash, err = op.inTrash(r); err != nil {
			return err
		}
	}
	if trash == "" {
		err = op.Store.Records.RemoveSnapshot(r)
	} else {
		err = op.Store.Records.DiscardSnapshot(r, trash)
	}
	if err == nil {
		klog.FromContext(ctx).Info("Removed snapshot", "snapshot", op.content, "trash", trash)
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
	return trashName(ledger.Record{PV: op.content, Cluster: op.cluster}, move)
}

// inTrash returns what an earlier call has moved into the trash and whose record did not follow, or an empty name.
func (op SnapshotOp) inTrash(r ledger.Snapshot) (string, error) {
	names, err := op.Store.Records.ListTrash()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if !volpath.IsOwnOf(name, op.content, op.cluster) {
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

// Record returns the record of the snapshot as it is, and false if there is none.
func (op SnapshotOp) Record() (ledger.Snapshot, bool, error) {
	return op.Store.Records.Snapshot(op.content, op.cluster)
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
		klog.FromContext(ctx).Info("Removed what was copied for a snapshot that is gone", "snapshot", op.content, "trash", trash)
	}
	return err
}

// ActiveDirectory returns the directory of the volume that is to be copied, which must still be that volume's.
func ActiveDirectory(store ledger.Store, of ledger.Copy) (share.CopyFrom, error) {
	path, err := volpath.ParseRecorded(of.Path)
	if err != nil {
		return share.CopyFrom{}, err
	}
	r, found, err := store.Records.Own(path, of.PV, of.Cluster)
	if err != nil {
		return share.CopyFrom{}, err
	}
	if !found || r.State != ledger.Active {
		return share.CopyFrom{}, refusal.Refuse(refusal.ReasonSource, "the volume of claim %q, which is to be copied, is gone, or was released meanwhile", of.Claim.Name)
	}
	return share.CopyFrom{Path: path, Identity: r.Directory}, nil
}

// SnapshotTree returns the tree of the snapshot that a copy is of. Its Path is the snapshot's own name.
func SnapshotTree(store ledger.Store, of ledger.Copy) (share.CopyFrom, error) {
	r, found, err := store.Records.SnapshotOf(of.Path)
	if err != nil {
		return share.CopyFrom{}, err
	}
	if !found || !r.Whole() {
		return share.CopyFrom{}, refusal.Refuse(refusal.ReasonSource, "the snapshot that was to be restored is gone: delete this claim, and make it anew from another source")
	}
	return share.CopyFrom{Path: volpath.SnapshotTree(of.Path), Identity: r.Directory}, nil
}
