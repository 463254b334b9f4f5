package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// ErrNotTrash says that a directory in the trash is not emptied: a record says that it is
// a volume's, or it is not the one that was released.
var ErrNotTrash = errors.New("it is not removed")

// EmptyTrash removes what the trash has under a name, and its record, unless a record says
// that it is a volume's: that came there late, from a call that was under way when its path
// changed hands, and goes back to its path. One that others have to decide about is an
// ErrNotTrash, as is one of a volume whose PersistentVolume exists again; if that cannot be
// asked, the error is an ErrNotAsked. One whose release goes on is a refusal with
// refusal.ReasonBusy. It looks when the directory is open, and empties what it has opened. turn
// ends the emptying.
func (s *Steps) EmptyTrash(ctx, turn context.Context, on Share, own string, remover *share.Remover) (removed share.Removed, r ledger.Record, err error) {
	var living, whose ledger.Record
	var gone share.Removed
	err = on.Do(ctx, "empty the trash of "+own, func(ctx context.Context, store ledger.Store) error {
		var err error
		if whose, _, err = store.Records.Discarded(own); err != nil {
			return err
		}
		more, err := store.Dirs.EmptyTrash(turn, own, func(id *share.Identity, begun bool) (err error) {
			if living, err = named(store, whose, id); err != nil {
				return err
			}
			if err = s.mayEmpty(own, id, whose, living, begun); err == nil {
				asked := whose
				asked.Directory = id
				err = s.checkNotBackFromTrash(ctx, store, asked, !begun && !share.IsFirstTrash(own))
			}
			return err
		}, remover)
		gone.Files, gone.Directories = gone.Files+more.Files, gone.Directories+more.Directories
		if err != nil {
			return err
		}
		return store.Records.RemoveDiscarded(own)
	})
	if ctx.Err() != nil { // the operation may still be under way, and write gone and whose
		if err == nil {
			err = context.Cause(ctx)
		}
		return share.Removed{}, ledger.Record{}, err
	}
	if errors.Is(err, errLiving) {
		err = s.putBackFromTrash(ctx, on, own, living)
	}
	return gone, whose, err
}

// errLiving says that a directory in the trash is to be put back.
var errLiving = errors.New("a volume has this directory")

// mayEmpty says why a directory in the trash, which living names if it names a volume, may
// not be emptied. begun says that its removal has begun.
func (s *Steps) mayEmpty(own string, id *share.Identity, r, living ledger.Record, begun bool) error {
	switch {
	case living.PV == "":
		if r.PV != "" && r.Directory.Match(id) == share.Different {
			return fmt.Errorf("%w: it is another directory than the one that was released; move it to where it belongs, or remove it by hand", ErrNotTrash)
		}
		return nil
	case begun:
		return fmt.Errorf("%w: it is that of volume %s, and its removal had begun; move what is left of it, %s, back to %q", ErrNotTrash, living.PV, share.TrashPath(own, true), living.Path)
	case share.IsFirstTrash(own):
		return fmt.Errorf("%w: it is that of volume %s; move it back to %q", ErrNotTrash, living.PV, living.Path)
	case living.Cluster != s.config.Cluster:
		return fmt.Errorf("%w: it is that of volume %s of another cluster, whose claimdir puts it back", ErrNotTrash, living.PV)
	case volpath.IsOwnOf(own, living.PV, living.Cluster):
		return refusal.Postpone(refusal.ReasonBusy, "the release of volume %s goes on with it", living.PV)
	}
	return errLiving
}

// checkNotBackFromTrash returns an ErrNotTrash if the PersistentVolume of r, whose directory is in the
// trash, exists again and may need that. A release that goes on has a PersistentVolume too, but one that
// is Released. What was an archive or a retained directory before was decided about. whole says that
// the directory can be put back.
func (s *Steps) checkNotBackFromTrash(ctx context.Context, store ledger.Store, r ledger.Record, whole bool) error {
	if r.State != ledger.Active || r.Cluster != s.config.Cluster {
		return nil
	}
	back, err := s.isBack(ctx, store, r, r.Path)
	switch {
	case err != nil || !back:
		return err
	case !whole:
		return fmt.Errorf("%w: PersistentVolume %s exists again, and this is what is left of its data; move it to %q by hand, or, if it is not needed, delete the claim", ErrNotTrash, r.PV, r.Path)
	}
	return fmt.Errorf("%w: PersistentVolume %s exists again, and this may be all its data: claimdir doctor --fix puts it back to %q; if it is not needed, delete the claim", ErrNotTrash, r.PV, r.Path)
}

func inTrash(store ledger.Store, own string) (*share.Identity, error) {
	look := store.Dirs.FirstTrash
	if !share.IsFirstTrash(own) {
		look = func(own string) (*share.Identity, error) { return store.Dirs.Aside(share.TrashDir, own) }
	}
	id, err := look(own)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, share.ErrNotDirectory): // a file, which no record ever names
		return &share.Identity{}, nil
	}
	return id, err
}

// named returns the record that names a directory in the trash, or none. Where the trash
// has a record, that says which path the directory had, which is enough; where it has
// none, all records are read. One that cannot be read may be the one that names it.
func named(store ledger.Store, r ledger.Record, id *share.Identity) (ledger.Record, error) {
	if path, err := volpath.ParseRecorded(r.Path); err == nil && r.PV != "" {
		if strings.Contains(r.Path, r.PV) { // no other volume ever has that path
			return ledger.Record{}, nil
		}
		all, err := store.Records.LookupAll(path)
		for _, living := range all {
			if living.Directory.Match(id) == share.Same {
				return living, nil
			}
		}
		return ledger.Record{}, err
	}
	living, _, err := store.Records.Find(func(living ledger.Record) bool { return living.Directory.Match(id) == share.Same })
	if errors.Is(err, ledger.ErrDamaged) {
		err = fmt.Errorf("%w as long as not all records can be read, one of which may name it: %w", ErrNotTrash, err)
	}
	return living, err
}

// putBackFromTrash brings a directory back to the path of the record that names it, if it
// still does.
func (s *Steps) putBackFromTrash(ctx context.Context, on Share, own string, living ledger.Record) error {
	path, err := volpath.ParseRecorded(living.Path)
	if err != nil {
		return err
	}
	return s.On(ctx, on, path, "put back "+living.PV, func(ctx context.Context, op Op) error {
		id, err := inTrash(op.Store, own)
		if err != nil || id == nil {
			return err
		}
		now, found, err := op.Store.Records.Own(path, living.PV, living.Cluster)
		if err != nil {
			return err
		}
		if !found || now.Directory.Match(id) != share.Same { // look again who has it now
			return refusal.Postpone(refusal.ReasonBusy, "volume %s has just lost its directory in the trash", living.PV)
		}
		_, err = op.putBack(ctx, now, &place{in: share.TrashDir, own: own, id: id})
		return err
	})
}
