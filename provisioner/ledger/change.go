package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// ErrLost says that a volume has no record of its path any more: it was released, by
// another process, since it was looked at.
var ErrLost = errors.New("the volume has lost its path meanwhile")

// Ours returns ErrLost unless r's record is still there, by a read of the server.
func (l *Ledger) Ours(path volpath.Path, r Record) error {
	_, err := l.share.ReadFile(directoryOf(path), fileOf(r))
	if errors.Is(err, fs.ErrNotExist) {
		known, found, firstErr := l.first(path)
		if firstErr != nil {
			return firstErr
		}
		if found && known.sameVolume(r) {
			return nil
		}
	}
	return lost(path, err)
}

func lost(path volpath.Path, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrLost)
	}
	return err
}

// Activate says that the directory of r is complete, and which it is.
func (l *Ledger) Activate(path volpath.Path, r Record, directory *share.Identity) error {
	r.State, r.Directory = Active, directory
	return l.write(path, r)
}

// Retain says that r's volume was released and its directory kept.
func (l *Ledger) Retain(path volpath.Path, r Record, directory *share.Identity) error {
	r.State, r.Released, r.Directory = Retained, new(now()), directory
	return l.write(path, r)
}

// Update writes r, which has changed in nothing that tells whose it is.
func (l *Ledger) Update(path volpath.Path, r Record) error { return l.write(path, r) }

// Archive writes the record of the archive that r's volume, whose directory is given, is
// about to become; no such directory may exist yet. In a repeat it is written anew: what
// was to become of the archive may have been changed since, and its time begins now. The
// volume's own record stays, so that nobody takes the path before the directory has left
// it. An archive of another volume at that name is a *TakenError.
func (l *Ledger) Archive(archive volpath.Path, r Record, directory *share.Identity) error {
	a := r
	a.State, a.Origin, a.Path, a.Released, a.Directory = Archived, r.Path, archive.String(), new(now()), directory
	a.RestoredFrom = ""
	if kept, err := time.ParseDuration(r.ArchiveRetention); err == nil {
		a.Until = new(a.Released.Add(kept))
	}
	err := l.place(archive, a)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	known, found, err := l.Lookup(archive)
	if err != nil {
		return err
	}
	if found && known.sameVolume(r) {
		return l.write(archive, a)
	}
	return Taken(archive, known, r)
}

// Remove removes r's record of path, which is free then. The directory must be gone. A
// record that is gone, or another's by now, is no error.
func (l *Ledger) Remove(path volpath.Path, r Record) error {
	err := l.mayWrite()
	if err == nil {
		err = l.removeFirst(path, r)
	}
	if err == nil {
		err = l.share.RemoveFile(directoryOf(path), fileOf(r))
	}
	if err == nil {
		err = l.share.RemoveEmptied(recordsDir, key(path))
	}
	if err != nil {
		return fmt.Errorf("remove the record of %s: %w", path, err)
	}
	return nil
}

// write exchanges r's record. It must be there: a volume that lost its path meanwhile
// does not get it back by this.
func (l *Ledger) write(path volpath.Path, r Record) error {
	err := l.mayWrite()
	if err == nil {
		err = l.convert(path)
	}
	r.Path = path.String()
	var data []byte
	if err == nil {
		data, err = encode(r)
	}
	if err == nil {
		err = lost(path, l.share.ExchangeFile(directoryOf(path), fileOf(r), data))
	}
	if err != nil {
		return fmt.Errorf("record %s as %s: %w", path, r.State, err)
	}
	return nil
}

// sameVolume: the name of a PersistentVolume holds its claim's UID, and the
// cluster's tells hand-made names apart.
func (r Record) sameVolume(other Record) bool {
	return r.PV == other.PV && r.Cluster == other.Cluster
}

func (r Record) sameName(other Record) bool {
	return r.Claim.Namespace == other.Claim.Namespace && r.Claim.Name == other.Claim.Name
}

// Taken is the *TakenError that says that path is owner's, or in its way.
func Taken(path volpath.Path, owner, asking Record) error {
	foreign := owner.Claim.Namespace != asking.Claim.Namespace || owner.Cluster != asking.Cluster
	return &TakenError{Path: path, Owner: owner, ForeignNamespace: foreign}
}
