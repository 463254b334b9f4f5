package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// trashRecord is the name of a record in the trash, beside the directory that was set
// aside there.
const trashRecord = "record" + recordSuffix

// Discard moves r's record of path into the trash, beside the directory that was set
// aside there as own. The path is free then. A repeat finds no record, which is no error.
func (l *Ledger) Discard(path volpath.Path, r Record, own string) error {
	err := l.mayWrite()
	if err == nil {
		err = l.convert(path)
	}
	if err == nil {
		err = l.share.RenameFile(directoryOf(path), fileOf(r), share.TrashDir+"/"+own, trashRecord)
	}
	if errors.Is(err, fs.ErrNotExist) { // either the record or what was set aside is gone
		err = l.share.RemoveFile(directoryOf(path), fileOf(r))
	}
	if err == nil {
		err = l.share.RemoveEmptied(recordsDir, key(path))
	}
	if err != nil {
		return fmt.Errorf("record that %s is in the trash: %w", path, err)
	}
	return nil
}

// ListTrash returns the names of what is in the trash, sorted.
func (l *Ledger) ListTrash() ([]string, error) {
	names, err := l.share.ListMeta(share.TrashDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, recordSuffix) // the record that layout 1 had beside a directory
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Discarded returns the record of what is in the trash, or false if there is none or it
// cannot be read: it only says whose it was.
func (l *Ledger) Discarded(own string) (r Record, found bool) {
	in, name := share.TrashDir+"/"+own, trashRecord
	if share.IsFirstTrash(own) {
		in, name = share.TrashDir, own+recordSuffix
	}
	data, err := l.share.ReadFile(in, name)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return Record{}, false
	}
	return r, true
}

// RemoveDiscarded removes the record of a directory that is gone from the trash, and then
// the directory of its own that it had.
func (l *Ledger) RemoveDiscarded(own string) error {
	if share.IsFirstTrash(own) {
		return l.share.RemoveFile(share.TrashDir, own+recordSuffix)
	}
	if err := l.share.RemoveFile(share.TrashDir+"/"+own, trashRecord); err != nil {
		return err
	}
	return l.share.RemoveEmptyDirectory(share.TrashDir, own)
}
