package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Discard moves the record of path into the trash, beside the directory that has
// the name there and was path's. The path is free then. A repeat finds no record,
// which is no error.
func (l *Ledger) Discard(path volpath.Path, name string) error {
	err := l.share.RenameMeta(file(path), share.TrashRecord(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record that %s is in the trash: %w", path, err)
	}
	return nil
}

// Discarded returns the record of a directory in the trash, or false if there is
// none or it cannot be read: it only says whose the directory was.
func (l *Ledger) Discarded(name string) (Record, bool) {
	data, err := l.share.ReadMeta(share.TrashRecord(name))
	var r Record
	if err != nil || json.Unmarshal(data, &r) != nil {
		return Record{}, false
	}
	return r, true
}

// ForgetDiscarded removes the record of a directory that is gone from the trash.
func (l *Ledger) ForgetDiscarded(name string) error {
	return l.share.RemoveMeta(share.TrashRecord(name))
}
