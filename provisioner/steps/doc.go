// Package steps has what is done to a share for a volume, one operation on one path at a
// time: create, release, archive, restore, expire, adopt, take over, record a new size,
// clean up. It is the door through which every room changes a share: Steps.On gives an Op,
// which is alone on its path in this process.
//
// Nothing keeps other processes off: a leader that slept, a call that was on its way to
// the server, a second cluster and an administrator may each act late, on a path that
// belongs to another volume by then. Four habits make that harmless:
//
//   - What belongs to one volume is called by its name and its cluster's: its record, what
//     it has in the trash, what is set aside for it. A late call for one volume cannot hit
//     another's, because it names another file. A path is taken, and a record changes
//     hands, by one rename: of many, one gets it.
//   - A record says which directory is the volume's (share.Identity). One that is another is
//     never deleted, and one that is not at its path is looked for before it is believed to
//     be gone.
//   - A directory that leaves its path is set aside in a directory of its own first, and
//     compared there (share.SetAside). A rename that comes late finds that directory gone,
//     or what it moved is put back: at once, before the trash is emptied
//     (LookBeforeEmptying), or when a leader looks after its volumes (LookAfter).
//   - The age of the lease is checked before each call to a share and to the API: see
//     access.Config.Call.
//
// Every step may run twice: after a crash, a lost lease, an answer of the API server that
// got lost. A repeat finds its own work and goes on. Where there is no repeat, because the
// claim or the PersistentVolume went meanwhile, the sweep and claimdir doctor finish or
// undo with the same functions: RemoveOrphan, ArchiveOrphan, RemoveMissing.
//
// Steps return plain errors; On gives them their reason and their way out (Refused).
package steps
