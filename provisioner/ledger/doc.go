// Package ledger keeps records on the share that say whose each path is, so
// that no two volumes share a directory: not two claims, not two replicas, not
// two clusters that mount one export. A record also holds what is needed to
// rebuild the PersistentVolume and its claim from the share alone.
//
// A share of layout 2 has, below .claimdir:
//
//	share.json                          the share's identity and layout
//	records/<key>/<pv>@<tag>.json       the record of a path
//	staged/                             records that are about to get their place
//	trash/<pv>@<tag>-<n>/record.json    the record of a directory in the trash
//	trash/<pv>@<tag>-<n>/volume/        that directory
//
// <key> is the path as a file name, see key. <pv>@<tag> names the owner: its
// PersistentVolume and a tag of its cluster (volpath.Own). A late call for one volume
// therefore names another file than the record of the next owner, and does nothing to it.
//
//	          Take               Activate            Retain
//	(none) ─────────► creating ─────────► active ─────────────► retained
//	                     │ Remove            │ Discard, Remove      │ Take by the same
//	                     ▼                   ▼                      ▼ namespace and name
//	                  (none)              (none)                 active
//
// Four rules make the records safe to change by several processes, each of which may be
// killed at any time:
//
//   - A path is taken by one rename: the directory <key> is made in staged, with the record
//     in it, and is renamed to its place. That fails if records are there, so of several
//     callers one gets the path. A path is free when its directory is gone.
//   - A record changes hands by one rename too, from the old owner's name to the new one's
//     (TakeOver). The new content is written beside it first and counts from that rename
//     on, so a kill behind it loses nothing.
//   - A record is exchanged by a rename over it, and only while it is there: a volume that
//     has lost its path gets ErrLost and does not get the path back.
//   - A record that cannot be read (ErrDamaged), or that a newer claimdir wrote, stops
//     everything on its path. A record that may be about to appear is not absent: Own says
//     so with an error.
//
// An archive has a record at its own path. Archive writes it before the directory is
// renamed, and Remove removes the volume's own record afterwards. A record with
// RestoredFrom becomes active once the archive lies at its path; the archive's own record
// is removed then. The volume of another provisioner is active from its Take on.
//
// A share of layout 1 is read as it is. Open leaves it alone, because an older claimdir may
// still lead; the first change makes share.json say layout 2, which an older claimdir
// refuses, and each record becomes one of layout 2 when it changes or by Convert. EndFirst
// removes what is left. See first.go.
package ledger
