// Package sweep sees to it that nothing is left behind: soon after start, and then
// every Config.Interval, it looks at each share for what no volume, archive or retained
// directory accounts for.
//
// A crash between any two steps of package provisioner leaves something that the
// repeat finds. When there is no repeat, because the claim or the PersistentVolume
// went meanwhile, this finds it:
//
//	a record of this cluster, Creating or Active, whose claim and PersistentVolume
//	are gone by a live read (package cluster), older than the grace
//	    no directory, or an empty one    both are removed
//	    to be made from an archive       that is given back
//	    to be adopted, or Creating and
//	    inside a later volume            only the record is removed
//	    something in it, or adopted      kept, and told
//	an empty directory that claimdir made, and that nothing names
//	                                     removed, with the empty ones above it
//	a directory that is another than its record says: the share was copied
//	    it is in use, or kept            recorded anew, and told once for all
//	anything else that package doctor finds about records and directories
//	                                     told
//	temporary files                      removed after an hour
//
// Calls of the process that led before may still arrive. For some minutes after a start
// each volume is looked after whose path another may have had: a directory that was moved
// away late comes back.
//
// What is told is a metric, and a line in the log when it is found first. Of two
// looks some seconds apart both must find it: volumes come and go meanwhile.
//
// What cannot be read, of the share or of the cluster, is no reason to remove
// anything.
package sweep
