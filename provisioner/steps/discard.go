package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// discard moves the directory and then its record into the trash: the path is
// free, and what empties the trash finds both. A directory that is not the one on record
// is archived: it was put there by a copy, or a server that renumbers.
func (op Op) discard(ctx context.Context, r ledger.Record) error {
	logger := klog.FromContext(ctx)
	id, gone, err := op.present(ctx, r)
	if err != nil {
		return err
	}
	if id == nil && gone != nil && gone.in == share.TrashDir { // by an earlier call
		return op.Store.Records.Discard(op.Path, r, gone.own)
	}
	if id == nil {
		return op.letGo(ctx, r)
	}
	if r.Directory.Match(id) == share.Different {
		archive, err := op.archive(ctx, r)
		if err == nil {
			op.config.Report(ctx, r, EventArchived, fmt.Sprintf("the directory of the released volume %s (claim %s/%s) was to be deleted, and is another one than its record says: "+
				"it was copied, restored or renumbered. It is kept as archive %s; remove that if it is not needed: claimdir archive purge %s", r.PV, r.Claim.Namespace, r.Claim.Name, archive, r.PV))
		}
		return err
	}
	own, err := op.trash(r, op.Path, id)
	if share.CannotMove(err) {
		logger.Info("The directory cannot be moved into the trash, removing it where it is", "because", err.Error())
		if err := op.Store.Dirs.Remove(op.Path, id); err != nil {
			return err
		}
		logger.Info("Removed directory")
		return op.Store.Records.Remove(op.Path, r)
	}
	if err != nil {
		return err
	}
	logger.Info("Moved directory into the trash", "trash", own)
	return op.Store.Records.Discard(op.Path, r, own)
}

// trash sets a directory aside in the trash, under the first name of the volume's that is
// free, which it returns.
func (op Op) trash(r ledger.Record, path volpath.Path, id *share.Identity) (own string, err error) {
	return trashName(r, func(own string) error { return op.Store.Dirs.SetAside(path, share.TrashDir, own, id) })
}

// trashName calls move with the volume's names in the trash until one is free, which it returns.
func trashName(r ledger.Record, move func(own string) error) (own string, err error) {
	for n := 1; ; n++ {
		own = volpath.Trash(r.PV, r.Cluster, n)
		if err = move(own); !errors.Is(err, fs.ErrExist) {
			return own, err
		}
	}
}

// present returns which directory a released volume has at its path. If it has none,
// because this release has moved it into the trash or archived it, it returns where that
// is; one that is somewhere else comes back.
func (op Op) present(ctx context.Context, r ledger.Record) (id *share.Identity, gone *place, err error) {
	id, gone, err = op.locate(r)
	if err != nil || gone == nil || gone.ends(r) {
		return id, gone, err
	}
	id, err = op.putBack(ctx, r, gone)
	return id, nil, err
}

// ends reports whether the release of the volume ends with its directory there.
func (p *place) ends(r ledger.Record) bool {
	if p.in == "" {
		return volpath.IsArchiveOf(p.archive, r.Claim.Namespace, r.Claim.Name, r.PV)
	}
	return p.in == share.TrashDir && volpath.IsOwnOf(p.own, r.PV, r.Cluster)
}

// letGo ends the release of a volume whose directory is gone.
func (op Op) letGo(ctx context.Context, r ledger.Record) error {
	klog.FromContext(ctx).Info("Directory is already gone, the volume is let go")
	return op.Store.Records.Remove(op.Path, r)
}

func (op Op) retain(ctx context.Context, r ledger.Record) error {
	id, err := op.directory(ctx, r)
	if err != nil {
		return err
	}
	if id == nil {
		return op.letGo(ctx, r)
	}
	if r.State != ledger.Retained {
		if err := op.Store.Records.Retain(op.Path, r, id); err != nil {
			return err
		}
		klog.FromContext(ctx).Info("Kept directory")
	}
	return nil
}
