// Package provisioner is what the provisioner library calls for each claim and
// each released volume. It decides what happens; the packages below it do it.
//
// A claim becomes a volume (Provision):
//
//	1  class.Parse       StorageClass parameters → Class   unknown key, value or variable: refused, naming the allowed ones
//	2  volume.Check      what an nfs volume cannot be: selector, Block, a data source
//	3  Pattern.Expand    claim, PV name → volpath.Path      never empty, absolute, "..", reserved or too long
//	4  volume.FromClaim  → Volume
//	   Volume.PV         → PersistentVolume                 share path and policy written on it; refused before anything is made
//	5  takePath          → ledger.Record                    one owner a path, whoever made its volume; an existing directory only if
//	                                                        the class adopts
//	6  makeParents       parents that are missing           each on record as ours before it is made, and which it is after
//	   share.Create      → directory                        the leaf; mode, uid, gid on what we made
//	   or adopt          the directory that was there       its mode and owner are left alone
//	7  ledger.Activate   the record says: complete          after a look for volumes above and, in adopt, below
//	   library           claimRef, finalizer, save, retried for ever → claim Bound
//
// A claim that asks for an archive does this in place of steps 5 to 7 (restore):
//
//	5  findArchive         of its namespace, on this share  the newest; waits for a volume that is about to become one
//	   giveBackAbandoned   what an earlier claim of the name began to restore elsewhere
//	   takePath            → ledger.Record, RestoredFrom    what exists there is refused, also where the class adopts
//	6  moveBack            the archive is renamed           after a look below; mode and owner are left alone
//	7  ledger.Activate     the record says: complete        after a look above
//	   forgetRestored      the archive's record goes        last: until step 7 giveBack makes it an archive again
//
// A released volume goes (Delete):
//
//	1  volume.FromPV     PV → path, policy                  other server or export, hand-made, unparsable: refused, nothing touched
//	2  ownRecord         is the path this PV's?             absent: let go; another's or unknown: refused, nothing touched
//	   checkAlone        no volume on, above or below       refused, nothing touched
//	3  delete            share.Discard, ledger.Discard: into the trash, which package trash empties
//	                     or, what cannot be moved: share.Remove, ledger.Forget
//	   archive           ledger.Archive, share.Rename aside, ledger.Forget
//	   retain            ledger.Retain
//	4  pruneParents      empty parents that are ours        nearest first; what is left the next start finds
//	   library           delete the PV object, drop the finalizer
//
// An archive ends (Expirer; claimdir archive purge does step 3 alone):
//
//	1  due                 of this cluster, its time over
//	2  checkVolumes        no PersistentVolume shows it     else told, and tried again
//	3  DiscardArchive      share.Discard, ledger.Discard    whoever renames it first has it: this, or a claim that asks for it
//
// A volume of nfs-subdir-external-provisioner has neither record nor policy: it
// gets a record when claimdir begins to lead (Start) or, at the latest, in step
// 2, and its class decides on release, as the peer would read it.
//
// What touches the share, from step 5 and from step 2 on, is one operation on it,
// which package keeper lets in or refuses, and gives up if the share does not
// answer; what it made is then taken back when the answer comes. Each share has a
// Provisioner of its own, with queues and workers (package control), so that none
// waits for another's share; a class that allows several shares has one more,
// which picks: where the volume was begun, where the archive is that the claim asks
// for, or else where there is most room.
//
// Every step may run twice: after a crash, a lost lease, an answer of the API
// server that got lost. What a repeat finds:
//
//	step               second run finds                          result
//	5  takePath        the record of this PV                     goes on with it
//	6  makeParents     a parent, unfinished                      finished, if it is on record
//	   share.Create    the leaf, empty                           attributes set again, as in the first run
//	                   the leaf, record Active                   left alone
//	6  moveBack        the leaf, and the archive gone            goes on with it
//	                   the archive, and no leaf                  renamed now
//	3  delete          no record, no directory                   let go, and step 4 again
//	                   half a tree                               goes on removing
//	   archive         directory gone, archive of this PV there  forgets the record
//	                   neither is there                          forgets both records
//	   retain          record Retained                           done
//	4  pruneParents    no parent, or an empty one of ours        its record forgotten, or removed now
//
// Where there is no repeat, because the claim or the PersistentVolume went
// meanwhile, package sweep finds what was left: see RemoveOrphan.
//
// The policy that one of our PVs carries decides on release, never the class,
// which may be gone or changed by then.
//
// The rooms below this one, each of which knows only those before it:
//
//	volpath    names of directories: patterns, what is allowed, what is reserved
//	class      parameters of a StorageClass
//	share      the only one that touches files: one mounted export, no link followed
//	ledger     records on the share: whose a path is
//	refusal    errors that say why nothing was done, and whether a repeat can help
//	volume     the Volume: from a claim, to a PersistentVolume, to a record, and back
//	output     what commands print
//	keeper     lets work on a share, or refuses it, and gives up what has no answer
//	trash      empties the trash
//
// Those above it, side by side, which cmd/claimdir brings together: control runs the
// library; archives, recovery and doctor are what the commands of these names do; sweep
// finds what was left behind. Tests alone use sharetest, which writes the shares that they
// start from. TestImports holds who may import whom.
package provisioner
