package share

import (
	"errors"
	"syscall"
)

// Advice returns one sentence about the probable cause of an error of the share and its fix. It is
// empty for errors that need no explanation.
func Advice(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	switch errno {
	case syscall.ENOSPC:
		return "the share is full: it has no free space or no free inodes; delete data, or enlarge it"
	case syscall.EDQUOT:
		return "the quota on the server is exhausted, for the uid of claimdir or for the export: delete data, or raise it"
	case syscall.EROFS:
		return "the share is exported or mounted read-only: export it with rw, and mount it without ro"
	case syscall.EACCES, syscall.EPERM:
		return "the server denies permission: with root_squash it maps root to nobody, so export with no_root_squash, or run claimdir as the owner of the export " +
			"(components/nonroot); a tenant may also have removed the permissions of a directory"
	case syscall.EIO, syscall.ETIMEDOUT:
		return "the server or its disk failed, or a soft mount gave up: check the server's log, and mount with hard"
	case syscall.ESTALE:
		return "the server no longer knows the directory, as after the export was removed, replaced or exported again: " +
			"if the error persists, restart claimdir to mount the share again"
	case syscall.EBUSY, syscall.ENOTEMPTY:
		return "a file in it is held open on claimdir's node, or files are created in it: stop the pod that does so"
	case syscall.EMLINK:
		return "the server allows no more directories in one parent: spread them with a pathPattern such as ${.PVC.namespace}/${.PVC.name}"
	case syscall.ENAMETOOLONG:
		return "the server allows only shorter names: use a shorter pathPattern"
	case syscall.EXDEV:
		return "the server moves nothing between the two places, which are of different file systems, projects or quota trees: " +
			"give the parent of the path the project of the share's root, or use a pathPattern outside of it"
	case syscall.EMFILE, syscall.ENFILE:
		return "claimdir has too many files open: raise the limit of open files"
	default:
		return ""
	}
}
