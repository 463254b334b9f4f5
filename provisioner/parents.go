package provisioner

import (
	"errors"
	"io/fs"
	"slices"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// parentTries is how often a directory is put below parents that vanish in
// between. Each time somebody else has to have released the last volume below
// one, so it is not reached by chance.
const parentTries = 20

// withParents makes the parents of path and runs make, which puts a directory at
// path. Between the two a release of the last other volume below a parent may
// remove it again; make then says fs.ErrNotExist, and both are repeated. That is
// cheaper than to keep each release waiting for everything that is being made.
func (op operation) withParents(path volpath.Path, make func() error) error {
	var err error
	for range parentTries {
		if err = op.makeParents(path); err == nil {
			err = make()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// makeParents makes what is missing of the directories above path, on record as
// ours, and leaves those alone that are there. Nothing is asked for a path of
// one element, and each parent that is there is looked up once.
func (op operation) makeParents(path volpath.Path) error {
	parents := path.Ancestors()
	slices.Reverse(parents)
	there, err := op.dirs.FinishedParents(path)
	if err != nil || there == len(parents) {
		return err
	}
	unlock, err := op.lockParents()
	if err != nil {
		return err
	}
	defer unlock()
	// Looked at anew: others may have made and removed some meanwhile.
	if there, err = op.dirs.FinishedParents(path); err != nil {
		return err
	}
	for _, parent := range parents[there:] {
		if err := op.makeParent(parent); err != nil {
			return err
		}
	}
	return nil
}

// makeParent makes one parent, or finishes one whose making was cut off. The
// record comes first, so that a kill leaves no directory that nobody knows; it
// says which directory it is before that one can be taken for anybody's.
func (op operation) makeParent(path volpath.Path) error {
	found, err := op.dirs.LookParent(path)
	if err == nil {
		return op.finishParent(path, found)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := op.ledger.BeginParent(path); err != nil {
		return err
	}
	id, err := op.dirs.MakeParent(path)
	if errors.Is(err, fs.ErrExist) {
		// Somebody made it since, or we did, and the answer got lost.
		found, err := op.dirs.LookParent(path)
		if err != nil {
			return err
		}
		if found.Unfinished {
			return op.finishParent(path, found)
		}
		return op.ledger.ForgetParent(path)
	}
	if err != nil {
		return err
	}
	return op.recordParent(path, id)
}

// finishParent does the rest for a parent whose making was cut off; any other is
// left alone.
func (op operation) finishParent(path volpath.Path, found share.Parent) error {
	if !found.Unfinished {
		return nil
	}
	record, known, err := op.ledger.Parent(path)
	if err != nil || !known || !isOurs(record, found) {
		return err
	}
	return op.recordParent(path, found.ID)
}

func (op operation) recordParent(path volpath.Path, id share.FileID) error {
	if err := op.ledger.MadeParent(path, id); err != nil {
		return err
	}
	return op.dirs.FinishParent(path)
}

// isOurs reports whether found is the directory that the record is about. A
// record that does not say which one it is was written just before a kill; then
// it is the one that looks as only claimdir makes one, and has looked like that
// since: what an administrator makes at that name looks different.
func isOurs(record ledger.Parent, found share.Parent) bool {
	if record.Directory == nil {
		return found.Unfinished
	}
	return record.Directory.Same(found.ID)
}

// disownParent makes what may be a parent of ours a directory that is a volume's
// from now on: path has its record. Whoever removed it as a parent has done so
// when this returns, and nobody does afterwards.
func (op operation) disownParent(path volpath.Path) error {
	unlock, err := op.lockParents()
	if err != nil {
		return err
	}
	defer unlock()
	return op.ledger.ForgetParent(path)
}

// lockParents keeps the making of parents and their removal apart, on one share
// and in this process. It waits, but not longer than the operation is waited
// for: whoever has the lock on a share that hangs has it for long.
func (op operation) lockParents() (unlock func(), err error) {
	value, _ := op.parents.LoadOrStore(op.site, make(chan struct{}, 1))
	lock, _ := value.(chan struct{})
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-op.givenUp:
		return nil, refusal.Postpone(refusal.ReasonBusy, "another operation on parents of volumes is under way; will be tried again")
	}
}
