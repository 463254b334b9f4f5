package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// A record that one volume takes over from another gets the new owner's name first and its
// content then (share.HandOverFile). The rename decides: a kill behind it leaves a file with
// the new owner's name and the old one's content, and the new content beside it, which
// counts for everybody from then on.

// read returns the record in the file name of a key's directory, and whether its content is
// still that of the volume that had it before.
func (l *Ledger) read(key, name string, decode decoder) (r Record, handed bool, err error) {
	for range 2 {
		if r, err = l.readOne(key, name, decode); err != nil || fileOf(r) == name {
			return r, false, err
		}
		next, err := l.readOne(key, share.Handed(name), decode)
		if err == nil && fileOf(next) == name {
			return next, true, nil
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
			return Record{}, false, err
		}
		// Absent, it may have come to its place since.
	}
	return Record{}, false, &unfinishedError{name: name, in: fileNamed(key, name), known: r}
}

func (l *Ledger) readOne(key, name string, decode decoder) (Record, error) {
	data, err := l.share.ReadFile(recordsDir+"/"+key, name)
	if err != nil {
		return Record{}, err
	}
	return decode(data, fileNamed(key, name))
}

// finish gives a record that was handed over its content.
func (l *Ledger) finish(path volpath.Path, r Record) error {
	if !l.layout.upgrades {
		return nil
	}
	in := directoryOf(path)
	err := l.share.RenameFile(in, share.Handed(fileOf(r)), in, fileOf(r))
	if errors.Is(err, fs.ErrNotExist) { // by another process, just now
		return nil
	}
	return err
}

// unfinishedError is a record with the name of one volume and the content of another, while
// nothing says what it is to hold. Only the volume of that name may go on with it: for all
// others the path is taken.
type unfinishedError struct {
	name, in string // the file, and its name for people
	known    Record
}

func (e *unfinishedError) Error() string {
	return fmt.Sprintf("%v in %s: it is that of volume %q (%s), which another volume began to take over: if that one's claim is gone, give the file back its name %s",
		ErrDamaged, e.in, e.known.PV, e.known.State, fileOf(e.known))
}

func (e *unfinishedError) Unwrap() []error {
	return []error{ErrDamaged, &TakenError{Owner: e.known, ForeignNamespace: true}}
}

// unfinishedOf returns the record that r's volume was cut off at taking over.
func unfinishedOf(err error, r Record) (Record, bool) {
	unfinished, ok := errors.AsType[*unfinishedError](err)
	if !ok || unfinished.name != fileOf(r) {
		return Record{}, false
	}
	return unfinished.known, true
}
