package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"claimdir/provisioner/share"
)

// ErrNoRecords says that claimdir has never used the share, or that something else is mounted.
var ErrNoRecords = errors.New("there are no records of claimdir; is the right share mounted there?")

// OpenReadOnly returns the ledger of a share that has records, and writes nothing. It returns
// ErrNoRecords for a share without records, and an error for a newer layout.
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
