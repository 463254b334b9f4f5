package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/share"
)

// ErrNoRecords says that a share was never used by claimdir, or that something
// else than the share is mounted there.
var ErrNoRecords = errors.New("there are no records of claimdir; is the right share mounted there?")

// OpenReadOnly returns the ledger of a share that has one, and writes nothing.
// A share without is an ErrNoRecords, one of a newer layout an error.
func OpenReadOnly(s *share.Share) (*Ledger, error) {
	present, err := s.HasMeta()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Dir(), err)
	}
	if !present {
		return nil, fmt.Errorf("%s: %w", s.Dir(), ErrNoRecords)
	}
	l, err := recognise(s, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", s.Dir(), ErrNoRecords)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Dir(), err)
	}
	return l, nil
}
