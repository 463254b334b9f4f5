// Package trash empties the trash of a share. A release moves a directory into
// .claimdir/trash with its record beside it, and then lets the PersistentVolume go.
//
//	trash/<pv>@<cluster>-<n>/volume         the directory, as the tenant left it
//	trash/<pv>@<cluster>-<n>/emptying       the same, once its removal has begun
//	trash/<pv>@<cluster>-<n>/record.json    its record: whose it was
//	trash/<pv>-<n>, trash/<pv>-<n>.json     both, in the layout of an older claimdir
//
// The directory is removed first, then its record, then the directory that held both. If the
// process is killed in between, the next listing finds the rest.
//
// Before a directory is removed it is compared with its record and with all other records:
// a late rename may have moved the directory of a volume into the trash. Such a directory is
// moved back to its path (steps.EmptyTrash). And the API server is asked whether the
// PersistentVolume exists again, restored from a backup of the cluster: then the directory
// stays, and people are told, because it may be all the data that the volume has.
//
// A loop lists the trash every few seconds and puts new directories into a work queue. AtOnce
// workers take directories from the queue. The queue is built from the listing alone, so that
// a new process also removes directories that an older one had half removed, or that have no
// record. The order in which directories are removed:
//
//	was never tried         next, in the order of the listing
//	had its turn of ten     after all that were never tried: it is large, or somebody is
//	minutes                 still filling it
//	failed                  after 10 seconds, doubled each time up to ten minutes, and after
//	                        all that were never tried; reported as a metric and an event,
//	                        and retried for ever
//	the share had trouble   when the share is ready again; this does not count as a failure
//	is gone                 leaves the queue with the next listing
package trash
