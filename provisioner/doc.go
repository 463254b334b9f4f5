// Package provisioner is what the provisioner library calls for each claim and
// each released volume. It chooses the share; package steps does the rest.
//
// A claim becomes a volume (Provision):
//
//	1  class.Parse        StorageClass parameters → Class   unknown key, value or variable: refused, naming the allowed ones
//	2  volume.Check       what an nfs volume cannot be: selector, Block, two origins
//	3  Pattern.Expand     claim, PV name → volpath.Path     never empty, "..", reserved or too long
//	   InNamespace        → UID of the claim's namespace    asked of the API server; goes on record
//	4  choose             → share                           of several: where it was begun, where the archive or the source of a copy is,
//	                                                        or where there is most room
//	   Volume.PV          → PersistentVolume                share path and policy written on it; refused before anything is made
//	   Op.Create, on the locked path:
//	5  take               → ledger.Record                   one owner a path, whoever made its volume; an existing directory only if
//	                                                        the class adopts
//	6  origin.place       → directory                       empty: made, with its missing parents; mode, uid, gid set
//	                                                        existing: mode and owner are left alone
//	                                                        archived: set aside under the volume's own name, then renamed to the path
//	                                                        copied: not whole yet: a job copies it under the volume's own name, and the
//	                                                        library asks again when it has ended; then renamed to the path
//	7  ledger.Activate    the record says: complete, and which directory it is; after a look for volumes above and, in adopt, below
//	   library            claimRef, finalizer, save, retried for ever → claim Bound
//
// A released volume goes (Delete):
//
//	1  volume.FromPV      PV → path, policy                 other server or export, hand-made, unparsable: refused, nothing changed
//	   awaited            no claim waits for a copy of it   refused until that has it
//	   Op.Release, on the locked path:
//	2  Config.Released    is it still released?             asked of the API server; else refused, nothing changed
//	   ownRecord          is the path this PV's?            absent: let go; another's or unknown: refused, nothing changed
//	   checkAlone         no volume on, above or below      refused, nothing changed
//	   follow             the PersistentVolume's claim      written into the record: a volume that was handed to another
//	                                                        claim is that one's
//	3  delete             share.SetAside into the trash, compare; ledger.Discard: its record beside it. Package trash looks
//	                      once more, and empties it. A directory that is not the one on record is archived instead
//	                      or, what cannot be moved: share.Remove, ledger.Remove
//	   archive            ledger.Archive, share.SetAside, compare, rename to the archive's name, ledger.Remove
//	   retain             ledger.Retain
//	4  tidyParents        empty parents that are ours       nearest first; what is left the sweep finds
//	   library            delete the PV object, drop the finalizer
//
// A volume of nfs-subdir-external-provisioner has neither record nor policy: it
// gets a record when claimdir begins to lead (Start), or while it is bound from the
// sweep, and its class decides on release, as the peer would read it. Without a record
// its release is refused: a PersistentVolume alone does not prove whose a directory is.
//
// What touches the share, from step 5 and from step 2 on, is one operation on it,
// which package access lets in or refuses, and gives up if the share does not
// answer. Each share has a Provisioner of its own, with queues and workers (package
// control), so that none waits for another's share; a class that allows several
// shares has one more. At each, the namespaces take turns.
//
// Every step may run twice: after a crash, a lost lease, an answer of the API
// server that got lost. What a repeat finds:
//
//	step               second run finds                          result
//	5  take            the record of this PV                     goes on with it
//	6  empty           the leaf, empty                           attributes set again, as in the first run
//	                   the leaf, record Active                   left alone
//	   copied          no tree, or a part of it                  the job goes on
//	                   the whole tree                            renamed to the path now
//	                   the leaf, and it is the tree on record    goes on with it
//	   archived        the directory set aside                   renamed to the path now
//	                   the leaf, and the archive gone            goes on with it
//	3  delete          no record, no directory                   let go, and step 4 again
//	                   record, and its directory in the trash    record moved there too
//	                   half a tree                               goes on removing
//	   archive         the directory set aside                   renamed to the archive's name now
//	                   directory gone, archive of this PV there  the record goes
//	                   neither is there                          both records go
//	   retain          record Retained                           done
//	4  tidyParents     no parent, or an empty one of ours        removed now
//
// Where there is no repeat, because the claim or the PersistentVolume went
// meanwhile, package sweep finds what was left, and finishes or undoes it by the same
// steps. What comes late, from a process that slept or over a network that held it
// back, harms nobody: see package steps.
//
// The policy that one of our PVs carries decides on release, never the class,
// which may be gone or changed by then.
//
// The rooms below this one, each of which knows only those before it:
//
//	volpath      names of directories: patterns, what is allowed, what is reserved
//	class        parameters of a StorageClass
//	share        the only one that touches files: one mounted export, no link followed
//	ledger       records on the share: whose a path is, and which directory that is
//	access       lets work on a share, or refuses it, and gives up what has no answer
//	refusal      errors that say why nothing was done, and whether a repeat can help
//	fair         a queue in which namespaces take turns
//	cluster/pvs  rules about PersistentVolumes: which are ours, which share files
//	cluster      what the API server holds: cached and live reads
//	cluster/snapshots   the same for VolumeSnapshots, which a cluster may have or not
//	volume       the Volume: from a claim, to a PersistentVolume, to a record, and back
//	steps        what is done to a share for a volume: the door through which every room changes one
//	copies       jobs that copy directories: how many at a time, whose turn, how far
//
// Beside it and above, side by side, which cmd/claimdir brings together: trash, expiry,
// sweep, resize, snapshot and usage are jobs that run while this process leads; control runs the library;
// page shows on one HTML page what all of them know; archives, recovery, doctor, handback and quota
// are what the commands of these names do, and output is what they print; quota runs on the NFS
// server. TestImports holds who may import whom. For tests alone there is sharetest.
package provisioner
