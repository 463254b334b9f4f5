package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"claimdir/provisioner/share"
)

// Files and directories below .claimdir.
const (
	identityFile = "share.json"
	recordsDir   = "records"
	stagingDir   = "staged"
)

// Ledger reads and writes the records of one share. It caches no records. It is safe for concurrent
// use, also with ledgers of other processes and clusters.
type Ledger struct {
	share    *share.Share
	id       string
	layout   *layout
	listings *listings // all views of a ledger have the same
}

// layout is the state of the share's layout that all views of a ledger have in common.
type layout struct {
	// first says that records of layout 1 may exist.
	first atomic.Bool
	// old says that share.json still has layout 1, so that the share must be upgraded before a
	// write.
	old atomic.Bool
	// upgrades says that this process may upgrade the share to layout 2.
	upgrades bool
	// upgrading is held during the upgrade.
	upgrading sync.Mutex
}

// Identity tells a share from every other one.
type Identity struct {
	Layout  int       `json:"layout"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Open creates .claimdir and writes the identity id, unless the share has them, and returns the
// ledger. A newer layout is an error. Open does not upgrade a share of layout 1: the first write
// does, so that an older claimdir that still leads can go on until then.
func Open(s *share.Share, id string) (*Ledger, error) {
	if err := s.MakeMeta(recordsDir, stagingDir, share.TrashDir); err != nil {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	data, err := encodeIdentity(Identity{Layout: Layout, ID: id, Created: now()})
	if err != nil {
		return nil, err
	}
	if _, err = readIdentity(s); errors.Is(err, fs.ErrNotExist) {
		err = s.CreateFile(identityFile, "share."+id+".new", data)
		if errors.Is(err, fs.ErrExist) { // another process has created it
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	return recognise(s, true)
}

// recognise returns the ledger of a prepared share, and makes share.json the file by which the
// share is recognised; see share.Recognise.
func recognise(s *share.Share, upgrades bool) (*Ledger, error) {
	identity, err := readIdentity(s)
	if err != nil {
		return nil, err
	}
	s.Shared(recordsDir)
	s.Recognise(identityFile, func(data []byte) bool {
		now, err := decodeIdentity(data)
		return err == nil && now.ID == identity.ID
	})
	l := &Ledger{share: s, id: identity.ID, layout: &layout{upgrades: upgrades}, listings: &listings{}}
	l.layout.old.Store(identity.Layout < Layout)
	_, err = s.ListMeta(firstVolumesDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l.layout.first.Store(err == nil)
	return l, nil
}

// On returns the ledger that works through s, a view of the same share.
func (l *Ledger) On(s *share.Share) *Ledger {
	return &Ledger{share: s, id: l.id, layout: l.layout, listings: l.listings}
}

// ID is the share's unique identity.
func (l *Ledger) ID() string { return l.id }

// Identity reads the share's identity.
func (l *Ledger) Identity() (Identity, error) { return readIdentity(l.share) }

// readIdentity returns the share's identity.
func readIdentity(s *share.Share) (identity Identity, err error) {
	data, err := s.ReadFile("", identityFile)
	if err == nil {
		identity, err = decodeIdentity(data)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("identity of the share: %w", err)
	}
	return identity, nil
}

func decodeIdentity(data []byte) (Identity, error) {
	var identity Identity
	if err := json.Unmarshal(data, &identity); err != nil {
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrDamaged, identityFile, err)
	}
	if identity.Layout > Layout {
		return Identity{}, fmt.Errorf("the share has layout %d and this claimdir knows %d: run a newer one", identity.Layout, Layout)
	}
	if identity.Layout < 1 || identity.ID == "" {
		return Identity{}, fmt.Errorf("%w: %s has layout %d, id %q", ErrDamaged, identityFile, identity.Layout, identity.ID)
	}
	return identity, nil
}

func encodeIdentity(identity Identity) ([]byte, error) {
	data, err := json.Marshal(identity)
	return append(data, '\n'), err
}

// now returns the time in UTC, because people read it, and in microseconds, so that two archives of
// one claim are ordered even if they were made within one second.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
