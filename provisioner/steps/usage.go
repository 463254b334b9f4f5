package steps

import (
	"context"

	"claimdir/provisioner/ledger"
)

// RecordUsage writes how much the directory of the path held, if its record is still that of u's volume.
func (op Op) RecordUsage(u ledger.Usage) error {
	record, found, err := op.Store.Records.Lookup(op.Path)
	if err != nil || !found || !u.OfVolume(record) {
		return err
	}
	return op.Store.Records.WriteUsage(op.Path, u)
}

// ForgetUsage removes what is known of a path that has no record any more.
func (op Op) ForgetUsage() error {
	_, found, err := op.Store.Records.Lookup(op.Path)
	if err != nil || found {
		return err
	}
	return op.Store.Records.RemoveUsage(op.Path)
}

// RecordTrashUsage writes how much the trash of a share held.
func (*Steps) RecordTrashUsage(ctx context.Context, on Share, u ledger.Usage) error {
	return on.Do(ctx, "write the usage of the trash", func(_ context.Context, store ledger.Store) error {
		return store.Records.WriteTrashUsage(u)
	})
}
