// Package trash empties the trash of a share: .claimdir/trash, where released
// directories wait, each with its record beside it, since a release moved them
// there. Their PersistentVolumes are gone by then.
//
//	trash/<pv>@<cluster>-<n>/volume         the directory, as the tenant left it
//	trash/<pv>@<cluster>-<n>/record.json    its record: whose it was
//	trash/<pv>-<n>, trash/<pv>-<n>.json     both, as an older claimdir left them
//
// The directory is removed first, then its record, then the directory of its own that
// both had. A kill in between leaves the rest, which the next listing finds.
//
// Before a directory is removed it is compared with its record and with the living
// records: a rename that came late may have moved a volume's directory there, which goes
// back to its path (steps.EmptyTrash).
//
// A loop lists the trash every few seconds and puts what is new into a work queue, from
// which AtOnce workers take one directory after the other. Nothing but what is listed is
// ever in memory: whatever is in the trash at a start is found, also what an older process
// had half removed or what has no record.
//
//	was never tried         next, in the order of the listing
//	had its turn of ten     behind those that were never tried: it is large, or somebody
//	minutes                 goes on filling it
//	failed                  after 10 seconds, doubled each time up to ten minutes, behind
//	                        those that were never tried; told as a metric and as an event,
//	                        and tried again for ever
//	the share had trouble   when the share is ready again; this is no failure of the directory
//	is gone                 forgotten with the next listing
package trash
