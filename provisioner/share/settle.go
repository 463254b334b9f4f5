package share

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// HandOverFile renames a file of a directory below .claimdir to its new owner's name and then gives
// it the content data. Only one of several callers succeeds; the others get fs.ErrNotExist.
// HandOverFile writes the content beside the file before the rename, so that a kill in between
// leaves the file under its new owner's name and the new content beside it; see Handed. Last it
// removes a new content that the old owner may have prepared, so that a late write of the old owner
// fails; see ExchangeFile.
func (s *Share) HandOverFile(in, from, to string, data []byte) error {
	return s.inMeta(in, "hand over "+from+" in", func(d *dir) error {
		if err := createAnew(d, to+newSuffix, data); err != nil {
			return err
		}
		err := d.rename(from, d, to)
		if err == nil {
			err = d.rename(to+newSuffix, d, to)
			if err != nil || from == to { // from == to: the volume takes its own path again
				return err
			}
			return errors.Join(ignoreAbsent(d.unlink(from+newSuffix)), ignoreAbsent(d.unlink(from)))
		}
		// If another process has renamed it for the same owner, that process needs the content.
		if _, lookErr := d.look(to); errors.Is(lookErr, fs.ErrNotExist) {
			err = errors.Join(err, ignoreAbsent(d.unlink(to+newSuffix)))
		}
		return err
	})
}

// Handed returns the name of the new content of a file if HandOverFile was cut off.
func Handed(name string) string { return name + newSuffix }

// Unsettled reports whether a file that was not found in a directory below .claimdir may exist
// after all or be about to appear: another process is writing it, or an NFS client that has it open
// has renamed it and is about to replace it.
func (s *Share) Unsettled(in, name string) (unsettled bool, err error) {
	err = s.inMeta(in, "list", func(d *dir) error {
		entries, err := d.entries()
		for _, e := range entries {
			if e.name == name || e.name == name+newSuffix || isLeftOpen(e) {
				unsettled = true
			}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return unsettled, err
}

// RemoveEmptied removes the directory name in a directory below .claimdir, after its last file was
// removed. It also removes the leftovers of killed writes. It is no error if the directory is
// absent, or holds anything else, because somebody uses it again.
func (s *Share) RemoveEmptied(in, name string) error {
	s.drop(path.Join(in, name))
	return s.inMeta(in, "remove "+name+" in", func(d *dir) error {
		err := d.rmdir(name)
		if isOccupied(err) {
			if err = removeUnfinished(d, name); err == nil {
				err = d.rmdir(name)
			}
		}
		if isOccupied(err) {
			return nil
		}
		return ignoreAbsent(err)
	})
}

// removeUnfinished removes the leftovers of killed writes from the directory name, if it holds
// nothing else.
func removeUnfinished(d *dir, name string) error {
	inside, err := d.open(name, toRead)
	if err != nil {
		return err
	}
	defer inside.close()
	names, err := inside.names()
	if err != nil || slices.ContainsFunc(names, func(name string) bool { return !strings.HasSuffix(name, newSuffix) }) {
		return err
	}
	for _, name := range names {
		if err := ignoreAbsent(inside.unlink(name)); err != nil {
			return err
		}
	}
	return nil
}

// isOccupied reports whether rmdir(2) or rename(2) failed because a directory is not empty: with
// ENOTEMPTY or EEXIST, and fs.ErrExist stands for both.
func isOccupied(err error) bool { return errors.Is(err, fs.ErrExist) }
