package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const (
	identityFile = "share.json"
	volumesDir   = "volumes"
)

// Ledger is the records of one share. It keeps nothing in memory and is safe
// for concurrent use, also with ledgers of other processes.
type Ledger struct {
	share *share.Share
	id    string
}

// Identity tells a share from every other one.
type Identity struct {
	Layout  int       `json:"layout"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Open prepares the share for records, or recognises one that is prepared: it
// makes .claimdir and writes the identity id, unless the share has one. A share
// of a newer layout is an error.
func Open(s *share.Share, id string) (*Ledger, error) {
	if err := s.MakeMeta(volumesDir, parentsDir, share.TrashDir); err != nil {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	data, err := json.Marshal(Identity{Layout: Layout, ID: id, Created: now()})
	if err != nil {
		return nil, err
	}
	if err := s.CreateMeta(identityFile, append(data, '\n')); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	return recognise(s)
}

// recognise returns the ledger of a share that is prepared, by which the share
// is known from now on: see share.Recognise.
func recognise(s *share.Share) (*Ledger, error) {
	identity, data, err := readIdentity(s)
	if err != nil {
		return nil, err
	}
	s.Recognise(identityFile, data)
	return &Ledger{share: s, id: identity.ID}, nil
}

// On returns the ledger as s sees it, a view of the same share.
func (l *Ledger) On(s *share.Share) *Ledger { return &Ledger{share: s, id: l.id} }

// ID tells the share from every other one.
func (l *Ledger) ID() string { return l.id }

// Identity reads the share's identity.
func (l *Ledger) Identity() (Identity, error) {
	identity, _, err := readIdentity(l.share)
	return identity, err
}

// readIdentity also returns the file as it is.
func readIdentity(s *share.Share) (Identity, []byte, error) {
	data, err := s.ReadMeta(identityFile)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("identity of the share: %w", err)
	}
	var identity Identity
	if err := json.Unmarshal(data, &identity); err != nil {
		return Identity{}, nil, fmt.Errorf("identity of the share: %w: %s: %w", ErrDamaged, identityFile, err)
	}
	if identity.Layout > Layout {
		return Identity{}, nil, fmt.Errorf("the share has layout %d and this claimdir knows %d: run a newer one", identity.Layout, Layout)
	}
	if identity.Layout < 1 || identity.ID == "" {
		return Identity{}, nil, fmt.Errorf("identity of the share: %w: %s has layout %d, id %q", ErrDamaged, identityFile, identity.Layout, identity.ID)
	}
	return identity, data, nil
}

// Lookup returns the record of path, and false if there is none. Any error
// means that the owner is unknown: do nothing.
func (l *Ledger) Lookup(path volpath.Path) (Record, bool, error) {
	data, err := l.share.ReadMeta(file(path))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("record of %s: %w", path, err)
	}
	r, err := decode(data, path)
	return r, err == nil, err
}

// Claim takes path for r's volume and returns the record that now stands. In a
// repeat after a crash that is the one the volume had then. r's state is
// Creating, or Active for a directory that is a volume's already; its time of
// creation is now unless r has one.
//
// A claim of the same cluster, namespace and name takes up what an earlier
// claim of that name left: a Retained directory becomes Active with it, and a
// path that was only being created is created anew, for the earlier claim is
// gone and no PersistentVolume was made. With adopt, a Retained directory of
// another cluster is taken up too: the cluster may be a rebuilt one, or
// another that happens to have the same namespace. Everything else is a
// *TakenError.
//
// The caller must not run two operations on one path at once.
func (l *Ledger) Claim(path volpath.Path, r Record, adopt bool) (Record, error) {
	if err := l.CheckAbove(path, r); err != nil {
		return Record{}, err
	}
	r.Path = path.String()
	if r.Created.IsZero() {
		r.Created = now()
	}
	data, err := encode(r)
	if err != nil {
		return Record{}, err
	}
	err = l.share.CreateMeta(file(path), data)
	if err == nil {
		return r, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return Record{}, fmt.Errorf("claim %s: %w", path, err)
	}
	return l.claimFrom(path, r, adopt)
}

// claimFrom takes path, which has a record, from its owner, or says who that is.
func (l *Ledger) claimFrom(path volpath.Path, r Record, adopt bool) (Record, error) {
	owner, found, err := l.Lookup(path)
	switch {
	case err != nil:
		return Record{}, err
	case !found:
		return Record{}, fmt.Errorf("claim %s: its record came and went; will be tried again", path)
	case owner.State == Retained && owner.sameName(r) && (adopt || owner.Cluster == r.Cluster):
		r.State, r.Adopted = Active, true
		return r, l.replace(path, r)
	case owner.sameVolume(r):
		return owner, nil
	case owner.State == Creating && owner.sameName(r) && owner.Cluster == r.Cluster:
		r.Adopted = owner.Adopted
		return r, l.replace(path, r)
	}
	return Record{}, Taken(path, owner, r)
}

// Activate says that the directory of r is complete.
func (l *Ledger) Activate(path volpath.Path, r Record) error {
	r.State = Active
	return l.replace(path, r)
}

// Retain says that r's volume was released and its directory kept.
func (l *Ledger) Retain(path volpath.Path, r Record) error {
	r.State, r.Released = Retained, new(now())
	return l.replace(path, r)
}

// Archive writes the record of the archive that r's volume is about to become; no
// such directory may exist yet. In a repeat it is written anew: what was to become of
// the archive may have been changed since, and its time begins now. The volume's own
// record stays until Forget, so that nobody takes the path before the directory has
// left it. An archive of another volume at that name is a *TakenError.
func (l *Ledger) Archive(archive volpath.Path, r Record) error {
	a := r
	a.State, a.Origin, a.Path, a.Released = Archived, r.Path, archive.String(), new(now())
	a.RestoredFrom = ""
	if kept, err := time.ParseDuration(r.ArchiveRetention); err == nil {
		a.Until = new(a.Released.Add(kept))
	}
	data, err := encode(a)
	if err != nil {
		return err
	}
	err = l.share.CreateMeta(file(archive), data)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	owner, found, err := l.Lookup(archive)
	if err != nil {
		return err
	}
	if found && owner.sameVolume(r) {
		return l.replace(archive, a)
	}
	return Taken(archive, owner, r)
}

// Forget removes the record of path. The directory must be gone.
func (l *Ledger) Forget(path volpath.Path) error {
	if err := l.share.RemoveMeta(file(path)); err != nil {
		return fmt.Errorf("forget %s: %w", path, err)
	}
	return nil
}

// ForgetIf is Forget for whoever has no lock on the path: it removes the record
// only if it is still r's volume's, in r's state, and reports false if another one
// stands there now.
func (l *Ledger) ForgetIf(path volpath.Path, r Record) (forgotten bool, err error) {
	forgotten, err = l.share.RemoveMetaIf(file(path), func(data []byte) bool {
		now, err := decode(data, path)
		return err == nil && now.sameVolume(r) && now.State == r.State
	})
	if err != nil {
		return forgotten, fmt.Errorf("forget %s: %w", path, err)
	}
	return forgotten, nil
}

func (l *Ledger) replace(path volpath.Path, r Record) error {
	r.Path = path.String()
	data, err := encode(r)
	if err == nil {
		err = l.share.ReplaceMeta(file(path), data)
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

// now is in UTC, for people read it, and in microseconds: of two archives of one
// claim the latest is known even if they were made within a second.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
