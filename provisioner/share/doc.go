// Package share is the only package below provisioner that touches files. A Share is one mounted NFS
// export as this process sees it. Volumes are directories on it, named by volpath.Path; claimdir's
// own files lie below .claimdir.
//
// Four rules hold for every call:
//
//   - A call reaches nothing outside the share. Each call, or each operation of several calls
//     (During), opens the mount directory anew, checks that it is the recognised share (Recognise),
//     and works only below that open directory. Opening it anew also recovers from a stale handle.
//   - A call follows no symbolic link, not even one that stays inside the share: a tenant could
//     point it at another tenant's volume. Directories are opened one element at a time, each below
//     the open one above it; see dir.
//   - Every call may be repeated after a crash and then continues its own work.
//   - A call that the server executes late does not touch another volume. An Identity tells a
//     directory from every other one that has had its name. A directory that leaves its path is set
//     aside first: it is renamed into a directory below .claimdir under its volume's own name
//     (volpath.Own), and its identity is compared there. See aside.go.
//
// A copy of a directory (Copy) is made below .claimdir, in a staging directory that a repeat finds again, and is no volume
// before a later step renames it.
//
// The calls of a view pass through the Call that During was given. The calls inside the removal of
// a tree are only announced to it, without their effect.
//
// The package knows no Kubernetes and logs nothing. Errors wrap those of the operating system, so
// errors.Is works with fs.ErrNotExist, fs.ErrExist and syscall numbers.
package share
