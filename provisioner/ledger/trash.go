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

// trashRecord is the file name of a record in the trash, beside the directory it belongs to.
const trashRecord = "record" + recordSuffix

// Discard moves r's record of path into the trash, beside the directory that was set aside there as
// own, and so frees the path. In a repeat the record is gone, which is no error.
func (l *Ledger) Discard(path volpath.Path, r Record, own string) error {
	err := l.mayWrite()
	if err == nil {
		err = l.convert(path)
	}
	if err == nil {
		err = l.share.RenameFile(directoryOf(path), fileOf(r), share.TrashDir+"/"+own, trashRecord)
	}
	if errors.Is(err, fs.ErrNotExist) { // either the record or the directory in the trash is gone
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

// ListTrash returns the sorted own names of the directories in the trash.
func (l *Ledger) ListTrash() ([]string, error) {
	names, err := l.share.ListMeta(share.TrashDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, recordSuffix) // layout 1 kept <name>.json beside the directory <name>
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Discarded returns the record of a directory in the trash, or false if it has none or the record
// cannot be read. The record is for information only.
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

// RemoveDiscarded removes the record of a directory that is gone from the trash, and then the empty
// directory that held both.
func (l *Ledger) RemoveDiscarded(own string) error {
	if share.IsFirstTrash(own) {
		return l.share.RemoveFile(share.TrashDir, own+recordSuffix)
	}
	if err := l.share.RemoveFile(share.TrashDir+"/"+own, trashRecord); err != nil {
		return err
	}
	return l.share.RemoveEmptyDirectory(share.TrashDir, own)
}
