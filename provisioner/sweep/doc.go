// Package sweep removes orphans: records and directories that belong to no volume, archive or
// retained directory. It sweeps each share soon after start and then every Config.Interval.
//
// A crash between any two calls of package steps may leave a record or a directory. The
// retry finishes or removes it. If there is no retry, because the claim or the
// PersistentVolume was deleted meanwhile, the sweep finds it:
//
//	a record of this cluster, Creating or Active, whose claim and PersistentVolume
//	are gone by a live read (package cluster), older than the grace
//	    no directory, or an empty one    both are removed
//	    being restored from an archive   the restore is undone
//	    being made by a copy             what is copied goes into the trash
//	    being adopted, or Creating and
//	    inside a later volume            only the record is removed
//	    not empty, or adopted            kept and reported
//	an empty directory that claimdir made, and that no record or PersistentVolume names
//	                                     removed, with the empty ones above it
//	a directory with another identity than in its record: the share was copied
//	    in use, archived or retained     the record is renewed; one report for all
//	anything else that package doctor finds about records, directories and snapshots
//	                                     reported
//	the empty directory of a record that was removed
//	                                     removed
//	a copy under .claimdir/copies that no record of a volume or snapshot names, found by two passes, or that was begun for
//	a volume which got another path      goes into the trash
//	temporary files                      removed after an hour
//
// A record whose PersistentVolume names an earlier address of the share is no orphan: its directory is
// in use. The sweep leaves it alone, and doctor says what to do.
//
// Late calls of the previous leader may still arrive. So for some minutes after a start the
// sweep checks each volume whose path another volume may have had, and brings back a directory
// that a late call has moved away.
//
// A finding is reported as a metric, and as a log line when it is new. It must be found twice,
// some seconds apart, because volumes are created and released meanwhile.
//
// The sweep never removes anything because the share or the cluster could not be read.
package sweep
