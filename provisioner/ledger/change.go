package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// ErrLost says that a volume no longer has a record of its path: another process has released the
// volume.
var ErrLost = errors.New("the volume no longer owns its path; another process has released it")

// Ours returns ErrLost unless the server still has r's record.
func (l *Ledger) Ours(path volpath.Path, r Record) error {
	_, err := l.own(path, r)
	return err
}

func lost(path volpath.Path, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrLost)
	}
	return err
}

// Activate records that r's directory is complete, and the directory's identity.
func (l *Ledger) Activate(path volpath.Path, r Record, directory *share.Identity) error {
	r.State, r.Directory = Active, directory
	return l.write(path, r)
}

// Retain records that r's volume was released and its directory kept.
func (l *Ledger) Retain(path volpath.Path, r Record, directory *share.Identity) error {
	r.State, r.Released, r.Directory = Retained, new(now()), directory
	return l.write(path, r)
}

// Update writes r. Its volume and path must be unchanged.
func (l *Ledger) Update(path volpath.Path, r Record) error { return l.write(path, r) }

// Archive writes the record of the archive that r's volume is about to become. No directory may
// exist at that name yet. A repeat writes the record again, because the retention may have changed;
// it starts now. The volume's own record stays, so that nobody takes the path before the directory
// has left it. If another volume's archive has the name, the error is a *TakenError.
func (l *Ledger) Archive(archive volpath.Path, r Record, directory *share.Identity) error {
	a := r
	a.State, a.Origin, a.Path, a.Released, a.Directory = Archived, r.Path, archive.String(), new(now()), directory
	a.RestoredFrom, a.CopyOf = "", nil
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

// Remove removes r's record of path and so frees the path. The directory must be gone. It is no
// error if the record is gone or another volume has taken the path.
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

// write replaces the content of r's record. The record must exist, so that a volume that has lost
// its path does not get it back.
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

// sameVolume reports whether both records are of one volume. The PersistentVolume's name contains
// its claim's UID; the cluster tells apart names that people chose.
func (r Record) sameVolume(other Record) bool {
	return r.PV == other.PV && r.Cluster == other.Cluster
}

func (r Record) sameName(other Record) bool {
	return r.Claim.Namespace == other.Claim.Namespace && r.Claim.Name == other.Claim.Name
}

// leavesTo reports whether r's directory is for claims of heir's namespace and cluster.
func (r Record) leavesTo(heir Record) bool {
	return r.Cluster == heir.Cluster && r.Claim.LeavesTo(heir.Claim)
}

// Taken returns the *TakenError for a path that owner has, or that conflicts with owner's path.
func Taken(path volpath.Path, owner, asking Record) error {
	e := &TakenError{Path: path, Owner: owner, ForeignNamespace: !owner.leavesTo(asking)}
	e.EarlierNamespace = e.ForeignNamespace && owner.Cluster == asking.Cluster && owner.Claim.Namespace == asking.Claim.Namespace
	return e
}
