package steps

import (
	"errors"
	"strconv"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
)

// origin is where the directory of a new volume comes from. The record says which.
type origin interface {
	// place brings the directory to the path, unless an earlier call did, and says which
	// it is.
	place(op Op, r ledger.Record) (*share.Identity, error)
	// missing is place for a complete volume whose directory is gone.
	missing(op Op, r ledger.Record) (*share.Identity, error)
	// finish does what remains when the record is complete.
	finish(op Op, r ledger.Record) error
	// done says for the log what was done.
	done() string
}

func originOf(r ledger.Record) origin {
	switch {
	case r.RestoredFrom != "":
		return archived{}
	case r.CopyOf != nil:
		return copied{}
	case r.Adopted:
		return existing{}
	}
	return empty{}
}

// empty is a directory that is made.
type empty struct{}

func (empty) done() string { return "Created directory" }

func (e empty) place(op Op, r ledger.Record) (*share.Identity, error) {
	id, err := e.missing(op, r)
	if errors.Is(err, share.ErrOccupied) { // somebody made it since take looked
		return nil, errors.Join(errExists(op.Path.String(), r), op.Store.Records.Remove(op.Path, r))
	}
	return id, err
}

func (empty) missing(op Op, r ledger.Record) (id *share.Identity, err error) {
	mode, err := strconv.ParseUint(r.Mode, 8, 32)
	if err != nil {
		return nil, refusal.Refuse(refusal.ReasonRecord, "the mode %q in the record of %q is no mode", r.Mode, op.Path)
	}
	attributes := share.Attributes{Mode: uint32(mode), UID: r.UID, GID: r.GID}
	err = op.Store.Dirs.WithParents(op.Path, func() (err error) {
		id, err = op.Store.Dirs.Create(op.Path, attributes, func() error { return op.Store.Records.Ours(op.Path, r) })
		return err
	})
	return id, err
}

func (empty) finish(Op, ledger.Record) error { return nil }

// existing is a directory that was there before, whose mode and owner are left alone. If
// it goes before it is adopted, one is made.
type existing struct{}

func (existing) done() string { return "Adopted directory" }

// place looks for volumes above and below after the record is made, as is done for
// directories that are made: of two volumes one of which lies inside the other, at least
// one then sees the other.
func (x existing) place(op Op, r ledger.Record) (*share.Identity, error) {
	id, err := op.identify(r.Directory)
	if err != nil || id == nil {
		return nil, errors.Join(err, refusal.Postpone(refusal.ReasonTaken, "directory %q, which was there to be adopted, is gone; this is retried automatically", op.Path))
	}
	if err := op.Store.Records.CheckAbove(op.Path, r); err != nil {
		return nil, err
	}
	return id, op.Store.Records.CheckBelow(op.Path, r)
}

func (existing) missing(op Op, r ledger.Record) (*share.Identity, error) {
	if r.Mode == "" { // a peer's, which says no mode
		return nil, errMissing(op, r)
	}
	return empty{}.missing(op, r)
}

func (existing) finish(Op, ledger.Record) error { return nil }

// archived is the directory of an archive.
type archived struct{}

func (archived) done() string { return "Restored archive" }

func (archived) place(op Op, r ledger.Record) (*share.Identity, error) {
	return op.restore(r)
}

func (archived) missing(op Op, r ledger.Record) (*share.Identity, error) {
	return nil, errMissing(op, r)
}

// finish removes the record of the archive, last, so that the archive can be given back
// until then.
func (archived) finish(op Op, r ledger.Record) error { return op.endRestored(r) }

func errMissing(op Op, r ledger.Record) error {
	from := ""
	switch {
	case r.RestoredFrom != "":
		from = ", restored from " + r.RestoredFrom + ","
	case r.CopyOf != nil:
		from = ", a copy of " + r.CopyOf.Path + ","
	}
	return refusal.Postpone(refusal.ReasonRecord, "directory %q of the volume%s is missing; put it back from a copy, or delete the claim", op.Path, from)
}
