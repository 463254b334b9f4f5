package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"claimdir/provisioner/volpath"
)

// TrashDir holds, below .claimdir, the directories that are on their way out, each
// with its record beside it (TrashRecord).
const TrashDir = "trash"

// trashRecordSuffix ends the names of records in the trash. No directory there
// has it: see volpath.Trash.
const trashRecordSuffix = ".json"

// TrashRecord is the record of a directory in the trash, as a name below
// .claimdir.
func TrashRecord(name string) string { return path.Join(TrashDir, name+trashRecordSuffix) }

// Discard moves the directory p into the trash, in one call however large it is,
// and returns the first free of the names for the volume. An absent p is
// fs.ErrNotExist. What cannot be moved stays as it is: see CannotMove.
func (s *Share) Discard(p volpath.Path, volume string) (name string, err error) {
	for n := 1; ; n++ {
		name = volpath.Trash(volume, n)
		err = s.move(p, s.openTrash, name)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("move %s into the trash: %w", p, plain(err))
	}
	return name, nil
}

// CannotMove reports whether err, of Discard, says that the directory cannot be
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

// Trash lists what is in the trash, sorted: directories by their names, and the
// names of those whose records are there.
func (s *Share) Trash() (directories, recorded []string, err error) {
	names, err := s.ListMeta(TrashDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	for _, name := range names {
		if of, isRecord := strings.CutSuffix(name, trashRecordSuffix); isRecord {
			recorded = append(recorded, of)
		} else {
			directories = append(directories, name)
		}
	}
	return directories, recorded, err
}

// EmptyTrash removes what has the name in the trash, until ctx ends, and says how
// much that was, also with an error. It behaves as Remove does.
func (s *Share) EmptyTrash(ctx context.Context, name string, remover *Remover) (Removed, error) {
	trash, err := s.openTrash()
	if err != nil {
		return Removed{}, err
	}
	defer s.closeRoot(trash)
	removed, err := s.remove(ctx, remover, trash, name)
	if err != nil {
		return removed, fmt.Errorf("remove .claimdir/%s/%s: %w", TrashDir, name, plain(err))
	}
	return removed, nil
}

// openTrash opens the trash, which is made when it is needed first.
func (s *Share) openTrash() (*os.Root, error) {
	meta, err := s.openMeta()
	if err != nil {
		return nil, err
	}
	defer s.closeRoot(meta)
	trash, err := openChild(meta, TrashDir)
	if !errors.Is(err, fs.ErrNotExist) {
		return trash, err
	}
	if err := makePrivate(meta, TrashDir); err != nil {
		return nil, fmt.Errorf("create .claimdir/%s: %w", TrashDir, plain(err))
	}
	return openChild(meta, TrashDir)
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
