// Package ledger keeps records on the share that say whose each path is, so
// that no two volumes share a directory: not two claims, not two replicas, not
// two clusters that mount one export. A record also holds what is needed to
// rebuild the PersistentVolume and its claim from the share alone.
//
// There is one file a path, .claimdir/volumes/<key>.json. It is made by an
// exclusive link and exchanged by a rename, so a record is whole or absent,
// and of several callers one gets the path. A record that cannot be read, or
// that a newer claimdir wrote, stops everything on its path.
//
//	          Claim              Activate            Retain
//	(none) ─────────► creating ─────────► active ─────────────► retained
//	                     │ Forget            │ Discard              │ Claim by the same
//	                     ▼                   ▼ (with it into        ▼ namespace and name
//	                  (none)                   the trash)         active
//
// An archive has a record at its own path: Archive writes it before the directory is
// renamed, and Forget removes the volume's after. The volume of another provisioner is
// Active from its Claim on; one that cannot be moved is removed and then forgotten.
//
// Beside them lie parents/<key>.json, for each directory that was made only because
// volumes lie below it, and trash/<name>.json, a record that Discard moved there with
// its directory: of a volume, or of an archive at its end. A record with RestoredFrom
// becomes active once the archive lies at its path, and the archive's own is
// forgotten.
package ledger
