package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// ErrNotTrash says that a directory in the trash is not emptied: a record says that it is
// a volume's, or it is not the one that was released.
var ErrNotTrash = errors.New("it is not removed")

// LookBeforeEmptying says which directory the trash has under a name, just before that is
// emptied: nil if there is none. A directory that a living record names came there late,
// from a call that was under way when its path changed hands, and goes back to its path.
// One that others have to decide about is an ErrNotTrash.
func (s *Steps) LookBeforeEmptying(ctx context.Context, on Share, own string) (id *share.Identity, r ledger.Record, err error) {
	var living ledger.Record
	err = on.Do(ctx, "look into the trash at "+own, func(_ context.Context, store ledger.Store) error {
		r, _ = store.Records.Discarded(own)
		if id, err = inTrash(store, own); err != nil || id == nil {
			return err
		}
		living, err = named(store, r, id)
		return err
	})
	switch {
	case err != nil || id == nil:
		return nil, r, err
	case living.PV == "":
		if r.PV != "" && r.Directory.Match(id) == share.Different {
			return nil, r, fmt.Errorf("%w: it is another directory than the one that was released; move it to where it belongs, or remove it by hand", ErrNotTrash)
		}
		return id, r, nil
	case share.IsFirstTrash(own):
		return nil, r, fmt.Errorf("%w: it is that of volume %s; move it back to %q", ErrNotTrash, living.PV, living.Path)
	case living.Cluster != s.config.Cluster:
		return nil, r, fmt.Errorf("%w: it is that of volume %s of another cluster, whose claimdir puts it back", ErrNotTrash, living.PV)
	case volpath.IsOwnOf(own, living.PV, living.Cluster):
		return nil, r, refusal.Postpone(refusal.ReasonBusy, "the release of volume %s goes on with it", living.PV)
	}
	return nil, r, s.putBackFromTrash(ctx, on, own, living)
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
// none, all records are read.
func named(store ledger.Store, r ledger.Record, id *share.Identity) (ledger.Record, error) {
	if path, err := volpath.ParseRecorded(r.Path); err == nil && r.PV != "" {
		all, err := store.Records.LookupAll(path)
		for _, living := range all {
			if living.Directory.Match(id) == share.Same {
				return living, nil
			}
		}
		return ledger.Record{}, err
	}
	for living, err := range store.Records.Records() {
		if err != nil && !errors.Is(err, ledger.ErrDamaged) {
			return ledger.Record{}, err
		}
		if err == nil && living.Directory.Match(id) == share.Same {
			return living, nil
		}
	}
	return ledger.Record{}, nil
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
		if err != nil || !found || now.Directory.Match(id) != share.Same {
			return err
		}
		_, err = op.putBack(ctx, now, &place{in: share.TrashDir, own: own, id: id})
		return err
	})
}
