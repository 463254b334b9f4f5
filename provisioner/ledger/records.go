package ledger

import (
	"errors"
	"io/fs"
	"iter"

	"claimdir/provisioner/volpath"
)

// Records returns all records of the share, in the order of their file names.
// Each comes alone or as an error that names its file; one that is damaged or
// of a newer layout does not end the listing. One that goes meanwhile is
// passed over.
func (l *Ledger) Records() iter.Seq2[Record, error] {
	return l.records(func(string) bool { return true })
}

// Archives returns the records of archives, as Records does. It lists the names of
// all records, but reads only those that may be of archives and that skip does not
// know: it is given the record's file as FileOf returns it.
func (l *Ledger) Archives(skip func(file string) bool) iter.Seq2[Record, error] {
	named := l.records(func(name string) bool { return volpath.NamedAsArchive(name) && !skip(fileNamed(name)) })
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

// records returns those whose names are wanted.
func (l *Ledger) records(wanted func(name string) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		names, err := l.share.ListMeta(volumesDir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, name := range names {
			if !wanted(name) {
				continue
			}
			r, err := l.read(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Restoring returns the record of the volume that is being made from the archive, if
// there is one. It reads all records; one that is damaged may be that one, and is an
// error.
func (l *Ledger) Restoring(archive volpath.Path) (r Record, restoring bool, err error) {
	var damaged error
	for r, err := range l.Records() {
		switch {
		case errors.Is(err, ErrDamaged):
			damaged = errors.Join(damaged, err)
		case err != nil:
			return Record{}, false, err
		case r.Restoring() && r.RestoredFrom == archive.String():
			return r, true, nil
		}
	}
	return Record{}, false, damaged
}

// FileOf is the file of path's record, from the root of the share, for people
// who are to look at it.
func FileOf(path volpath.Path) string { return fileNamed(key(path) + recordSuffix) }

func fileNamed(name string) string { return ".claimdir/" + volumesDir + "/" + name }
