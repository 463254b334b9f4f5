package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// TrashDir is the directory below .claimdir for released directories that are to be removed. Each
// one is set aside under its own name, with its record beside it.
const TrashDir = "trash"

// emptyingName is the name of a directory in the trash, beside asideName, once its removal has begun.
// Whoever wants to bring it back renames it by its first name: of the two renames one succeeds, so
// that nothing is removed from a directory that is a volume's again, and half a tree never becomes one.
const emptyingName = "emptying"

// CannotMove reports whether SetAside failed because the directory cannot be moved, although its
// content may be removable: it is a mount point of another file system, or we may not rename it.
func CannotMove(err error) bool {
	for _, number := range []syscall.Errno{syscall.EXDEV, syscall.EBUSY, syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// EmptyTrash removes the directory that was set aside in the trash as own, until ctx is done. It
// calls may with the identity of the open directory, and removes nothing if may returns an error; begun
// says that an earlier call has begun to remove it. EmptyTrash removes only the directory that was
// open then, and nothing if that has left the trash meanwhile. If the entry is no directory, may gets
// the zero Identity. EmptyTrash returns how much it has removed, even with an error, and behaves as
// Remove does. For a directory that layout 1 left there, own is its name in the trash.
func (s *Share) EmptyTrash(ctx context.Context, own string, may func(found *Identity, begun bool) error, remover *Remover) (removed Removed, err error) {
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

func (s *Share) emptyTrash(ctx context.Context, parent *dir, name string, may func(found *Identity, begun bool) error, remover *Remover) (Removed, error) {
	r := &removal{Remover: remover, ctx: ctx, share: s}
	if err := r.step(); err != nil { //nolint:contextcheck // the removal holds ctx
		return Removed{}, err
	}
	name, opened, id, err := s.openTrash(parent, name)
	begun := name == emptyingName
	switch {
	case errors.Is(err, ErrNotDirectory):
		return unlinkTrash(parent, name, func() error { return may(&Identity{}, begun) })
	case err != nil:
		return Removed{}, err
	case opened.canBeRead():
		r.opened = opened.file
	default: // its mode forbids reading, even to its owner; the removal opens it up
		opened.close()
	}
	empty := false
	if err = may(id, begun); err == nil {
		name, empty, err = beginRemoval(parent, name)
	}
	if err != nil || empty {
		if r.opened != nil {
			_ = r.opened.Close()
		}
		if empty {
			return Removed{Directories: 1}, nil
		}
		return Removed{}, err
	}
	r.only = func(file *os.File) error { return s.mustBe(file, id) }
	err = r.removeDirectory(parent.fd(), name, "", 0) //nolint:contextcheck // the removal holds ctx
	if errors.Is(err, ErrChanged) && !begun {         // it was exchanged since it was opened, and nothing was removed from what is there now
		err = errors.Join(err, renameNew(parent, emptyingName, parent, asideName))
	}
	return Removed{r.files.Load(), r.directories.Load()}, err
}

// openTrash opens a directory in the trash, under the name that it has by now, which is returned.
func (s *Share) openTrash(parent *dir, name string) (now string, opened *dir, id *Identity, err error) {
	opened, id, err = s.openListed(parent, name)
	if errors.Is(err, fs.ErrNotExist) && name == asideName {
		name = emptyingName
		opened, id, err = s.openListed(parent, name)
	}
	return name, opened, id, err
}

// beginRemoval renames a directory in the trash to emptyingName, and returns the name that it has
// then. If the directory is empty, beginRemoval removes it: that is a single call, so nobody can
// bring half of it back.
func beginRemoval(parent *dir, name string) (now string, removed bool, err error) {
	if name != asideName {
		return name, false, nil
	}
	if parent.rmdir(name) == nil {
		return name, true, nil
	}
	return emptyingName, false, parent.rename(name, parent, emptyingName)
}

// unlinkTrash removes an entry of the trash that is no directory.
func unlinkTrash(parent *dir, name string, may func() error) (Removed, error) {
	if err := may(); err != nil {
		return Removed{}, err
	}
	if err := parent.unlink(name); err != nil {
		return Removed{}, err
	}
	return Removed{Files: 1}, nil
}

// TrashPath returns the path of a directory in the trash, relative to the share, for messages.
func TrashPath(own string, begun bool) string {
	name := asideName
	if begun {
		name = emptyingName
	}
	return path.Join(metaDir, TrashDir, own, name)
}

// Trashed reports whether the trash has something under the name own, and whether its removal has
// begun. It looks at names alone.
func (s *Share) Trashed(own string) (there, begun bool, err error) {
	names, err := s.ListMeta(path.Join(TrashDir, own))
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	whole := slices.Contains(names, asideName)
	begun = !whole && slices.Contains(names, emptyingName)
	return whole || begun, begun, err
}

// Reasons why a removal fails, as labels of metrics.
const (
	RemovalForbidden = "permission"
	RemovalBusy      = "busy"
	RemovalMounted   = "mounted"
	RemovalFilled    = "filled" // somebody keeps creating files in it
	RemovalOther     = "other"
)

// RemovalReasons returns all reasons.
func RemovalReasons() []string {
	return []string{RemovalForbidden, RemovalBusy, RemovalMounted, RemovalFilled, RemovalOther}
}

// RemovalReason returns the reason for an error of EmptyTrash.
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
