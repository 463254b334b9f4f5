// Package usage measures how much the directories on the shares hold, and tells people whose claims hold more
// than they requested. An nfs volume has no size on the server, so nothing else in the cluster can say it.
//
// A Measurer looks at one share. It measures one directory at a time, the one that was measured longest ago
// first, and not faster than its pace: see share.Measure. No directory takes more than its turn. Where the server enforces a size for a directory, it
// asks the server instead. It writes the figures to .claimdir/usage on the share, so that they outlive the
// process and the command claimdir usage can read them:
//
//	usage/<key of the path>.json    how much a volume, an archive or a retained directory holds
//	usage/+trash.json               how much the trash holds
//
// The parameter onOverSize of a class says what a Measurer does about a volume that is full, by the size of
// its PersistentVolume:
//
//	at 80 %            event VolumeFillingUp on the claim
//	at 100 %           event VolumeOverSize on the claim, and the condition claimdir/OverSize
//	below 95 %         the condition goes
//	freeze             while a claim has more than 100 %, new claims of its namespace and class wait
//
// What was said is said again only after the figure was 5 points lower. Figures that are too small, because a part of
// a tree cannot be read or takes too long, never say that there is room again. Nothing is ever removed or made
// read-only: a directory that becomes read-only does not stop writers that have files open, and breaks databases.
package usage
