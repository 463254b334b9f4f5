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
		return "the share is full, of data or of files: free some, or enlarge it"
	case syscall.EDQUOT:
		return "the quota on the server is used up, that of the uid claimdir runs as or of the export: free some, or raise it"
	case syscall.EROFS:
		return "the share is exported or mounted read-only: export it with rw, and mount it without ro"
	case syscall.EACCES, syscall.EPERM:
		return "the server lets us do less than this: with root_squash root is nobody there, so export with no_root_squash, or run claimdir as the owner of the export " +
			"(components/nonroot); a tenant may also have closed a directory to everybody else"
	case syscall.EIO, syscall.ETIMEDOUT:
		return "the server or its disk failed, or a soft mount gave up: look at the server's log, and mount with hard"
	case syscall.ESTALE:
		return "the server does not know the directory any more, as after the export was removed, exchanged or exported anew: " +
			"if it stays so, restart claimdir to have it mounted anew"
	case syscall.EBUSY, syscall.ENOTEMPTY:
		return "something in it is held open on claimdir's node, or made anew: end the pod that does"
	case syscall.EMLINK:
		return "the server takes no more directories beside each other: spread them with a pathPattern such as ${.PVC.namespace}/${.PVC.name}"
	case syscall.ENAMETOOLONG:
		return "the server takes shorter names only: use a shorter pathPattern"
	case syscall.EMFILE, syscall.ENFILE:
		return "claimdir has too many files open: raise the limit of open files"
	default:
		return ""
	}
}
