package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
)

// TrashDir holds, below .claimdir, the directories that are on their way out, each set
// aside in a directory of its own with its record beside it.
const TrashDir = "trash"

// CannotMove reports whether err, of SetAside, says that the directory cannot be
// moved while its content may well be removed: it is mounted there from another
// file system, or we may not change it.
func CannotMove(err error) bool {
	for _, number := range []syscall.Errno{syscall.EXDEV, syscall.EBUSY, syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// EmptyTrash removes the directory that was set aside in the trash, if it is the one that
// id says, until ctx ends, and says how much that was, also with an error. It behaves as
// Remove does. own is as SetAside had it, or the directory's own name, which is how an
// older claimdir left it there.
func (s *Share) EmptyTrash(ctx context.Context, own string, id *Identity, remover *Remover) (Removed, error) {
	where := aside(TrashDir, own)
	if IsFirstTrash(own) {
		where = inDirectory(TrashDir, own)
	}
	removed, err := s.remove(ctx, remover, where, id)
	if err != nil {
		return removed, fmt.Errorf("remove %s/%s: %w", metaDir, path.Join(TrashDir, own), plain(err))
	}
	return removed, nil
}

// Reasons why something cannot be removed, as metrics label them.
const (
	RemovalForbidden = "permission"
	RemovalBusy      = "busy"
	RemovalMounted   = "mounted"
	RemovalFilled    = "filled" // somebody makes files there all the time
	RemovalOther     = "other"
)

// RemovalReasons returns all of them.
func RemovalReasons() []string {
	return []string{RemovalForbidden, RemovalBusy, RemovalMounted, RemovalFilled, RemovalOther}
}

// RemovalReason is the reason that an error of EmptyTrash tells.
func RemovalReason(err error) string {
	switch {
	case errors.Is(err, errOtherFileSystem):
		return RemovalMounted
	case errors.Is(err, fs.ErrPermission): // EACCES and EPERM
		return RemovalForbidden
	case errors.Is(err, syscall.EBUSY):
		return RemovalBusy
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		return RemovalFilled
	}
	return RemovalOther
}
