package ledger

import "claimdir/provisioner/share"

// Store is a share together with its records.
type Store struct {
	Dirs    *share.Share
	Records *Ledger
}

// On returns the store that works through view, for one operation; see share.During.
func (s Store) On(view *share.Share) Store { return Store{view, s.Records.On(view)} }
