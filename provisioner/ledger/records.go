package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Lookup returns the record of path, and false if there is none. An error means that the owner is
// unknown; the caller must do nothing.
func (l *Ledger) Lookup(path volpath.Path) (Record, bool, error) {
	all, err := l.LookupAll(path)
	if err != nil || len(all) == 0 {
		return Record{}, false, err
	}
	return all[0], true, nil
}

// LookupAll returns the records of path, ordered by their owners' names. A path has at most one
// record, unless somebody has copied older records back to the share.
func (l *Ledger) LookupAll(path volpath.Path) (all []Record, err error) {
	for r, err := range l.of(key(path), decodeAt(path)) {
		if err != nil {
			return nil, fmt.Errorf("record of %s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// Own returns the record that the named volume has of path, and false if it has none. Records of
// other volumes do not matter.
func (l *Ledger) Own(path volpath.Path, pv, cluster string) (Record, bool, error) {
	own := Record{PV: pv, Cluster: cluster}
	for range 2 {
		r, handed, err := l.read(key(path), fileOf(own), decodeAt(path))
		if err == nil && handed {
			err = l.finish(path, r)
		}
		if err == nil {
			return r, true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Record{}, false, fmt.Errorf("record of %s: %w", path, err)
		}
		unsettled, err := l.share.Unsettled(directoryOf(path), fileOf(own))
		if err != nil {
			return Record{}, false, fmt.Errorf("record of %s: %w", path, err)
		}
		if !unsettled {
			r, found, err := l.first(path)
			return r, found && r.sameVolume(own), err
		}
	}
	if err := l.clear(path); err != nil {
		return Record{}, false, err
	}
	return Record{}, false, fmt.Errorf("record of %s: %w", path, errUnsettled)
}

// errUnsettled says that a record does not exist, but may be about to appear.
var errUnsettled = errors.New("it is being written, or a write was cut off; retried automatically, for up to an hour")

// Empty reports whether the share has no record, of any cluster.
func (l *Ledger) Empty() (bool, error) {
	for _, err := range l.Records() {
		if errors.Is(err, ErrDamaged) {
			err = nil
		}
		return false, err
	}
	return true, nil
}

// of yields the records in the directory of a key or, if there are none, the key's record of layout
// 1.
func (l *Ledger) of(key string, decode decoder) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		found := false
		for range 2 {
			names, err := l.names(key)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, name := range names {
				if !strings.HasSuffix(name, recordSuffix) {
					continue // another process is writing it
				}
				r, _, err := l.read(key, name, decode)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				found = true
				if !yield(r, err) {
					return
				}
			}
			if found || len(names) == 0 {
				break
			}
			// While an NFS client replaces a record that it has open, the record is missing for a
			// moment.
		}
		if found || !l.layout.first.Load() {
			return
		}
		data, err := l.share.ReadFile(firstVolumesDir, key+recordSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		var r Record
		if err == nil {
			r, err = decode(data, firstNamed(key))
		}
		yield(r, err)
	}
}

// names lists the directory of a key. The directory may be absent.
func (l *Ledger) names(key string) ([]string, error) {
	names, err := l.share.ListMeta(recordsDir + "/" + key)
	if errors.Is(err, share.ErrNotDirectory) {
		err = fmt.Errorf("%w: %s: %w", ErrDamaged, keyNamed(key), err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// decoder decodes a record. file is its name in messages.
type decoder func(data []byte, file string) (Record, error)

// decodeAt returns the decoder for the records of path.
func decodeAt(path volpath.Path) decoder {
	return func(data []byte, _ string) (Record, error) { return decode(data, path) }
}

// Records yields all records of the share in the order of their keys. For a record that is damaged
// or of a newer layout it yields an error that names the file, and goes on. It skips records that
// are removed meanwhile.
func (l *Ledger) Records() iter.Seq2[Record, error] {
	return l.records(l.keys, func(string) bool { return true })
}

// RecordsBut yields the records of which skip returns false, as Records does. It lists all, but reads only these. skip
// gets the path that FileOf returns, of each record once.
func (l *Ledger) RecordsBut(skip func(file string) bool) iter.Seq2[Record, error] {
	return l.records(l.keys, func(key string) bool { return !skip(keyNamed(key)) })
}

// Archives yields the records of archives as Records does. It lists the keys of all records, but
// reads only those whose key may be of an archive and for which skip returns false. skip gets the
// path that FileOf returns.
func (l *Ledger) Archives(skip func(file string) bool) iter.Seq2[Record, error] {
	named := l.records(l.keys, func(key string) bool { return volpath.NamedAsArchive(key) && !skip(keyNamed(key)) })
	return func(yield func(Record, error) bool) {
		for r, err := range named {
			if err == nil && r.State != Archived {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// records yields the records whose keys list returns and that are wanted.
func (l *Ledger) records(list func() ([]string, error), wanted func(key string) bool) iter.Seq2[Record, error] {
	return l.each(list, wanted, func(string) error { return nil })
}

// each yields the records whose keys list returns and that are wanted, and calls none for each such key
// without a record.
func (l *Ledger) each(list func() ([]string, error), wanted func(key string) bool, none func(key string) error) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		keys, err := list()
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, key := range keys {
			if !wanted(key) {
				continue
			}
			found := false
			for r, err := range l.of(key, func(data []byte, file string) (Record, error) { return decodeKeyed(data, key, file) }) {
				if found = true; !yield(r, err) {
					return
				}
			}
			if !found {
				if err := none(key); err != nil && !yield(Record{}, err) {
					return
				}
			}
			l.share.Drop(recordsDir + "/" + key) // otherwise the view would keep every directory open
		}
	}
}

// keys returns the sorted keys of all paths that have records.
func (l *Ledger) keys() ([]string, error) {
	keys, err := l.share.ListMeta(recordsDir)
	if errors.Is(err, fs.ErrNotExist) && l.layout.first.Load() { // nothing was written in layout 2 yet
		keys, err = nil, nil
	}
	if err != nil || !l.layout.first.Load() {
		return keys, err
	}
	names, err := l.firstNames()
	for _, name := range names {
		keys = append(keys, strings.TrimSuffix(name, recordSuffix))
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// Find returns the first record for which is returns true, in the order of Records. If there is
// none and records are damaged, the error is their ErrDamaged, because one of them might be it.
func (l *Ledger) Find(is func(Record) bool) (r Record, found bool, err error) {
	var damaged error
	for r, err := range l.Records() {
		switch {
		case errors.Is(err, ErrDamaged):
			damaged = errors.Join(damaged, err)
		case err != nil:
			return Record{}, false, err
		case is(r):
			return r, true, nil
		}
	}
	return Record{}, false, damaged
}

// Restoring returns the record of the volume that is being restored from the archive, if there is
// one; see Find.
func (l *Ledger) Restoring(archive volpath.Path) (r Record, restoring bool, err error) {
	return l.Find(func(r Record) bool { return r.Restoring() && r.RestoredFrom == archive.String() })
}

// ServerTime returns the time by the clock of the file server.
func (l *Ledger) ServerTime() (time.Time, error) { return l.share.ServerTime(stagingDir, "time."+l.id) }

// FileOf returns the directory that holds the record of path, relative to the share.
func FileOf(path volpath.Path) string { return keyNamed(key(path)) }

// File returns the file of the record r of path, relative to the share, for messages.
func File(path volpath.Path, r Record) string {
	if r.Layout == firstLayout {
		return firstNamed(key(path))
	}
	return fileNamed(key(path), fileOf(r))
}

func keyNamed(key string) string { return ".claimdir/" + recordsDir + "/" + key }

func fileNamed(key, file string) string { return keyNamed(key) + "/" + file }

func firstNamed(key string) string { return ".claimdir/" + firstVolumesDir + "/" + key + recordSuffix }
