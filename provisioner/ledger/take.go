package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/volpath"
)

// Take takes path for r's volume and returns the record that now stands. In a
// repeat after a crash that is the one the volume had then. r's state is
// Creating, or Active for a directory that is a volume's already; its time of
// creation is now unless r has one. Of several callers, in any process or cluster, one
// gets the path: a directory with the record in it is renamed to where the records of
// the path lie, which fails where one is.
//
// A claim of the same cluster, namespace and name takes over what an earlier
// claim of that name left: a Retained directory becomes Active with it, and a
// path that was only being created is created anew, for the earlier claim is
// gone and no PersistentVolume was made. With adopt, a Retained directory of
// another cluster is taken over too: the cluster may be a rebuilt one, or
// another that happens to have the same namespace. Everything else is a
// *TakenError.
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

// takeKnown is Take for a path that has a record.
func (l *Ledger) takeKnown(path volpath.Path, r Record, adopt bool) (Record, error) {
	known, found, err := l.Lookup(path)
	old, ours := unfinishedOf(err, r)
	if ours { // that it may take it over was decided before
		known, found, adopt = old, true, true
	}
	switch {
	case err != nil && !ours:
		return Record{}, err
	case !found:
		return Record{}, errors.Join(fmt.Errorf("take %s: its record came and went; will be tried again", path), l.clear(path))
	case known.State == Retained && known.sameName(r) && (adopt || known.Cluster == r.Cluster):
		r.State, r.Adopted, r.Directory = Active, true, known.Directory
		return l.TakeOver(path, known, r)
	case known.sameVolume(r):
		return l.own(path, r)
	case known.State == Creating && known.sameName(r) && known.Cluster == r.Cluster:
		r.Adopted = known.Adopted
		return l.TakeOver(path, known, r)
	case ours:
		return Record{}, err
	}
	return Record{}, Taken(path, known, r)
}

// own is Own for a record that was there just now.
func (l *Ledger) own(path volpath.Path, r Record) (Record, error) {
	known, found, err := l.Own(path, r.PV, r.Cluster)
	if err == nil && !found {
		err = lost(path, fs.ErrNotExist)
	}
	return known, err
}

// place puts the record of a path that has none where it belongs, or is fs.ErrExist.
func (l *Ledger) place(path volpath.Path, r Record) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	if err := l.convert(path); err != nil {
		return err
	}
	data, err := encode(r)
	if err == nil {
		err = l.share.PlaceDirectory(recordsDir, key(path), stagingDir, volpath.OwnAt(r.PV, r.Cluster, path), fileOf(r), data)
	}
	if err != nil {
		return fmt.Errorf("record %s as %s: %w", path, r.State, err)
	}
	return nil
}

// TakeOver makes the record of one volume that of another, by renaming it from the
// owner's name to the new one's: of many who try, one gets it. The others get a
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
