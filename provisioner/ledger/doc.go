// Package ledger keeps records on the share that say who owns each path. They keep two volumes from
// ever sharing a directory, even if the volumes belong to two claims, two replicas or two clusters
// that mount the same export. A record also holds everything that is needed to rebuild the
// PersistentVolume and its claim from the share alone.
//
// A share of layout 2 has, below .claimdir:
//
//	share.json                          the share's identity and layout
//	records/<key>/<pv>@<tag>.json       the record of a path
//	staged/                             records that are being created
//	trash/<pv>@<tag>-<n>/record.json    the record of a directory in the trash
//	trash/<pv>@<tag>-<n>/volume/        that directory
//	snapshots/<content>@<tag>/record.json   the record of a snapshot; see Snapshot
//	snapshots/<content>@<tag>/volume/       its tree
//	usage/<key>.json                    how much the directory of a path held when it was measured
//	usage/+trash.json                   how much the trash held
//	projects.json                       of package quota, on a server where it runs
//
// <key> is the path as one file name; see key. <pv>@<tag> is the owner's own name
// (volpath.Own): its PersistentVolume and a tag of its cluster. A late call for one volume
// therefore names another file than the record of the path's next owner, and cannot change it.
//
//	          Take               Activate            Retain
//	(none) ─────────► creating ─────────► active ─────────────► retained
//	                     │ Remove            │ Discard, Remove      │ Take by the same
//	                     ▼                   ▼                      ▼ namespace and name
//	                  (none)              (none)                 active
//
// Four rules let several processes change the records, although each may be killed at any time:
//
//   - One rename takes a path. The ledger creates the directory <key> in staged, with the record
//     in it, and renames it to its place. The rename fails if the path has records, so only one of
//     several callers gets the path. A path is free when its directory is gone.
//   - One rename transfers a record to another volume, from the old owner's own name to the new
//     one's (TakeOver). The new content is written beside it before and counts from that rename on,
//     so a kill after the rename loses nothing.
//   - A rename replaces the content of a record, and only while the record exists. A volume that
//     has lost its path gets ErrLost and does not get the path back.
//   - A record that cannot be read (ErrDamaged), or that a newer claimdir wrote, blocks every
//     operation on its path. Own returns an error, and not "absent", for a record that another
//     process may be about to write.
//
// A record also holds the identity of its directory (share.Identity), so that a release touches no
// other directory that has come to the path since. Records of layout 1 lack it.
//
// An archive has a record at its own path. Archive writes it before the directory is renamed;
// Remove removes the volume's own record afterwards. A record with RestoredFrom becomes active once
// the archive has been moved to its path; the archive's own record is removed then. A volume that
// another provisioner made is active from its Take on.
//
// The ledger reads a share of layout 1 as it is. Open does not change it, because an older claimdir
// may still lead. The first write sets the layout in share.json to 2, which an older claimdir
// refuses. Each record is converted when it changes, or by Convert. EndFirst removes the rest. See
// first.go.
package ledger
