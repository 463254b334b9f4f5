// Package snapshot makes, finds and removes the snapshots that VolumeSnapshots ask for, as the driver of the cluster's own
// snapshot-controller, without CSI.
//
// The snapshot-controller makes the VolumeSnapshotContent of a VolumeSnapshot for CSI volumes alone. But one of the right name that is
// there already it binds, whatever the volume. So a snapshot is made like this:
//
//	1  VolumeSnapshotContent   snapcontent-<UID of the VolumeSnapshot>, volumeHandle <share>/<path>#<PersistentVolume>, at once: before
//	                           the snapshot-controller sees the VolumeSnapshot a second time (ensure.go)
//	2  package copies          a copy of the volume's directory (make.go): its record first, which says when it began, then the tree in
//	                           .claimdir/copies, at last beside the record in .claimdir/snapshots (steps.SnapshotOp)
//	3  status                  snapshotHandle <share>/<content>, creationTime of the beginning, restoreSize, readyToUse, in one patch
//
// A VolumeSnapshotContent that is deleted keeps its finalizer until its tree is in the trash, or is recorded as kept if its
// deletionPolicy is Retain (remove.go). A kept snapshot, and one of a cluster that is lost, is found again by its handle (find.go).
// A kept one expires as an archive does (after.go). A claim that is to be restored from a VolumeSnapshot is a copy of its tree (restore.go).
//
// Objects decide nothing alone: tenants may make VolumeSnapshots, and whoever may make VolumeSnapshotContents could write any handle
// into one. What a handle names must be what the API server and the record on the share say of the same claim and namespace.
//
// Every step may run twice, and each leads on from what it finds: content, record, tree, status. What nobody comes back for, because
// an object was removed by force, after.go finds.
package snapshot
