package snapshot

import (
	"context"
	"errors"
	"io/fs"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
)

// replaced is a snapshot whose tree is another directory than its record says: it was put back from a copy, or the whole share was.
type replaced struct {
	content string
	tree    *share.Identity
}

// renew records the trees that were replaced, as the sweep does with the directories of volumes: otherwise such a snapshot would be
// refused for ever.
func (s *Snapshotter) renew(ctx context.Context, on *lane, all []ledger.Snapshot) error {
	var found []replaced
	err := on.keeper.Background(ctx, "look at the trees of the snapshots", func(ctx context.Context, store ledger.Store) (err error) {
		found, err = findReplaced(ctx, store, all)
		return err
	})
	for _, f := range found {
		if err != nil {
			break
		}
		err = s.on(ctx, on, f.content, "renew", func(ctx context.Context, op steps.SnapshotOp) error { return op.Renew(ctx, f.tree) })
		if isBusy(err) {
			err = nil
		}
	}
	return err
}

// findReplaced returns the snapshots whose trees were replaced by directories that no record of something else names.
func findReplaced(ctx context.Context, store ledger.Store, all []ledger.Snapshot) (found []replaced, err error) {
	trees, err := otherTrees(ctx, store, all)
	if err != nil || len(trees) == 0 {
		return nil, err
	}
	drop := func(content string, id *share.Identity) {
		if id != nil && trees[id.Number].content != content && trees[id.Number].tree.Match(id) == share.Same {
			delete(trees, id.Number)
		}
	}
	for r, err := range store.Records.Records() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if share.IsStale(err) {
			return nil, err
		}
		drop("", r.Directory)
	}
	for _, r := range all {
		drop(r.Content, r.Directory)
	}
	for _, f := range trees {
		found = append(found, f)
	}
	return found, nil
}

// otherTrees returns the snapshots whose trees are not the directories that their records say, by file number.
func otherTrees(ctx context.Context, store ledger.Store, all []ledger.Snapshot) (map[uint64]replaced, error) {
	trees := map[uint64]replaced{}
	for _, r := range all {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !r.Whole() {
			continue
		}
		tree, err := store.Dirs.Snapshot(r.Own())
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, share.ErrNotDirectory): // doctor reports it
		case err != nil:
			return nil, err
		case r.Directory.Match(tree) != share.Same:
			trees[tree.Number] = replaced{r.Content, tree}
		}
	}
	return trees, nil
}
