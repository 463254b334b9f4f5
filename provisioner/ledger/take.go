package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/volpath"
)

// Take takes path for r's volume and returns the resulting record. In a repeat after a crash that
// is the record from before the crash. r's state is Creating, or Active if the directory is a
// volume already. r's creation time defaults to now. Of several callers, in any process or cluster,
// only one gets the path: Take renames a directory with the record in it to the directory of the
// path's records, which fails if that has a record.
//
// A claim takes over the leftovers of an earlier claim of the same cluster, namespace and name: a
// Retained directory becomes Active, and a Creating record is taken over, because the earlier claim
// is gone and had no PersistentVolume. What an earlier namespace of that name left is not the
// claim's: it takes over a Creating record, but neither a Retained directory nor one that was about
// to be adopted. With adopt, it takes over these too, and a Retained directory of another cluster,
// which may be the predecessor of a rebuilt one, or another cluster with the same namespace. In all
// other cases the error is a *TakenError.
func (l *Ledger) Take(path volpath.Path, r Record, adopt bool) (Record, error) {
	if err := l.CheckAbove(path, r); err != nil {
		return Record{}, err
	}
	r.Path = path.String()
	if r.Created.IsZero() {
		r.Created = now()
	}
	err := l.place(path, r)
	if !errors.Is(err, fs.ErrExist) {
		return r, err
	}
	return l.takeKnown(path, r, adopt)
}

// takeKnown is Take for a path that already has a record.
func (l *Ledger) takeKnown(path volpath.Path, r Record, adopt bool) (Record, error) {
	known, found, err := l.Lookup(path)
	old, ours := unfinishedOf(err, r)
	if ours { // an earlier call has decided that r may take it over
		known, found, adopt = old, true, true
	}
	heir := adopt || known.leavesTo(r)
	switch {
	case err != nil && !ours:
		return Record{}, err
	case !found:
		return Record{}, errors.Join(fmt.Errorf("take %s: its record appeared and disappeared; retried automatically", path), l.clear(path))
	case known.State == Retained && known.sameName(r) && heir:
		r.State, r.Adopted, r.Directory = Active, true, known.Directory
		return l.TakeOver(path, known, r)
	case known.sameVolume(r):
		return l.own(path, r)
	case known.State == Creating && known.sameName(r) && known.Cluster == r.Cluster:
		r.Adopted = known.Adopted && heir
		return l.TakeOver(path, known, r)
	case ours:
		return Record{}, err
	}
	return Record{}, Taken(path, known, r)
}

// own is Own for a record that must exist: if it has disappeared, the error is ErrLost.
func (l *Ledger) own(path volpath.Path, r Record) (Record, error) {
	known, found, err := l.Own(path, r.PV, r.Cluster)
	if err == nil && !found {
		err = lost(path, fs.ErrNotExist)
	}
	return known, err
}

// place creates the record of a path. If the path has a record, the error is fs.ErrExist.
func (l *Ledger) place(path volpath.Path, r Record) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	if err := l.convert(path); err != nil {
		return err
	}
	if err := l.placeUnconverted(path, r); err != nil {
		return fmt.Errorf("record %s as %s: %w", path, r.State, err)
	}
	return nil
}

// placeUnconverted is place for a path that has no record of layout 1, or whose record it is.
func (l *Ledger) placeUnconverted(path volpath.Path, r Record) error {
	data, err := encode(r)
	if err != nil {
		return err
	}
	return l.share.PlaceDirectory(recordsDir, key(path), stagingDir+"/"+volpath.OwnAt(r.PV, r.Cluster, path), fileOf(r), data)
}

// TakeOver transfers the record of path from one volume to another, by renaming it from the old
// owner's own name to the new owner's. Only one of several callers succeeds; the others get a
// *TakenError.
func (l *Ledger) TakeOver(path volpath.Path, from, to Record) (Record, error) {
	if err := l.mayWrite(); err != nil {
		return Record{}, err
	}
	if err := l.convert(path); err != nil {
		return Record{}, err
	}
	to.Path = path.String()
	if to.Created.IsZero() {
		to.Created = now()
	}
	if from.sameVolume(to) {
		return to, l.write(path, to)
	}
	to.Owners = from.Owners + 1
	data, err := encode(to)
	if err != nil {
		return Record{}, err
	}
	err = l.share.HandOverFile(directoryOf(path), fileOf(from), fileOf(to), data)
	if errors.Is(err, fs.ErrNotExist) {
		known, found, lookErr := l.Lookup(path)
		_, ours := unfinishedOf(lookErr, to)
		switch {
		case ours:
			return to, l.write(path, to)
		case lookErr != nil:
			return Record{}, lookErr
		case found && known.sameVolume(to):
			return l.own(path, to)
		case found:
			return Record{}, Taken(path, known, to)
		}
	}
	if err != nil {
		return Record{}, fmt.Errorf("take over %s from volume %s: %w", path, from.PV, err)
	}
	return to, nil
}
