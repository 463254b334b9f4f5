package steps

import (
	"context"
	"errors"
	"slices"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// LookAfter makes sure that a volume, whose PersistentVolume is bound, has its directory at
// its path, and brings that back if a call that came late moved it away.
func (op Op) LookAfter(ctx context.Context, pv string) error {
	r, found, err := op.Store.Records.Own(op.Path, pv, op.config.Cluster)
	if err != nil || !found || r.State != ledger.Active || r.Directory == nil {
		return err
	}
	_, err = op.original(ctx, r)
	return err
}

// original is directory, but for a path where a call that came late has made an empty
// directory after another one had moved the volume's away.
func (op Op) original(ctx context.Context, r ledger.Record) (*share.Identity, error) {
	id, err := op.directory(ctx, r)
	if err != nil || r.Directory.Match(id) != share.Different {
		return id, err
	}
	left, err := op.Store.Dirs.IsMarked(op.Path)
	if err != nil || !left {
		return id, err
	}
	found, err := op.findOwn(r)
	if err != nil || found == nil {
		return id, err
	}
	return op.putBack(ctx, r, found)
}

// Renew records which directory a volume, retained directory or archive has, where its
// record says another one, or none: it was copied, moved or restored, or an older claimdir
// recorded it. alone says that no other record names what is there now. It reports what
// the record said of it.
func (op Op) Renew(ctx context.Context, pv string, alone func(id *share.Identity) bool) (share.Match, error) {
	r, found, err := op.Store.Records.Own(op.Path, pv, op.config.Cluster)
	if err != nil || !found || r.State == ledger.Creating {
		return share.Same, err
	}
	id, err := op.original(ctx, r)
	if err != nil || id == nil {
		return share.Same, err
	}
	match := r.Directory.Match(id)
	if match == share.Same || !alone(id) {
		return share.Same, nil
	}
	r.Directory = id
	if err := op.Store.Records.Update(op.Path, r); err != nil {
		return share.Same, err
	}
	klog.FromContext(ctx).V(1).Info("Recorded which directory it is", "path", op.Path, "PV", r.PV)
	return match, nil
}

// BringBackAside brings back what was set aside and that nobody goes on with: a call that
// came late set it aside for a volume that is gone. It reports how many it brought back.
func (s *Steps) BringBackAside(ctx context.Context, on Share) (back int, err error) {
	var stray []ledger.Record
	err = on.Do(ctx, "look at what is set aside", func(_ context.Context, store ledger.Store) (err error) {
		stray, err = strayAside(store, s.config.Cluster)
		return err
	})
	for _, r := range stray {
		path, parseErr := volpath.ParseRecorded(r.Path)
		if parseErr != nil {
			continue
		}
		onErr := s.On(ctx, on, path, "bring back "+r.PV, func(ctx context.Context, op Op) error {
			now, found, err := op.Store.Records.Own(path, r.PV, r.Cluster)
			if err != nil || !found || now.Directory == nil {
				return err
			}
			if now.State == ledger.Archived {
				if err := op.checkRestoring(); err != nil {
					return err
				}
			}
			_, err = op.directory(ctx, now)
			return err
		})
		if onErr == nil {
			back++
		}
		err = errors.Join(err, onErr)
	}
	return back, err
}

// strayAside returns the records of the directories that are set aside for others than
// those that go on with them.
func strayAside(store ledger.Store, cluster string) ([]ledger.Record, error) {
	aside, err := listAside(store)
	if err != nil || len(aside) == 0 {
		return nil, err
	}
	var stray []ledger.Record
	restoring := map[string]bool{}
	for r, err := range store.Records.Records() {
		if errors.Is(err, ledger.ErrDamaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.Restoring() {
			restoring[r.RestoredFrom] = true
		}
		for own, id := range aside {
			if r.Cluster == cluster && r.Directory.Match(id) == share.Same && !volpath.IsOwnOf(own, r.PV, r.Cluster) {
				stray = append(stray, r)
				delete(aside, own)
				break
			}
		}
	}
	return slices.DeleteFunc(stray, func(r ledger.Record) bool { return restoring[r.Path] }), nil
}

// listAside returns which directories are set aside, by the own names of those that go on with them.
func listAside(store ledger.Store) (map[string]*share.Identity, error) {
	entries, err := store.Dirs.ListAside(share.MovingDir)
	aside := make(map[string]*share.Identity, len(entries))
	for _, e := range entries {
		if id, err := store.Dirs.Aside(share.MovingDir, e.Name); err == nil { // otherwise it is gone by now, or empty
			aside[e.Name] = id
		}
	}
	return aside, err
}
