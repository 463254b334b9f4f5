// Package share is the only one below provisioner that touches files. A Share is one mounted NFS
// export as this process sees it; volumes are directories on it, named by
// volpath.Path, and claimdir's own files lie below .claimdir.
//
// Three rules hold for every call:
//
//   - Nothing outside the share is reached. Each call, or each operation of
//     several (During), opens the mount directory anew, makes sure that it is the
//     share that was recognised, and goes on from that open directory alone;
//     opening it anew also lets a stale handle heal by itself.
//   - No symbolic link is followed, not even one that stays inside the share:
//     it could be a tenant's, pointing at another tenant's volume. Directories
//     are opened one element at a time, each below the open one above it, and
//     nothing but a directory can be opened so (see dir).
//   - Every call may be repeated after a crash and then finds its own work.
//
// The package knows no Kubernetes and logs nothing. Errors wrap those of the
// operating system, so errors.Is works with fs.ErrNotExist, fs.ErrExist and
// syscall numbers.
package share
