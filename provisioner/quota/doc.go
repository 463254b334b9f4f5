// Package quota makes the NFS server hold volumes to their claims' sizes. It runs on the server, as
// root, where the exported directory lies on a local XFS or ext4, and needs no cluster: the records
// on the share say which directories are volumes, and how large their claims are.
//
// A volume's directory and all below it get a project id, and the project gets a limit: the size in
// the record, and some slack. Whatever becomes of the volume, its files keep the id; only the limit
// comes and goes:
//
//	the record                    the limit
//	active                        size + slack
//	retained, archived, or gone   none
//	active again (restored)       size + slack, for the same id: it is known by the directory
//
// A pass reads the records, and gives out ids and limits. It is cheap, and repeated. A walk gives the
// id to what a directory holds already. It is needed once for each directory, and goes on between
// passes, so that a large tree delays no one else's limit; the walks take turns for the same reason.
//
// Which directory has which id is kept in .claimdir/projects.json; see projects. That file is
// written before an id is used, so a process that is killed at any time leaves no id that is not
// known, and the next one goes on. An id is given out once; its entry goes when the file system says
// that no file has the id any more. The file lies on the share, so whoever may write there as root may
// write it, too: an id below the base makes the job stop before it has touched anything.
//
// Nothing is done to a directory that is not the one on record, nor to a tree in which anything has
// a project id that is not the volume's: an administrator has put it there. That is said once, and
// again when it changes.
package quota
