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
//	anything else that package doctor finds about records and directories
//	                                     told
//	temporary files                      removed after an hour
//
// What is told is a metric, and a line in the log when it is found first. Of two
// looks some seconds apart both must find it: volumes come and go meanwhile.
//
// What cannot be read, of the share or of the cluster, is no reason to remove
// anything.
package sweep
