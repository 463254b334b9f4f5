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

// Ledger is the records of one share. It keeps nothing of them in memory and is safe
// for concurrent use, also with ledgers of other processes and clusters.
type Ledger struct {
	share  *share.Share
	id     string
	layout *layout
}

// layout is what is known of the share's layout, by all views of a ledger.
type layout struct {
	// first: records of layout 1 may be there.
	first atomic.Bool
	// old: the share's identity says layout 1, and nothing may be written yet.
	old atomic.Bool
	// upgrades: this process may make it layout 2.
	upgrades bool
	// upgrading is held by the one operation that does so.
	upgrading sync.Mutex
}

// Identity tells a share from every other one.
type Identity struct {
	Layout  int       `json:"layout"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Open prepares the share for records, or recognises one that is prepared: it
// makes .claimdir and writes the identity id, unless the share has one. A share
// of a newer layout is an error. One of layout 1 is upgraded before the first record is
// written, not before: until then the older claimdir that leads goes on.
func Open(s *share.Share, id string) (*Ledger, error) {
	if err := s.MakeMeta(recordsDir, stagingDir, share.TrashDir); err != nil {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	data, err := encodeIdentity(Identity{Layout: Layout, ID: id, Created: now()})
	if err != nil {
		return nil, err
	}
	if _, _, err = readIdentity(s); errors.Is(err, fs.ErrNotExist) {
		err = s.CreateFile(identityFile, "share."+id+".new", data)
		if errors.Is(err, fs.ErrExist) { // another process was first
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the share: %w", err)
	}
	return recognise(s, true)
}

// recognise returns the ledger of a share that is prepared, by which the share
// is known from now on: see share.Recognise.
func recognise(s *share.Share, upgrades bool) (*Ledger, error) {
	identity, _, err := readIdentity(s)
	if err != nil {
		return nil, err
	}
	s.Shared(recordsDir)
	s.Recognise(identityFile, func(data []byte) bool {
		now, err := decodeIdentity(data)
		return err == nil && now.ID == identity.ID
	})
	l := &Ledger{share: s, id: identity.ID, layout: &layout{upgrades: upgrades}}
	l.layout.old.Store(identity.Layout < Layout)
	_, err = s.ListMeta(firstVolumesDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l.layout.first.Store(err == nil)
	return l, nil
}

// On returns the ledger as s sees it, a view of the same share.
func (l *Ledger) On(s *share.Share) *Ledger { return &Ledger{share: s, id: l.id, layout: l.layout} }

// ID tells the share from every other one.
func (l *Ledger) ID() string { return l.id }

// Identity reads the share's identity.
func (l *Ledger) Identity() (Identity, error) {
	identity, _, err := readIdentity(l.share)
	return identity, err
}

// readIdentity also returns the file as it is.
func readIdentity(s *share.Share) (Identity, []byte, error) {
	data, err := s.ReadFile("", identityFile)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("identity of the share: %w", err)
	}
	identity, err := decodeIdentity(data)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("identity of the share: %w", err)
	}
	return identity, data, nil
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

// now is in UTC, for people read it, and in microseconds: of two archives of one
// claim the latest is known even if they were made within a second.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
