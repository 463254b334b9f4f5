package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	return s.EmptyTrashIf(ctx, own, func(found *Identity) error {
		if id.Match(found) == Different {
			return ErrChanged
		}
		return nil
	}, remover)
}

// EmptyTrashIf is EmptyTrash for whoever decides only when the directory is open: may is
// asked with what was opened, and its error ends the call before anything is removed.
// What is removed is what was opened and nothing else. may is asked with an identity of no
// directory for what is none.
func (s *Share) EmptyTrashIf(ctx context.Context, own string, may func(found *Identity) error, remover *Remover) (removed Removed, err error) {
	where := aside(TrashDir, own)
	if IsFirstTrash(own) {
		where = inDirectory(TrashDir, own)
	}
	parent, err := where.open(s)
	if err == nil {
		removed, err = s.emptyTrash(ctx, parent, where.name, may, remover)
		s.done(parent)
	}
	if err := ignoreAbsent(err); err != nil {
		return removed, fmt.Errorf("remove %s/%s: %w", metaDir, path.Join(TrashDir, own), plain(err))
	}
	return removed, nil
}

func (s *Share) emptyTrash(ctx context.Context, parent *dir, name string, may func(found *Identity) error, remover *Remover) (Removed, error) {
	r := &removal{Remover: remover, ctx: ctx, share: s}
	if err := r.step(); err != nil { //nolint:contextcheck // the removal has it
		return Removed{}, err
	}
	opened, id, err := s.openListed(parent, name)
	switch {
	case errors.Is(err, ErrNotDirectory):
		if err = may(&Identity{}); err == nil {
			err = parent.unlink(name)
		}
		if err == nil {
			r.files.Add(1)
		}
		return Removed{Files: r.files.Load()}, err
	case err == nil && opened.canBeRead():
		r.opened = opened.file
	case err == nil: // closed, also to its owner: it is opened up once it is known
		opened.close()
	}
	if err == nil {
		err = may(id)
	}
	if err != nil {
		if r.opened != nil {
			_ = r.opened.Close()
		}
		return Removed{}, err
	}
	r.only = func(file *os.File) error { return s.mustBe(file, id) }
	err = r.removeDirectory(parent.fd(), name, "", 0) //nolint:contextcheck // the removal has it
	return Removed{r.files.Load(), r.directories.Load()}, err
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
