package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

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

// TrashedAt returns when a directory came into the trash, or when its removal began, by the server's clock. The error is
// fs.ErrNotExist if it is gone.
func (l *Ledger) TrashedAt(own string) (time.Time, error) {
	return l.share.MetaChanged(share.TrashDir, own)
}

// Discarded returns the record of a directory in the trash, or false if it has none or a damaged one.
func (l *Ledger) Discarded(own string) (r Record, found bool, err error) {
	in, name := share.TrashDir+"/"+own, trashRecord
	if share.IsFirstTrash(own) {
		in, name = share.TrashDir, own+recordSuffix
	}
	data, err := l.share.ReadFile(in, name)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the record of %s in the trash: %w", own, err)
	}
	if json.Unmarshal(data, &r) != nil {
		return Record{}, false, nil
	}
	return r, true, nil
}

// Trashed is a directory in the trash that a volume had until its release.
type Trashed struct {
	Own    string // its name in the trash
	Record Record // of the volume
	Begun  bool   // its removal has begun: something may be missing in it
}

// Path returns where the directory is, relative to the share, for messages.
func (t Trashed) Path() string { return share.TrashPath(t.Own, t.Begun) }

// TrashOf returns the directory that the trash has of a volume of a path, the latest if there are
// several, or false if it has none. What was an archive or a retained directory before it came into the
// trash does not count: somebody decided about it, or its time was over. It changes nothing.
func (l *Ledger) TrashOf(pv, cluster string, path volpath.Path) (t Trashed, found bool, err error) {
	names, err := l.ListTrash()
	if err != nil {
		return Trashed{}, false, fmt.Errorf("list the trash: %w", err)
	}
	for _, own := range names {
		if share.IsFirstTrash(own) || !volpath.IsOwnOf(own, pv, cluster) || len(own) < len(t.Own) { // "-10" is later than "-9"
			continue
		}
		r, recorded, err := l.Discarded(own)
		if err != nil {
			return Trashed{}, false, err
		}
		if !recorded || r.State != Active || r.PV != pv || r.Cluster != cluster || r.Path != path.String() {
			continue
		}
		there, begun, err := l.share.Trashed(own)
		if err != nil {
			return Trashed{}, false, fmt.Errorf("look at what is in the trash of volume %s: %w", pv, err)
		}
		if there {
			t, found = Trashed{own, r, begun}, true
		}
	}
	return t, found, nil
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
