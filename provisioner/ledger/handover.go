package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// When one volume takes over a record from another, the file first gets the new owner's name and
// then the new content (share.HandOverFile). The rename decides. A kill after it leaves a file with
// the new owner's name and the old content, and beside it the new content, which counts from then
// on.

// read returns the record in a file of a key's directory. handed says that the record was read from
// beside the file, because the take-over was cut off before the file got its content.
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
		// If the new content is gone, it may have got its final name meanwhile.
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

// finish completes a take-over that was cut off: it gives the record its new content.
func (l *Ledger) finish(path volpath.Path, r Record) error {
	if !l.layout.upgrades {
		return nil
	}
	in := directoryOf(path)
	err := l.share.RenameFile(in, share.Handed(fileOf(r)), in, fileOf(r))
	if errors.Is(err, fs.ErrNotExist) { // another process has finished it
		return nil
	}
	return err
}

// unfinishedError is the error for a record that has the name of one volume and the content of
// another, and no new content beside it. Only the volume of that name may continue the take-over.
// For all others the path is taken.
type unfinishedError struct {
	name, in string // the file, and its name for people
	known    Record
}

func (e *unfinishedError) Error() string {
	return fmt.Sprintf("%v in %s: it belongs to volume %q (%s), and another volume began to take it over: if the claim of that other volume is gone, rename the file to %s",
		ErrDamaged, e.in, e.known.PV, e.known.State, fileOf(e.known))
}

func (e *unfinishedError) Unwrap() []error {
	return []error{ErrDamaged, &TakenError{Owner: e.known, ForeignNamespace: true}}
}

// unfinishedOf returns the old record if err says that r's volume has begun to take it over and was
// cut off.
func unfinishedOf(err error, r Record) (Record, bool) {
	unfinished, ok := errors.AsType[*unfinishedError](err)
	if !ok || unfinished.name != fileOf(r) {
		return Record{}, false
	}
	return unfinished.known, true
}
