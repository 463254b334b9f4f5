// Package trash empties the trash of a share: .claimdir/trash, where released
// directories wait, each with its record beside it, since a release moved them
// there. Their PersistentVolumes are gone by then.
//
//	trash/<pv>-<n>         the directory, as the tenant left it
//	trash/<pv>-<n>.json    its record: whose it was
//
// First the directory goes, then its record; a kill in between leaves a record
// alone, which the next listing finds. Nothing but what is listed is ever in
// memory, so whatever is in the trash at a start is found, also what an older
// process had half removed or what has no record.
//
// Some are removed at once, each for ten minutes at a stretch: one that is large, or
// that somebody goes on filling, takes turns with the others.
//
// What cannot be removed stays, is told of as a metric and as an event, and is
// tried again, later and later, for ever.
package trash
