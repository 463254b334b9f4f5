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

	of SnapshotOf
}

// SnapshotOf names a snapshot: by its VolumeSnapshotContent, and by the cluster that has or had that.
type SnapshotOf struct{ Content, Cluster string }

// Own is the snapshot's own name.
func (of SnapshotOf) Own() string { return ledger.SnapshotOwn(of.Content, of.Cluster) }

// OnSnapshot runs work on a snapshot, alone: see On.
func (s *Steps) OnSnapshot(ctx context.Context, on Share, of SnapshotOf, name string, work func(ctx context.Context, op SnapshotOp) error) error {
	path, err := volpath.ParseRecorded(of.Own()) // no volume has such a path, and the lock needs one
	if err != nil {
		return refusal.Refuse(refusal.ReasonVolume, "snapshot %s: %w", of.Content, err)
	}
	return s.On(ctx, on, path, name, func(ctx context.Context, op Op) error {
		return work(ctx, SnapshotOp{Steps: s, Store: op.Store, of: of})
	})
}

// Own is the snapshot's own name.
func (op SnapshotOp) Own() string { return op.of.Own() }

// Find returns the record of the snapshot, and false if there is none. If the copy is whole and its tree was not moved beside the
// record, because an earlier operation was cut off, Find moves it. The error is ErrNoTree if the tree of a whole snapshot is gone.
func (op SnapshotOp) Find(ctx context.Context) (ledger.Snapshot, bool, error) {
	r, found, err := op.Store.Records.Snapshot(op.of.Content, op.of.Cluster)
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
		return r, true, fmt.Errorf("%w: %s is another directory than the one that was made; one that was put back from a copy counts after some minutes", ErrNoTree, ledger.SnapshotPath(op.Own()))
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
		klog.FromContext(ctx).Info("Made snapshot", "snapshot", op.of.Content, "path", ledger.SnapshotPath(op.Own()))
	}
	return err
}

// Begin records a snapshot that is to be made as r says, unless an earlier call has, and returns the record as it is now.
// unusedSince is since when no pod has used the source, or empty.
func (op SnapshotOp) Begin(r ledger.Snapshot, unusedSince string) (ledger.Snapshot, error) {
	known, found, err := op.Store.Records.Snapshot(op.of.Content, op.of.Cluster)
	if err != nil || found {
		return known, err
	}
	begun := *r.CopyOf
	begun.Began, begun.UnusedSince = new(time.Now().UTC().Truncate(time.Microsecond)), unusedSince
	r.Content, r.Cluster, r.CopyOf = op.of.Content, op.of.Cluster, &begun
	r.Created = *begun.Began
	return r, op.Store.Records.BeginSnapshot(r)
}

// Complete records that the copy is whole and how it went, and moves the tree beside the record, which it returns.
func (op SnapshotOp) Complete(ctx context.Context, result share.Copied, used ledger.Use) (ledger.Snapshot, error) {
	r, found, err := op.Find(ctx)
	if err == nil && !found {
		err = fmt.Errorf("snapshot %s: %w", op.of.Content, ledger.ErrLost)
	}
	if err != nil || r.Whole() {
		return r, err
	}
	if r.Directory, err = op.Store.Dirs.Copied(op.Own()); err != nil {
		return r, fmt.Errorf("look at the copy: %w", err)
	}
	r.CopyOf = wholeCopy(r.CopyOf, result, used, time.Now().UTC().Truncate(time.Microsecond))
	if err := op.Store.Records.UpdateSnapshot(r); err != nil {
		return r, err
	}
	return r, op.keepCopy(ctx, r)
}

// Renew records tree as the tree of the snapshot, if it is at its place.
func (op SnapshotOp) Renew(ctx context.Context, tree *share.Identity) error {
	r, found, err := op.Record()
	if err != nil || !found || !r.Whole() {
		return err
	}
	there, err := op.Store.Dirs.Snapshot(op.Own())
	if err == nil && there.Match(tree) != share.Same {
		err = share.ErrChanged
	}
	if err != nil {
		return err
	}
	r.Directory = there
	if err := op.Store.Records.UpdateSnapshot(r); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Renewed the record of a snapshot whose tree was replaced: it was put back from a copy, or the share was", "content", op.of.Content)
	return nil
}

// Record returns the record of the snapshot as it is, and false if there is none.
func (op SnapshotOp) Record() (ledger.Snapshot, bool, error) {
	return op.Store.Records.Snapshot(op.of.Content, op.of.Cluster)
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
